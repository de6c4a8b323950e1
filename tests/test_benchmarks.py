"""What makes a benchmark fair: a competitor's better number of threads, and no ratio on a loaded machine."""

import os
import time

import pytest
import torch

from benchmarks import measure
from benchmarks.measure import Others, busy_ticks, in_turns
from benchmarks.rows import Row

STAT = """cpu  900 90 90 5000 50 9 9 9 0 0
cpu0 100 10 20 1000 50 1 2 3 7 7
cpu1 200 20 30 2000 60 4 5 6 0 0
cpu10 700 0 0 0 0 0 0 0 0 0
intr 8 0 0
"""


@pytest.mark.parametrize("better", [1, 3])
def test_a_competitor_has_the_number_of_threads_that_suits_it(better):
    before, seen = torch.get_num_threads(), {"ours": set(), "loop": set()}

    def job(name):
        seen[name].add(torch.get_num_threads())
        time.sleep(0.001 if torch.get_num_threads() == better else 0.2)

    torch.set_num_threads(3)
    try:
        seconds = in_turns({name: lambda name=name: job(name) for name in seen}, competitors=["loop"])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert seen == {"ours": {3}, "loop": {1, 3}}
    assert seconds["loop"] < 0.2
    assert (seconds["ours"] < 0.2) == (better == 3)


def test_a_core_is_at_work_unless_it_idles_or_waits_for_a_disk():
    assert busy_ticks(STAT, {0}) == 100 + 10 + 20 + 1 + 2 + 3
    assert busy_ticks(STAT, {0, 1}) == 136 + 200 + 20 + 30 + 4 + 5 + 6
    assert busy_ticks(STAT, {10}) == 700


@pytest.mark.parametrize(("others", "loaded"), [(0.05, False), (0.2, True)])
def test_what_others_take_is_all_work_but_our_own(monkeypatch, others, loaded):
    cores = len(os.sched_getaffinity(0))
    moments = iter([(100.0, 50.0, 7.0), (110.0, 50.0 + 10 * cores * others + 6.0, 13.0)])
    monkeypatch.setattr(Others, "_now", lambda self: next(moments))
    with Others() as found:
        pass
    assert found.cores == pytest.approx(cores * others)
    assert found.loaded == loaded


def test_where_nothing_is_known_of_others_nothing_is_said(monkeypatch):
    monkeypatch.setattr(Others, "_now", lambda self: None)
    with Others() as found:
        pass
    assert found.cores is None
    assert not found.loaded


@pytest.mark.skipif(not measure.Path("/proc/stat").exists(), reason="Linux alone tells")
def test_our_own_work_is_not_that_of_others():
    with Others() as found:
        end = time.process_time() + 0.5
        while time.process_time() < end:
            pass
    assert 0 <= found.cores <= len(os.sched_getaffinity(0)) + 0.2
    monotonic, busy, own = Others._now()
    assert min(monotonic, busy, own) > 0


def test_a_loaded_machine_gives_no_ratio():
    row = Row("scoring", "2.00 s", 1.25, 11.0, "<= 1.25")
    assert row.line() == "| scoring | 2.00 s | 1.25 | 11.00 | <= 1.25 |"
    assert row.line(loaded=True) == "| scoring | 2.00 s | loaded | loaded | <= 1.25 |"
    assert row._replace(floor=None).line(loaded=True) == "| scoring | 2.00 s |  | loaded | <= 1.25 |"
    assert row.record()["floor"] == 1.25
    assert row.record(loaded=True) == {**row.record(), "floor": None, "faster_than_loop": None}
