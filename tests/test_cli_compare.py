"""`naaf compare`: the same numbers as a table, as JSON, as CSV and for LaTeX; mistakes in one sentence."""

import json

import pandas as pd
import pytest
from synthetic_runs import write_group, write_run


@pytest.fixture
def naaf(capsys):
    """Run `naaf compare`; its exit status, standard output and standard error."""
    from naaflib.cli import main

    def run(*words):
        capsys.readouterr()
        status = main(["compare", *(str(word) for word in words)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def data(write_split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "small"
    write_split(folder, "dev", 31)
    return folder


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Two groups of two seeds, one run alone that is far better."""
    folder = tmp_path_factory.mktemp("runs")
    write_group(folder / "plain", data, seeds=2, skill=1.5)
    write_group(folder / "other", data, seeds=2, skill=1.6)
    write_run(folder / "far", data, skill=4.0)
    return folder


def refused(result, status: int, *parts: str) -> None:
    found, out, err = result
    assert found == status
    assert out == ""
    assert err.startswith("naaf: ")
    assert len(err.splitlines()) == 1
    for part in parts:
        assert part in err


def test_the_table_has_the_baseline_first_and_says_what_its_intervals_cover(naaf, runs):
    status, out, err = naaf(runs, "--baseline", "plain", "--resamples", 499)
    assert (status, err) == (0, "")
    head, *rows = [line.split() for line in out.splitlines()[2:6]]
    assert [row[0] for row in rows] == ["plain", "far", "other"]
    assert [row[-1] for row in rows] == ["baseline", "images", "seeds"]
    assert head[:4] == ["variant", "seeds", "rsum", "difference"]
    assert "differences from plain" in out.splitlines()[0]
    for words in (
        "cover images (bootstrap",
        "cover images and seeds",
        "p corrected by Holm for 2 comparisons",
    ):
        assert words in out


def test_a_baseline_that_nobody_named_is_said(naaf, runs):
    sentence = "far is the baseline as the first found; --baseline RUN takes another"
    assert naaf(runs)[1].splitlines()[1] == sentence
    assert "is the baseline" not in naaf(runs, "--baseline", "far")[1]


def test_json_csv_and_latex_hold_the_same_rows(naaf, runs, tmp_path):
    files = tmp_path / "out" / "table.csv", tmp_path / "out" / "table.tex"
    words = ("--resamples", 199, "--measure", "all", "--correction", "bh")
    status, out, _ = naaf(runs / "plain", runs / "far", *words, "--json", "--table", *files)
    assert status == 0
    record, table = json.loads(out), pd.read_csv(files[0])
    assert (record["split"], record["images"], record["baseline"]) == ("dev", 31, "plain")
    assert len(record["rows"]) == len(table) == 14
    assert record["rows"][0]["p_corrected"] is None
    for row, saved in zip(record["rows"], table.to_dict("records"), strict=True):
        assert row["mean"] == pytest.approx(saved["mean"])
    latex = files[1].read_text()
    assert latex.count(r"\\") == 15
    assert r"far & t2i R@10 & 1 & " in latex
    assert "is one for all settings" not in latex
    assert "% Verdicts: p corrected by Benjamini and Hochberg for 7 comparisons, at 0.05" in latex
    assert sorted(path.name for path in files[0].parent.iterdir()) == ["table.csv", "table.tex"]


def test_the_same_seed_gives_the_same_table_and_resamples_are_counted(naaf, runs):
    pair = (runs / "plain" / "members" / "0", runs / "other" / "members" / "0", "--json")
    first, again = (json.loads(naaf(*pair, "--resamples", 99)[1]) for _ in range(2))
    other = json.loads(naaf(*pair, "--resamples", 99, "--seed", 1)[1])
    assert first == again
    assert first["rows"][1]["low"] != other["rows"][1]["low"]
    assert (first["rows"][1]["p"] * 100) == pytest.approx(round(first["rows"][1]["p"] * 100))


def test_seeds_given_one_by_one_can_be_taken_together(naaf, data, tmp_path):
    members = [
        write_run(tmp_path / f"{alpha}-{seed}", data, seed=seed, mining__alpha=alpha)
        for alpha in (2, 4)
        for seed in (0, 1)
    ]
    apart, together = (json.loads(naaf(*members, "--json", *more)[1]) for more in ([], ["--seeds-together"]))
    assert [row["seeds"] for row in apart["rows"]] == [1, 1, 1, 1]
    assert [(row["variant"], row["seeds"]) for row in together["rows"]] == [("2-0", 2), ("4-0", 2)]


def test_seeds_can_be_pooled_and_the_note_says_so(naaf, runs):
    groups = (runs / "plain", runs / "other")
    (_, apart, _), (_, pooled, _) = (naaf(*groups, *more) for more in ((), ("--pool-seeds",)))
    assert apart.splitlines()[5] != pooled.splitlines()[5]
    assert "The variance over seeds is one for all settings that were trained apart" in pooled
    refused(
        naaf(runs / "far", runs / "plain" / "members" / "0", "--pool-seeds"), 2, "needs two seeds or more"
    )


def test_what_is_left_out_is_said(naaf, runs, data, tmp_path):
    for name in ("x", "y"):
        write_group(tmp_path / name, data, seeds=2, skill=1 + (name == "y"))
    (tmp_path / "y" / "members" / "1" / "scores" / "dev.npy").unlink()
    status, out, err = naaf(tmp_path)
    assert status == 0
    assert err == "left out: y/1: not trained\n"
    assert "cover images (bootstrap" in out


def test_mistakes_are_one_sentence(naaf, runs, data, write_split, tmp_path):
    plain, far = runs / "plain", runs / "far"
    write_run(tmp_path / "elsewhere", write_split(tmp_path / "other", "dev", 31, seed=1))
    refused(naaf(far), 1, "a comparison takes two settings or more, and far alone is there")
    refused(naaf(plain, tmp_path / "none"), 1, "none does not exist")
    refused(naaf(plain, tmp_path / "elsewhere"), 1, "with other images or captions")
    refused(naaf(plain, far, "--split", "test"), 1, "has no scores (test) and no checkpoint")
    refused(naaf(plain, far, "--protocol", "coco-1k"), 2, "protocol coco-1k is made for 5000 images")
    refused(
        naaf(plain, far, "--baseline", "nowhere"), 2, "'nowhere' is neither a folder nor one of: plain, far"
    )
    refused(naaf(plain, far, "--table", tmp_path / "a.xlsx"), 2, "a.xlsx is neither .csv nor .tex")
    refused(naaf(plain, far, "--confidence", 95), 2, "between 0 and 1")
    refused(naaf(plain, far, "--resamples", 0), 2, "takes 40 resamples at least, not 0")
    refused(naaf(plain, far, "--measure", "recall"), 2, "invalid choice: 'recall'")
    refused(naaf(far, far), 2, f"{far} is given twice")
    refused(naaf(plain, far, "--table", "some/where.xls"), 2, "some/where.xls is neither .csv nor .tex")
    assert not list(tmp_path.glob("*.xlsx"))


def test_the_measures_that_the_help_names_are_those_of_the_library(naaf, tmp_path, capsys):
    from naaflib.metric.retrieval import MEASURES
    from naaflib.metric.significance import CORRECTIONS

    with pytest.raises(SystemExit):
        naaf("--help")
    assert ", ".join((*MEASURES, "all")) in " ".join(capsys.readouterr().out.split())
    refused(
        naaf(tmp_path, "--measure", "i2t_at_2"), 2, "invalid choice: 'i2t_at_2'", ", t2i_at_10, rsum, all)"
    )
    assert CORRECTIONS == ("holm", "bh", "none")


def test_runs_are_evaluated_where_the_data_are_given(naaf, trained, scenes, tmp_path):
    import shutil

    for name in ("one", "two"):
        shutil.copytree(trained.path, tmp_path / name)
        shutil.rmtree(tmp_path / name / "scores", ignore_errors=True)
    words = (tmp_path / "one", tmp_path / "two", "--split", "dev")
    refused(naaf(*words), 1, "one has no scores (dev), the first of 2 such runs: `naaf")
    refused(naaf(*words[:2], "--split", "val"), 2, "has no split 'val'; its splits: train, dev, test")
    status, out, _ = naaf(*words, "--data", scenes, "--json")
    assert status == 0
    row = json.loads(out)["rows"][1]
    assert [row[name] for name in ("difference", "low", "high", "p", "verdict")] == [0, 0, 0, 1, "open"]
