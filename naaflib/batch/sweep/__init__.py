"""Sweeps: every variant of a YAML file with every seed, trained and executed as notebooks.

spec   the YAML file;  plan: its runs, and which of them are done already
run    the sweep, here or by workers;  task: one run;  cluster: workers on a Dask cluster
table  the sweep with its results, sweep.csv
"""
