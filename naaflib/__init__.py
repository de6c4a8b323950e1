"""NAAF, the Negative-Aware Attention Framework: image-text matching that you can see, trust and rerun.

Everything is imported when it is first used: `import naaflib` costs nothing, a name costs its module.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .checkpoint import load_checkpoint
    from .config import preset
    from .data.splits import open_split
    from .errors import NaafError
    from .evaluate import ensemble, evaluate
    from .experiments.training import train_members, train_run
    from .explanation import explain
    from .metric import retrieval_metrics
    from .mining import optimal_boundary
    from .runs import Run
    from .scoring import score_matrix

try:
    __version__ = version("naaflib")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0"

_HOME = {
    "NaafError": "errors",
    "Run": "runs",
    "ensemble": "evaluate",
    "evaluate": "evaluate",
    "explain": "explanation",
    "load_checkpoint": "checkpoint",
    "open_split": "data.splits",
    "optimal_boundary": "mining",
    "preset": "config",
    "retrieval_metrics": "metric",
    "score_matrix": "scoring",
    "train_members": "experiments.training",
    "train_run": "experiments.training",
}
__all__ = [*_HOME]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'naaflib' has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
