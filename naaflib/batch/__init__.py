"""Notebooks run by papermill: one batch, sweeps of many runs, tables over runs, the report.

notebooks  a notebook file and its parameters;  pipeline, execution, papermill_process: notebooks in order
records    what a batch left behind;  tables, report: joined for people
sweep/     many variants and seeds: spec, plan, run, task, table, cluster

Everything is imported when it is first used: `naaf runs` needs no torch.
"""

from importlib import import_module

_HOMES = {
    "run_notebooks": "pipeline",
    "plan_sweep": "sweep.plan",
    "run_sweep": "sweep.run",
    "compare_variants": "sweep.run",
    "read_sweep": "sweep.table",
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
