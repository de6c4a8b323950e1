"""`judge`: the same numbers as the readable form, whatever the file's format, order and orientation."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
import seeds
import torch
from scipy.stats import spearmanr

from naaflib.cli import main
from naaflib.data.public.coco import coco_ids
from naaflib.data.public.sits import Grades
from naaflib.errors import NaafError, UsageError
from naaflib.evaluation.judging.extended import SITS_FILE, Extended, open_extended
from naaflib.evaluation.judging.formats import bfloat16, open_source
from naaflib.evaluation.judging.gallery import Gallery, open_gallery, order_of
from naaflib.evaluation.judging.judge import judge, ranked
from naaflib.evaluation.judging.matrix import ScoreMatrix
from naaflib.metric import intervals
from naaflib.metric.positives import CXC_MEASURES, BothWays, PositiveCounter, Positives, means
from naaflib.metric.retrieval import MEASURES, retrieval_metrics

FEW = {"resamples": 100}


@pytest.fixture(scope="module")
def folder(write_split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged") / "small"
    write_split(folder, "test", 9)
    return folder


@pytest.fixture
def scores():
    return planted(9)


def planted(images: int, skill: float = 2.0, each: int = 5) -> np.ndarray:
    scores = seeds.rng(images, each).normal(size=(images, images * each)).astype(np.float32)
    scores[np.arange(images * each) // each, np.arange(images * each)] += skill
    return scores


def f30k(skill: float = 3.0) -> np.ndarray:
    return planted(1000, skill)


def same(result, scores, **how):
    expected = retrieval_metrics(scores, **how)
    assert result.metrics.to_dict() == expected.to_dict()
    assert result.table.loc[list(MEASURES), "value"].tolist() == pytest.approx(
        [*expected.measures().values()]
    )


def test_a_matrix_is_measured_as_the_metric_does(folder, scores):
    result = judge(scores, folder, **FEW)
    same(result, scores)
    for way in ("i2t", "t2i"):
        found = getattr(result.metrics, way)
        assert result.table.loc[f"{way}_median_rank", "value"] == found.median_rank
        assert result.table.loc[f"{way}_mean_rank", "value"] == found.mean_rank
    inside = result.table["low"].le(result.table["value"]) & result.table["high"].ge(result.table["value"])
    assert inside[["rsum", "t2i_mean_rank"]].all()


@pytest.mark.parametrize("ending", ["npy", "npz", "pt", "h5"])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int32"])
def test_every_format_and_number_gives_the_same_result(folder, tmp_path, ending, kind):
    scores = (64 * planted(9)).round().clip(-1000, 1000).astype(kind)  # exact in each of them
    path = tmp_path / f"scores.{ending}"
    save(path, scores)
    same(judge(path, folder, **FEW), scores.astype(float))


def save(path, scores, name: str = "scores"):
    if path.suffix == ".npy":
        np.save(path, scores)
    elif path.suffix == ".npz":
        np.savez(path, **{name: scores})
    elif path.suffix == ".pt":
        torch.save(torch.from_numpy(scores), path)
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file[name] = scores


def test_bfloat16_tensors_are_read_exactly(folder, scores, tmp_path):
    tensor = torch.from_numpy(scores).bfloat16()
    torch.save({"scores": tensor, "epoch": 3}, tmp_path / "scores.pt")
    same(judge(tmp_path / "scores.pt", folder, **FEW), tensor.float().numpy())
    bits = np.arange(2**16, dtype=np.uint16).view(np.int16)
    expected = torch.from_numpy(bits.copy()).view(torch.bfloat16).float().numpy()
    assert np.array_equal(bfloat16(bits), expected, equal_nan=True)


@pytest.mark.parametrize("ending", ["npy", "h5"])
def test_orientation_is_told_by_the_shape_and_said(folder, scores, tmp_path, ending):
    path = tmp_path / f"scores.{ending}"
    save(path, np.ascontiguousarray(scores.T))
    result = judge(path, folder, **FEW)
    same(result, scores)
    assert result.notes == ("its rows are captions: transposed",)
    assert judge(path, folder, transpose=True, **FEW).notes == ()
    with pytest.raises(NaafError, match="leave --transpose out"):
        judge(scores, folder, transpose=True)


def test_a_square_matrix_is_taken_as_said(write_split, tmp_path):
    write_split(tmp_path / "one", "test", 8, per_image=1)
    (tmp_path / "one" / "manifest.yaml").write_text("name: one\ncaptions_per_image: 1\n")
    scores = planted(8, 1.0, 1)
    result = judge(scores, tmp_path / "one", **FEW)
    same(result, scores, captions_per_image=1)
    assert "square" in result.notes[0]
    same(judge(scores, tmp_path / "one", transpose=True, **FEW), scores.T, captions_per_image=1)


def test_distances_are_scores_with_the_other_sign(folder, scores):
    same(judge(-scores, folder, smaller_is_better=True, **FEW), scores)


def test_wrong_signs_and_orders_are_suspected(scores):
    good = f30k()
    assert judge(good, benchmark="f30k-1k", **FEW).notes == ()
    shuffled = good[seeds.rng(3).permutation(1000)]
    for bad, options in ((-good, {}), (good, {"smaller_is_better": True}), (shuffled, {})):
        (note,) = judge(bad, benchmark="f30k-1k", **FEW, **options).notes
        assert "no better than blind guessing" in note
        assert ("leave --smaller-is-better out" in note) == bool(options)


def test_blocks_in_any_order_orientation_and_size_equal_the_matrix(scores, tmp_path):
    save(tmp_path / "scores.npy", np.ascontiguousarray(scores.T))
    rng = seeds.rng(5)
    rows, columns = rng.permutation(9), rng.permutation(45)
    matrix = ScoreMatrix("x", open_source(tmp_path / "scores.npy"), True, False, rows, columns)
    expected = scores[rows][:, columns]
    for images, captions in (
        (slice(0, 9), slice(0, 45)),
        (slice(2, 5), slice(7, 30)),
        (slice(8, 9), slice(0, 1)),
    ):
        assert np.array_equal(matrix.block(images, captions), expected[images, captions])
    pairs = rng.integers(9, size=20), rng.integers(45, size=20)
    assert np.array_equal(matrix.pairs(*pairs), expected[pairs])
    assert np.array_equal(matrix.own(5), expected[np.arange(45) // 5, np.arange(45)])


@pytest.mark.parametrize("ending", ["npy", "h5"])
def test_a_saved_matrix_is_in_order_and_larger_is_better(folder, scores, tmp_path, ending):
    rows = seeds.rng(13).permutation(9)
    (folder / "test_image_names.txt").write_text("".join(f"{k}.jpg\n" for k in range(9)))
    (tmp_path / "ids.txt").write_text("".join(f"{k}\n" for k in rows))
    mixed = scores.reshape(9, 9, 5)[rows][:, rows].reshape(9, 45)
    save(tmp_path / f"mixed.{ending}", -mixed.T.astype(np.float64))
    how = {"ids": [tmp_path / "ids.txt"], "smaller_is_better": True, "save": tmp_path / "ordered.npy"}
    same(judge(tmp_path / f"mixed.{ending}", folder, **how, **FEW), scores)
    assert np.array_equal(np.load(tmp_path / "ordered.npy"), scores.astype(np.float64))


class TestIds:
    @pytest.fixture
    def named(self, folder, tmp_path):
        """The data set with ids, and the same in a random order of images and captions."""
        (folder / "test_image_names.txt").write_text("".join(f"{7 * k + 100}.jpg\n" for k in range(9)))
        return [7 * k + 100 for k in range(9)]

    def write(self, path, ids):
        path.write_text("".join(f"{one}\n" for one in ids))
        return path

    def test_permuted_rows_and_columns_are_brought_into_order(self, folder, scores, named, tmp_path):
        rng = seeds.rng(6)
        rows, columns = rng.permutation(9), rng.permutation(45)
        images = self.write(tmp_path / "images.txt", [f"{named[k]:012d}.jpg" for k in rows])
        captions = self.write(tmp_path / "captions.txt", [named[c // 5] for c in columns])
        result = judge(scores[rows][:, columns], folder, ids=[images, captions], **FEW)
        assert result.metrics.to_dict() == retrieval_metrics(scores).to_dict()

    def test_captions_follow_their_images(self, folder, scores, named, tmp_path):
        rows = seeds.rng(7).permutation(9)
        mixed = scores.reshape(9, 9, 5)[rows][:, rows].reshape(9, 45)
        images = self.write(tmp_path / "images.txt", [named[k] for k in rows])
        same(judge(mixed, folder, ids=[images], **FEW), scores)
        captions = self.write(tmp_path / "captions.txt", [named[k] for k in rows for _ in range(5)])
        same(judge(mixed, folder, ids=[captions], **FEW), scores)

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (lambda ids: [*ids[:-1], 999], "misses the id 156"),
            (lambda ids: ids[:-1], "holds 8 ids"),
            (lambda ids: [*ids * 4, *ids[:-1], ids[0]], "holds the id 100 6 times, not 5"),
        ],
    )
    def test_ids_that_do_not_fit_are_refused(self, folder, scores, named, tmp_path, change, text):
        path = self.write(tmp_path / "ids.txt", change(named))
        with pytest.raises(NaafError, match=text):
            judge(scores, folder, ids=[path])

    def test_a_data_set_s_own_ids_must_be_of_its_images(self, folder, scores, named, tmp_path):
        path = self.write(tmp_path / "ids.txt", named)
        own = folder / "test_image_names.txt"
        for ids in (named[:-1], [*named, *named], [named[c % 9] for c in range(45)]):
            self.write(own, ids)
            with pytest.raises(NaafError, match=r"test_image_names\.txt holds .* mend or remove it"):
                judge(scores, folder, ids=[path])
        self.write(own, [named[c // 5] for c in range(45)])  # an id a caption
        same(judge(scores, folder, ids=[path], **FEW), scores)

    def test_a_benchmark_whose_ids_are_unknown_says_where_they_are(self, named, tmp_path):
        path = self.write(tmp_path / "ids.txt", range(1000))
        with pytest.raises(NaafError, match=r"f30k-1k are not known here; name its data set in place of it"):
            judge(f30k(), benchmark="f30k-1k", ids=[path])


class TestOdd:
    def test_ties_are_counted_and_their_worth_is_said(self, folder, scores):
        scores = scores.round().clip(-1, 2)
        result = judge(scores, folder, **FEW)
        right = np.arange(45) // 5
        wrong = right != np.arange(9)[:, None]
        best = scores[right, np.arange(45)].reshape(9, 5).max(1)
        ties = ((scores == best[:, None]) & wrong).any(1).sum()
        captions = ((scores == scores[right, np.arange(45)]) & wrong).any(0).sum()
        kindly = retrieval_metrics(np.where(wrong, scores - 1e-3, scores)).rsum
        assert result.notes[0].startswith(
            f"a wrong answer ties with the right one for {ties} of 9 images and {captions} of 45 captions"
        )
        assert f"rsum would be {kindly:.1f}" in result.notes[0]

    def test_constant_queries_are_named(self, folder, scores):
        scores[3], scores[:, 17] = 5, 1
        scores[3, 17] = 5
        notes = judge(scores, folder, **FEW).notes
        assert "1 image scores the same with all captions, the first is image 3" in notes
        assert not any("caption 17" in note for note in notes)
        scores[:, 17] = 5
        assert (
            "1 caption scores the same with all images, the first is caption 17"
            in judge(scores, folder, **FEW).notes
        )

    @pytest.mark.parametrize("place", [(0, 0), (4, 20), (4, 3), (8, 44)])
    @pytest.mark.parametrize(
        ("value", "text"), [(np.nan, "1 NaN and 0"), (np.inf, "0 NaN and 1"), (-np.inf, "0 NaN and 1")]
    )
    def test_one_cell_that_is_not_finite_is_refused(self, folder, scores, place, value, text):
        scores[place] = value
        with pytest.raises(NaafError, match=rf"{text}.*image {place[0]} and caption {place[1]},"):
            judge(scores, folder)

    def test_half_precision_that_overflowed_is_named(self, folder, scores):
        scores[2, 3] = 1e6
        with np.errstate(over="ignore"):
            half = scores.astype(np.float16)
        with pytest.raises(NaafError, match=r"float16 ends at 65,504: save them as float32"):
            judge(half, folder)


def test_five_folds_are_ranked_on_their_own():
    scores = seeds.rng(8).normal(size=(1000, 5000)).astype(np.float32)
    scores[np.arange(5000) // 5, np.arange(5000)] += 2
    whole = np.full((5000, 25000), 9, np.float16)  # what lies outside of the folds does not count
    for k in range(5):
        whole[1000 * k : 1000 * (k + 1), 5000 * k : 5000 * (k + 1)] = scores
    result = judge(whole, benchmark="coco-1k", **FEW)
    expected = judge(scores.astype(np.float16), benchmark="f30k-1k", **FEW)
    assert result.metrics.measures() == pytest.approx(expected.metrics.measures())
    assert result.gallery.chance() == expected.gallery.chance()


def test_saved_scores_know_what_they_are_of(folder, write_split, tmp_path):
    from synthetic_runs import write_run

    run = write_run(tmp_path / "run", folder, split="test")
    result = judge(run / "scores" / "test.npy", **FEW)
    same(result, np.load(run / "scores" / "test.npy"))
    assert result.gallery.sentence() == judge(run / "scores" / "test.npy", folder, **FEW).gallery.sentence()
    write_split(tmp_path / "small", "test", 9, seed=1)
    with pytest.raises(
        NaafError, match=r"test\.npy holds scores of split 'test' of 'small', not of small test"
    ):
        judge(run / "scores" / "test.npy", tmp_path / "small")


class TestExtended:
    """What COCO's 5,000 images have beyond recalls, on a small gallery of the same form."""

    @pytest.fixture
    def more(self):
        rng = seeds.rng(11)
        right = rng.random((9, 45)) < 0.1
        right[:, :9] |= np.eye(9, dtype=bool)
        rows, columns = np.nonzero(right)
        i2t = Positives.of(np.arange(9), np.bincount(rows, minlength=9), columns)
        asked = np.flatnonzero(right.any(0))
        by_caption = [np.flatnonzero(right[:, caption]) for caption in asked]
        t2i = Positives.of(asked, np.array([*map(len, by_caption)]), np.concatenate(by_caption))
        pairs = rng.integers(9, size=40), rng.integers(45, size=40)
        grades = Grades(*pairs, rng.random(40), np.array(["c2i_original", "c2i_intrasim"] * 20))
        return Extended({"cxc": BothWays(i2t, t2i)}, grades)

    @pytest.mark.parametrize("transposed", [False, True])
    def test_blocks_give_what_the_whole_matrix_gives(self, scores, more, tmp_path, transposed):
        save(tmp_path / "scores.npy", scores.T if transposed else scores)
        gallery = Gallery("small", 9, 5, "full")
        matrix = ScoreMatrix("x", open_source(tmp_path / "scores.npy"), transposed)
        ranked(matrix, gallery, more)
        table = more.table(5)
        whole = PositiveCounter(more.truths["cxc"], scores[more.truths["cxc"].pairs], 9, 45)
        whole.add(scores, slice(0, 9), slice(0, 45))
        expected = means(whole.ranks, CXC_MEASURES, 5)
        assert table["value"].head(6).tolist() == expected["value"].tolist()
        rho = spearmanr(scores[more.grades.row, more.grades.column], more.grades.grade).statistic
        assert table.loc["sits_all", "value"] == pytest.approx(rho)
        assert [*table.index[6:]] == ["sits_all", "sits_c2i_intrasim", "sits_c2i_original"]

    def test_what_is_not_here_is_said_and_what_is_asked_for_is_refused(self, monkeypatch, tmp_path):
        monkeypatch.setenv("NAAF_ROOT", str(tmp_path))
        coco = open_gallery(benchmark="coco-5k")
        found, notes = open_extended(coco, None)
        assert [*found.truths] == ["eccv", "cxc"]
        assert notes == [f"not measured: SITS needs {SITS_FILE}, human grades of pairs; {FETCH} brings it"]
        with pytest.raises(NaafError, match="naaf data fetch cxc"):
            open_extended(coco, ["sits"])
        with pytest.raises(NaafError, match=r"nowhere\.csv is missing"):
            open_extended(coco, None, tmp_path / "nowhere.csv")
        monkeypatch.setattr("naaflib.data.public.coco.PACKAGE", "no_such_package")
        assert len(open_extended(coco, None)[1]) == 2
        with pytest.raises(NaafError, match=r"not installed: pip install naaflib\[benchmarks\]"):
            open_extended(coco, ["eccv"])
        assert open_extended(coco, [])[1] == []
        for gallery in (open_gallery(benchmark="coco-1k"), open_gallery(benchmark="f30k-1k")):
            assert open_extended(gallery, None)[1] == []
            with pytest.raises(UsageError, match="cxc: the judgements are of --benchmark coco-5k"):
                open_extended(gallery, ["cxc"])

    def test_coco_ids_bring_any_order_into_the_benchmarks(self, tmp_path):
        ids, rng = coco_ids(), seeds.rng(12)
        rows, columns = rng.permutation(5000), rng.permutation(25000)
        files = [tmp_path / "images.txt", tmp_path / "captions.txt"]
        files[0].write_text("".join(f"COCO_val2014_{ids.images[k]:012d}.jpg\n" for k in rows))
        files[1].write_text("".join(f"{ids.captions[k]}\n" for k in columns))
        order = order_of(files, open_gallery(benchmark="coco-5k"))
        assert np.array_equal(rows[order.images], np.arange(5000))
        assert np.array_equal(columns[order.captions], np.arange(25000))


FETCH = "naaf data fetch cxc"


class TestIntervals:
    def test_a_median_of_resampled_images_is_numpys(self):
        rng = seeds.rng(9)
        for images, each in ((7, 5), (8, 1), (5, 3)):
            ranks = rng.integers(1, 30, size=(images, each)).astype(float)
            found = intervals.bootstrap_medians(ranks, 50, seed=3)
            times = np.concatenate([*intervals._draws(images, 50, 3)])
            expected = [np.floor(np.median(np.repeat(ranks, row, axis=0))) for row in times]
            assert found.tolist() == expected

    def test_an_interval_covers_the_truth(self):
        """Of 60 samples of images, nearly all intervals of 95 % hold the mean of the population."""
        covered = 0
        for k in range(60):
            scores = planted_by(seeds.rng(10, k), 60)
            table = intervals.measured(retrieval_metrics(scores), 60, resamples=300)
            covered += table.loc["t2i_at_1", "low"] <= TRUE_AT_1 <= table.loc["t2i_at_1", "high"]
        assert covered >= 48

    def test_identical_images_have_no_width(self):
        scores = np.tile(np.eye(6), 5).reshape(6, 5, 6).transpose(0, 2, 1).reshape(6, 30)
        table = intervals.measured(retrieval_metrics(scores), 6, resamples=100)
        assert (table.loc[list(MEASURES), "low"] == table.loc[list(MEASURES), "high"]).all()


TRUE_AT_1 = 50.0


def planted_by(rng, images: int) -> np.ndarray:
    """Scores by which each caption finds its image with a chance of one half, whatever the others do."""
    scores = rng.uniform(size=(images, 5 * images))
    own = np.where(rng.random(5 * images) < 0.5, 2.0, -1.0)
    scores[np.arange(5 * images) // 5, np.arange(5 * images)] = own
    return scores


class TestCommand:
    def run(self, capsys, *words):
        capsys.readouterr()
        status = main(["judge", *(str(word) for word in words)])
        return status, *capsys.readouterr()

    def test_the_table_json_and_files_agree(self, capsys, folder, scores, tmp_path):
        np.save(tmp_path / "mine.npy", scores)
        words = (tmp_path / "mine.npy", "--data", folder, "--resamples", 100)
        status, out, err = self.run(capsys, *words, "--out", tmp_path / "out")
        assert (status, err) == (0, "")
        expected = retrieval_metrics(scores)
        rsum = next(line for line in out.splitlines() if line.startswith("rsum"))
        assert rsum.split()[1] == f"{expected.rsum:.1f}"
        status, out, err = self.run(capsys, *words, "--json")
        (record,) = json.loads(out)
        assert record == json.loads((tmp_path / "out" / "mine.json").read_text())
        assert record["measures"]["rsum"]["value"] == pytest.approx(expected.rsum)
        queries = pd.read_csv(tmp_path / "out" / "mine_queries.csv")
        assert queries["rank"].tolist() == [*(expected.i2t.ranks + 1), *(expected.t2i.ranks + 1)]

    def test_files_of_one_name_do_not_overwrite_each_other(self, capsys, folder, scores, tmp_path):
        files = [tmp_path / name / "test.npy" for name in ("a", "b")]
        for k, file in enumerate(files):
            file.parent.mkdir()
            np.save(file, scores - k)
        status, _, _ = self.run(
            capsys, *files, "--data", folder, "--resamples", 100, "--out", tmp_path / "out"
        )
        assert status == 0
        assert len(list((tmp_path / "out").iterdir())) == 4

    @pytest.mark.parametrize(
        ("words", "status", "text"),
        [
            (["good.npy"], 2, "name what the scores are of"),
            (["good.npy", "--benchmark", "coco-5k", "--data", "DIR"], 2, "name in one way what"),
            (["."], 1, "is not a file but a folder"),
            (["good.npy", "--benchmark", "coco"], 2, "there is no benchmark 'coco'"),
            (["good.npy", "--benchmark", "f30k-1k"], 1, "9 x 45"),
            (["good.npy", "--benchmark", "f30k-1k", "--split", "dev"], 2, "leave --split"),
            (["good.npy", "--data", "DIR", "--split", "train"], 2, "no split 'train'"),
            (["good.npy", "--data", "DIR", "--protocol", "coco-5k"], 2, "made for 5000 images"),
            (["good.npy", "--data", "nowhere"], 1, "does not exist"),
            (["good.npy", "--data", "DIR", "--key", "x"], 2, "without a name"),
            (["missing.npy", "--data", "DIR"], 1, "does not exist"),
            (["scores.csv", "--data", "DIR"], 2, "scores are read from .npy"),
            (["cut.npy", "--data", "DIR"], 1, "cut short"),
            (["cut.npz", "--data", "DIR"], 1, "not a whole .npz"),
            (["cut.pt", "--data", "DIR"], 1, "not a whole file of tensors"),
            (["cut.h5", "--data", "DIR"], 1, "not a whole HDF5"),
            (["code.pt", "--data", "DIR"], 1, "asks to run code, which is refused"),
            (["objects.npz", "--data", "DIR"], 1, "not a whole .npz of numbers"),
            (["two.npz", "--data", "DIR"], 2, "2 arrays (a, b); name one with --key"),
            (["two.npz", "--data", "DIR", "--key", "c"], 2, "no array 'c'"),
            (["cube.npy", "--data", "DIR"], 1, "a score matrix is images x captions"),
            (["complex.npy", "--data", "DIR"], 1, "not plain numbers"),
            (["square.npy", "--data", "DIR"], 1, "keep every fifth row"),
            (["good.npy", "--data", "DIR", "--resamples", "3"], 2, "resamples at least"),
            (["good.npy", "--data", "DIR", "--save", "good.npy"], 2, "is the file that is judged"),
            (["good.npy", "--data", "DIR", "--save", "new.txt"], 2, "and a .npy"),
            (["good.npy", "good.pt", "--data", "DIR", "--save", "new.npy"], 2, "name one file of scores"),
        ],
    )
    def test_mistakes_are_one_sentence(
        self, capsys, folder, scores, tmp_path, monkeypatch, words, status, text
    ):
        pytest.importorskip("h5py")
        monkeypatch.chdir(tmp_path)
        write_files(tmp_path, scores)
        found, out, err = self.run(capsys, *(folder if word == "DIR" else word for word in words))
        assert (found, out) == (status, "")
        assert err.startswith("naaf: ")
        assert len(err.splitlines()) == 1
        assert text in err
        assert "Traceback" not in err
        assert not (tmp_path / "ran").exists()


def write_files(folder, scores):
    np.save(folder / "good.npy", scores)
    np.save(folder / "cube.npy", scores.reshape(9, 9, 5))
    np.save(folder / "complex.npy", scores + 1j)
    np.save(folder / "square.npy", np.zeros((45, 45)))
    np.savez(folder / "two.npz", a=scores, b=scores)
    np.savez(folder / "objects.npz", scores=np.array([[{}]], object))
    torch.save(torch.from_numpy(scores), folder / "good.pt")
    save(folder / "good.h5", scores)
    save(folder / "good.npz", scores)
    for ending in ("npy", "npz", "pt", "h5"):
        whole = (folder / f"good.{ending}").read_bytes()
        (folder / f"cut.{ending}").write_bytes(whole[: len(whole) // 2])
    (folder / "scores.csv").write_text("1,2\n")
    torch.save({"scores": Payload(folder / "ran")}, folder / "code.pt", pickle_module=pickle)


class Payload:
    """What a malicious pickle asks for."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


class TestCompare:
    def run(self, capsys, *words):
        capsys.readouterr()
        status = main(["compare", *(str(word) for word in words)])
        return status, *capsys.readouterr()

    def test_files_and_runs_of_the_same_scores_do_not_differ(self, capsys, folder, tmp_path):
        from synthetic_runs import write_run

        run = write_run(tmp_path / "run", folder, split="test")
        own = np.load(run / "scores" / "test.npy")
        np.save(tmp_path / "theirs.npy", np.ascontiguousarray(own.T))
        status, out, err = self.run(capsys, run, tmp_path / "theirs.npy", "--json", "--resamples", 99)
        assert status == 0
        assert "its rows are captions: transposed" in err
        assert json.loads(out)["note"].startswith("The 95 % intervals cover images")
        row = json.loads(out)["rows"][1]
        assert (row["variant"], row["difference"], row["p"]) == ("theirs", 0, 1)

    def test_seeds_of_files_are_crossed_as_those_of_runs(self, capsys, folder, tmp_path):
        from synthetic_runs import write_group

        groups = [write_group(tmp_path / name, folder, seeds=2, skill=k, split="test") for name, k in TWO]
        as_runs = self.run(capsys, *groups, "--json")
        files = [
            f"{group.name}=" + ",".join(str(group / "members" / s / "scores" / "test.npy") for s in "01")
            for group in groups
        ]
        as_files = self.run(capsys, *files, "--json")
        assert as_runs[0] == as_files[0] == 0
        rows, others = (json.loads(result[1])["rows"] for result in (as_runs, as_files))
        assert rows == others
        assert rows[1]["covers"] == "images and seeds"

    @pytest.mark.parametrize(
        ("words", "status", "text"),
        [
            (["a.npy", "b.npy"], 2, "name what the scores are of"),
            (["a.npy", "b.npy", "--benchmark", "f30k-1k"], 1, "f30k-1k is 1,000 x 5,000"),
            (["a.npy", "--data", "DIR"], 1, "two settings or more"),
            (["a.npy", "a.npy", "--data", "DIR"], 2, "given twice"),
            (["A=a.npy,a.npy", "b.npy", "--data", "DIR"], 2, "twice, which is one seed"),
            (["A=a.npy,gone.npy", "b.npy", "--data", "DIR"], 1, "gone.npy does not exist"),
            (["A=a.npy,b", "b.npy", "--data", "DIR"], 2, "no NAME=FILE,FILE"),
            (["=a.npy", "b.npy", "--data", "DIR"], 2, "no NAME=FILE,FILE"),
            (["a.npy", "nan.npy", "--data", "DIR"], 1, "nan.npy holds 1 NaN and 0 infinite scores"),
            (["a.npy", "b.npy", "--benchmark", "f30k-1k", "--protocol", "coco-5k"], 2, "leave --protocol"),
        ],
    )
    def test_mistakes_are_one_sentence(
        self, capsys, folder, scores, tmp_path, monkeypatch, words, status, text
    ):
        monkeypatch.chdir(tmp_path)
        for name in ("a", "b"):
            np.save(f"{name}.npy", scores)
        scores[1, 1] = np.nan
        np.save("nan.npy", scores)
        found, out, err = self.run(capsys, *(folder if word == "DIR" else word for word in words))
        assert (found, out) == (status, "")
        assert len(err.splitlines()) == 1
        assert text in err

    def test_scores_that_say_they_are_of_another_split_are_refused(self, capsys, write_split, tmp_path):
        from synthetic_runs import write_run

        for split in ("dev", "test"):
            write_split(tmp_path / "two", split, 6 + len(split))
        one, other = (
            write_run(tmp_path / s, tmp_path / "two", split=s) / "scores" / f"{s}.npy"
            for s in ("dev", "test")
        )
        status, out, err = self.run(capsys, one, other)
        assert (status, out) == (1, "")
        assert "only runs scored on the same ones can be compared" in err
        status, _, err = self.run(capsys, one, other, "--split", "test")
        assert status == 2
        with pytest.raises(UsageError, match="holds scores of dev, not of test"):
            judge(one, split="test")


TWO = (("plain", 1.5), ("other", 1.9))


def test_usage_errors_are_usage_errors():
    with pytest.raises(UsageError):
        judge(np.zeros((2, 10)))
