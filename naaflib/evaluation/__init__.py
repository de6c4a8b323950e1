"""A trained model measured: all pairs of a split in blocks, under a named protocol; ensembles.

protocols   which images are ranked together
scores      encode once, score in blocks, to memory, to a file, or to ranks alone
shared      the same by several processes, in shares
cluster     the same on a running Dask cluster
evaluate    scores and metrics of a run or checkpoint, kept in its folder
ensembles   scores of several models averaged
comparison/ variants measured on the same images, with intervals and p-values
judging/    score matrices of any model, from files
arithmetic  device, instruction set and libraries of a process

The ranking loop of all of them lies in `metric.ranks`.
"""

from .comparison.compare import Comparison, compare, compare_runs
from .comparison.differences import difference_table, spread_table
from .encoding import Encoded, encode_split
from .ensembles import ensemble, ensemble_members
from .evaluate import Evaluation, evaluate, save_evaluation, saved_scores
from .protocols import FOLD, PROTOCOLS, check_protocol, default_split, protocol_metrics
from .scores import (
    score_encoded,
    score_rows,
    score_to_file,
    streamed_metrics,
)
from .shared import shared_metrics, validation_metrics

__all__ = [
    "FOLD",
    "PROTOCOLS",
    "Comparison",
    "Encoded",
    "Evaluation",
    "check_protocol",
    "compare",
    "compare_runs",
    "default_split",
    "difference_table",
    "encode_split",
    "ensemble",
    "ensemble_members",
    "evaluate",
    "protocol_metrics",
    "save_evaluation",
    "saved_scores",
    "score_encoded",
    "score_rows",
    "score_to_file",
    "shared_metrics",
    "spread_table",
    "streamed_metrics",
    "validation_metrics",
]
