"""The runs of a sweep on Dask workers of this machine or of a cluster; stopped at any time, continued later.

Runs are handed out one by one, so that a worker that joins late gets work and a source's variants follow it.
A worker that dies loses its run, which Dask gives to another one; the training goes on from its last
checkpoint. The state of everything is in the run folders, so a sweep that starts again only looks at them.
"""

import math
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd

from ...config import changed
from ...errors import NaafError, first_line
from ...files import shown
from ...locking import exclusive
from ...messages import progress_bar, say, stream
from ...pages import open_data
from ...runs import Run, open_group
from ...training.folder import data_record
from ..notebooks import COMPARISON, available, known, select
from ..pipeline import run_notebooks
from ..records import Record
from .cluster import check_cluster, gpus, open_cluster
from .plan import DONE, FAILED, TO_RESUME, TO_TRAIN, Plan, Row, parameters_of, plan_sweep
from .table import write_sweep
from .task import STOPPED, TICKET, Job, Outcome, note_failure, work
from .together import training_arguments

if TYPE_CHECKING:
    from distributed import Client, Future

RUNNING, WAITING = "running", "waiting"
LOOK_EVERY = 1.0  # seconds
PATIENCE = 10.0  # seconds without a worker until it is said


def run_sweep(
    plan: Plan, *, workers: int | None = None, scheduler: str | None = None, progress: bool = True
) -> pd.DataFrame:
    """Run what a plan has left to do; the table of results, also in OUT/sweep.csv while it grows.

    workers: processes on this machine, which share its cores; None: one for two cores. scheduler: the address
    of a running Dask cluster that sees the same files, instead. An interruption ends what runs and goes on
    up; a failed run does not stop the others. Raises NaafError, before anything is written into OUT, where
    there is no Dask or scheduler, or another sweep runs there; and where the scheduler goes away. UsageError:
    both workers and scheduler.
    """
    if _left_to_do(plan):
        check_cluster(workers, scheduler, plan.spec.processes)
    if not plan.data.is_dir():  # scenes, rendered where they are missing
        plan = plan_sweep(plan.file, data=open_data(plan.data), out=plan.out, retry=plan.retry)
    with exclusive(plan.out):
        _open_folder(plan)
        if todo := _left_to_do(plan):
            with (
                open_cluster(workers, scheduler, len(todo), plan.spec.processes) as opened,
                _ticket(plan) as token,
            ):
                _Sweep(plan, todo, *opened, token).run(progress)
        return write_sweep(plan)


def _left_to_do(plan: Plan) -> list[Row]:
    return [row for row in plan.runs() if row.state not in (DONE, FAILED)]


def compare_variants(plan: Plan, table: pd.DataFrame) -> Record | None:
    """Notebook 07 on a sweep's table, into OUT; None where no two variants have been measured."""
    measured = table[(table["state"] == DONE) & table["rsum"].notna()]
    if measured.drop_duplicates("folder")["variant"].nunique() < 2 or COMPARISON not in {
        path.stem for path in available()
    }:
        return None
    given = known(select(COMPARISON), {"data": str(plan.data), **plan.spec.parameters})
    return run_notebooks(COMPARISON, plan.out, given, progress=False)


class _Sweep:
    """Rows waiting, rows on workers, and a bar: a step is an epoch, or a run's notebooks after training."""

    def __init__(self, plan: Plan, todo: Sequence[Row], client: "Client", threads: int | None, token: str):
        self.plan, self.client, self.token, self.threads = plan, client, token, threads
        here = threads is not None and plan.spec.processes > 1
        self.gpus = gpus() if here else []  # each worker of a cluster knows its own
        self.todo, self.waiting = todo, list(todo)  # in the file's order: what stands first is whole first
        self.running: dict[Future, tuple[Row, Job]] = {}
        self.steps = {row.name: 1 + _epochs(row) for row in todo}
        self.lonely_since = time.monotonic()
        for row in self.waiting:
            row.state = WAITING

    def run(self, progress: bool) -> None:
        """Submit jobs and collect outcomes until nothing is left to do."""
        quiet = 0.5 if stream().isatty() else 30.0  # seconds between two lines
        how = {"desc": "sweep", "unit": "step", "disable": not progress, "mininterval": quiet}
        try:
            with progress_bar(total=sum(self.steps.values()), **how) as bar:
                while self.waiting or self.running:
                    changed = self._submit(self._places())
                    self._show(bar)
                    if changed | self._collect():
                        write_sweep(self.plan)
        except BaseException:
            for row, _ in self.running.values():
                row.state = STOPPED
            write_sweep(self.plan)
            raise

    def _places(self) -> Counter[str]:
        """How many runs the workers of each machine take at once."""
        if self.client.status != "running":
            raise NaafError("the scheduler went away; the same command goes on when it is back")
        places: Counter[str] = Counter()
        for worker in self.client.scheduler_info(n_workers=-1)["workers"].values():
            places[worker["host"]] += worker["nthreads"]
        if places:
            self.lonely_since = time.monotonic()
        elif time.monotonic() - self.lonely_since > PATIENCE:
            say("no worker is there; the sweep waits for one to join the scheduler")
            self.lonely_since = math.inf
        return places

    def _submit(self, places: Counter[str]) -> bool:
        """Submit as many jobs as the workers have room for; whether a row's state changed."""
        before = len(self.waiting)
        for row in list(self.waiting):
            source = row.weights_of
            if source is not None and source.state == FAILED:
                self.waiting.remove(row)
                row.state, row.error = FAILED, f"{source.name}, whose weights it takes, failed"
            elif (source is None or source.state == DONE) and len(self.running) < places.total():
                self.waiting.remove(row)
                job = self._job(row, source, max(places.values()))
                future = self.client.submit(work, job, key=f"naaf-{self.token}-{row.name}", pure=False)
                row.state, self.running[future] = RUNNING, (row, job)
        return len(self.waiting) < before

    def _show(self, bar: Any) -> None:
        """Move the bar to where the run folders are."""
        ended = [row for row in self.todo if row.state in (DONE, FAILED)]
        running = [row for row, _ in self.running.values()]
        steps = sum(self.steps[row.name] for row in ended)
        steps += sum(min(Run(row.folder, {}).epochs_done or 0, self.steps[row.name] - 1) for row in running)
        whole, names = len(self.plan.runs()), ", ".join(row.name for row in running)
        bar.set_postfix_str(f"{whole - len(self.todo) + len(ended)} of {whole} runs; {names}", refresh=False)
        bar.update(steps - bar.n)

    def _job(self, row: Row, source: Row | None, at_once: int) -> Job:
        plan = self.plan
        if row.folder.parent.name == "members":
            open_group(row.folder.parent.parent)
        overrides = changed(source.planned.settings, row.planned.settings) if source else {}
        return Job(
            name=row.name,
            identity=row.identity,
            folder=str(row.folder),
            notebooks=row.notebooks,
            parameters=parameters_of(plan, row.planned, row.notebooks),
            ticket=str(plan.out / TICKET),
            token=self.token,
            data=str(plan.data),
            source=str(source.folder) if source else None,
            overrides=tuple(f"{name}={value}" for name, value in overrides.items()),
            threads=self.threads,
            at_once=at_once,
            processes=plan.spec.processes,
            **(training_arguments(plan, row) if self.steps[row.name] > 1 else {}),
            gpus=self._free_gpus(),
        )

    def _free_gpus(self) -> tuple[str, ...]:
        """The GPUs of the next run: one for each of its processes, none of a run that is under way."""
        taken = {gpu for _, job in self.running.values() for gpu in job.gpus}
        return tuple([gpu for gpu in self.gpus if gpu not in taken][: self.plan.spec.processes])

    def _collect(self) -> bool:
        """Collect the outcomes of jobs that have ended; whether there is one."""
        from distributed import wait

        if not self.running:
            time.sleep(LOOK_EVERY)
            return False
        try:
            ended = wait(list(self.running), timeout=LOOK_EVERY, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            return False
        for future in ended:
            row, job = self.running.pop(future)
            row.state = STOPPED
            outcome = _outcome(future, job)
            row.state, row.error = outcome.state, outcome.error
            if row.state == FAILED:
                say(f"{row.name} failed: {row.error}")
        return True


def _outcome(future: "Future", job: Job) -> Outcome:
    """The outcome of a job; where Dask gave it up, a failure with the reason."""
    from distributed import KilledWorker

    if future.status == "finished":
        return future.result()
    if future.status != "error":
        raise NaafError("the scheduler went away; the same command goes on when it is back")
    error = future.exception()
    if isinstance(error, KilledWorker):
        return note_failure(job, "every worker that ran it died, perhaps for want of memory")
    if isinstance(error, ImportError):
        raise NaafError(f"a worker cannot import naaflib ({error}): install it there, in the same version")
    return note_failure(job, f"{type(error).__name__}: {first_line(error)}")


@contextmanager
def _ticket(plan: Plan) -> Iterator[str]:
    """The token of this sweep, in its file as long as the sweep runs."""
    file, token = plan.out / TICKET, secrets.token_hex(8)
    file.write_text(token, encoding="utf-8")
    try:
        yield token
    finally:
        file.unlink(missing_ok=True)


def _open_folder(plan: Plan) -> None:
    """OUT as a run of kind sweep, with what was asked for."""
    content = {
        "spec": plan.spec.model_dump(mode="json", by_alias=True),
        "data": data_record(plan.data),
    }
    if not (plan.out / "config.json").is_file():
        Run.create(plan.out, "sweep", **content)
        return
    run = Run.open(plan.out)
    if run.kind != "sweep":
        raise NaafError(
            f"{shown(plan.out)} holds a run of kind {run.kind!r}; take another --out for the sweep"
        )
    run.update(**content)


def _epochs(row: Row) -> int:
    return row.planned.settings.train.epochs if row.state in (TO_TRAIN, TO_RESUME) else 0
