"""Runs of models and of notebooks: training into run folders, batches, sweeps, tables over runs.

Everything is imported when it is first used: `naaf runs` needs no torch.
"""

from importlib import import_module

_HOMES = {
    "train_run": "training",
    "train_members": "training",
    "make_variant": "variants",
    "run_notebooks": "pipeline",
    "plan_sweep": "sweep_plan",
    "run_sweep": "sweep",
    "compare_variants": "sweep",
    "read_sweep": "sweep_table",
    "Record": "records",
    "read_record": "records",
    "results_table": "tables",
    "measures_table": "tables",
    "expectation": "tables",
    "runs_table": "tables",
    "write_report": "report",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
