"""NAAF, the Negative-Aware Attention Framework: image-text matching that you can see, trust and rerun.

Everything is imported when it is first used: `import naaflib` costs nothing, a name costs its module.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("naaflib")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0"

_HOME = {
    "NaafError": "errors",
    "Run": "runs",
    "Searcher": "search",
    "build_index": "search",
    "compare": "evaluation.comparison.compare",
    "ensemble": "evaluation",
    "evaluate": "evaluation",
    "explain": "explanation",
    "explore": "explorer",
    "foil_benchmark": "explanation",
    "judge": "evaluation.judging.judge",
    "load_checkpoint": "model.checkpoint",
    "open_split": "data.splits",
    "optimal_boundary": "similarity.boundary",
    "preset": "config",
    "retrieval_metrics": "metric.retrieval",
    "score_matrix": "similarity",
    "train_members": "training",
    "train_run": "training",
}
__all__ = [*_HOME]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'naaflib' has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
