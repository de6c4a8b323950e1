"""A trained model measured: all pairs of a split in blocks, under a named protocol; ensembles.

protocols   which images compete
scores      encode once, score in blocks, to memory or to a file
evaluation  scores and metrics of a run or checkpoint, kept in its folder
joining     ensembles
"""

from .evaluation import Evaluation, evaluate, save_evaluation
from .joining import ensemble
from .protocols import FOLD, PROTOCOLS, check_protocol, default_split, protocol_metrics
from .scores import (
    Encoded,
    encode_split,
    pick_device,
    score_encoded,
    score_rows,
    score_to_file,
    validation_metrics,
)

__all__ = [
    "FOLD",
    "PROTOCOLS",
    "Encoded",
    "Evaluation",
    "check_protocol",
    "default_split",
    "encode_split",
    "ensemble",
    "evaluate",
    "pick_device",
    "protocol_metrics",
    "save_evaluation",
    "score_encoded",
    "score_rows",
    "score_to_file",
    "validation_metrics",
]
