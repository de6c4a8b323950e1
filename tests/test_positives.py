"""Several right answers a query, tile by tile: against a readable form, and the package eccv-caption."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import seeds

from naaflib.data.public.coco import coco_ids, positives
from naaflib.errors import NaafError
from naaflib.metric.detection import image_interval
from naaflib.metric.positives import (
    CXC_MEASURES,
    ECCV_MEASURES,
    MEASURES,
    BothWays,
    PositiveCounter,
    Positives,
    means,
)

IMAGES, CAPTIONS, EACH = 13, 39, 3
ABSENT = -1


def some_truth(rng, queries, answers, asked):
    """So many queries with one to five right answers; every third query has absent ones, too."""
    query = np.sort(rng.choice(queries, asked, replace=False))
    right = [np.sort(rng.choice(answers, rng.integers(1, 6), replace=False)) for _ in query]
    right = [np.append(one, [ABSENT] * 2) if i % 3 == 0 else one for i, one in enumerate(right)]
    return Positives.of(query, np.array([len(one) for one in right]), np.concatenate(right))


def planted(seed=0, levels=4, dtype="float32"):
    """Scores of few levels, so that ties are everywhere, and right answers of both ways."""
    rng = seeds.rng(seed)
    scores = rng.integers(0, levels, (IMAGES, CAPTIONS)).astype(dtype)
    return scores, BothWays(some_truth(rng, IMAGES, CAPTIONS, 7), some_truth(rng, CAPTIONS, IMAGES, 17))


def tiles(rows, columns, images=IMAGES, captions=CAPTIONS):
    return [
        (slice(i, min(i + rows, images)), slice(c, min(c + columns, captions)))
        for c in range(0, captions, columns)
        for i in range(0, images, rows)
    ]


def counted(scores, truth, rows=5, columns=11, own=None):
    counter = PositiveCounter(truth, scores[truth.pairs] if own is None else own, *scores.shape)
    for number in seeds.rng(1).permutation(len(parts := tiles(rows, columns, *scores.shape))):
        counter.add(scores[parts[number]], *parts[number])
    return counter.ranks


def slow_measures(scores, right, absent):
    """One query: its scores (answer,), the set of right answers, and how many more there are."""
    order = sorted(
        range(len(scores)), key=lambda answer: (-scores[answer], answer in right)
    )  # a tie is a miss
    hits = [answer in right for answer in order]
    relevant = len(right) + absent
    precisions = [sum(hits[: r + 1]) / (r + 1) if hits[r] else 0.0 for r in range(relevant)]
    return {
        "ranks": [rank for rank, hit in enumerate(hits) if hit],
        "map_at_r": sum(precisions) / relevant,
        "r_precision": sum(hits[:relevant]) / relevant,
        **{f"at_{k}": float(any(hits[:k])) for k in (1, 5, 10)},
    }


def slow(scores, way):
    """scores (query, answer): what the measures of every query are."""
    first = way.first
    for i, query in enumerate(way.query):
        right = set(way.answer[first[i] : first[i + 1]].tolist())
        yield slow_measures(scores[query], right, way.absent[i])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("rows", "columns"), [(13, 39), (1, 39), (13, 1), (5, 11)])
def test_every_tiling_gives_the_measures_of_the_sorted_list_ties_being_misses(rows, columns, dtype):
    scores, truth = planted(rows + columns, dtype=dtype)
    found = counted(scores, truth, rows, columns)
    for ranks, way, matrix in ((found.i2t, truth.i2t, scores), (found.t2i, truth.t2i, scores.T)):
        wanted = list(slow(matrix, way))
        assert ranks.ranks.tolist() == [rank for one in wanted for rank in one["ranks"]]
        for name, measure in MEASURES.items():
            np.testing.assert_allclose(measure(ranks), [one[name] for one in wanted], atol=1e-12)


def test_an_absent_answer_counts_in_r_and_is_never_found():
    scores = np.array([[3.0, 2.0, 1.0]])
    for answers, value in (([0], 1.0), ([0, ABSENT], 0.5), ([1, ABSENT], 0.25)):
        i2t = Positives.of(np.array([0]), np.array([len(answers)]), np.array(answers))
        nobody = Positives.of(*np.zeros((3, 0), int))
        found = counted(scores, BothWays(i2t, nobody))
        assert found.i2t.map_at_r().tolist() == [value]


def test_what_is_right_is_told_by_its_place_and_not_by_its_score():
    """Another block size may give a right pair's score other last bits than it was read with."""
    rng = seeds.rng(2)
    scores = rng.permutation(IMAGES * CAPTIONS).reshape(IMAGES, CAPTIONS).astype("float32")
    truth = planted(2)[1]
    whole = counted(scores, truth)
    for way in (-np.inf, np.inf):
        nudged = np.nextafter(scores[truth.pairs], np.float32(way))
        for one, other in zip(counted(scores, truth, own=nudged), whole, strict=True):
            assert one.ranks.tolist() == other.ranks.tolist()


def test_tiles_must_cover_the_matrix_once():
    scores, truth = planted(3)
    parts = tiles(5, 13)
    for wrong in (parts[1:], [*parts, parts[0]], [parts[1], *parts[1:]], [parts[3], *parts[1:]]):
        counter = PositiveCounter(truth, scores[truth.pairs], IMAGES, CAPTIONS)
        for part in wrong:
            counter.add(scores[part], *part)
        with pytest.raises(NaafError, match="cover the matrix once"):
            _ = counter.ranks


def test_scores_that_are_not_finite_are_refused_with_their_image():
    scores, truth = planted(4)
    own = scores[truth.pairs]
    counter = PositiveCounter(truth, own, IMAGES, CAPTIONS)
    scores[8, 5] = np.nan
    with pytest.raises(NaafError, match="image 8 is not finite"):
        counter.add(scores[6:], slice(6, 13), slice(0, CAPTIONS))
    own[3] = np.inf
    with pytest.raises(NaafError, match=f"image {truth.pairs[0][3]} is not finite"):
        PositiveCounter(truth, own, IMAGES, CAPTIONS)


def test_right_answers_beyond_the_matrix_and_too_few_scores_are_refused():
    scores, truth = planted(5)
    own = scores[truth.pairs]
    with pytest.raises(NaafError, match="beyond the matrix"):
        PositiveCounter(truth, own, 3, CAPTIONS)
    with pytest.raises(NaafError, match="right pairs"):
        PositiveCounter(truth, own[1:], IMAGES, CAPTIONS)


def test_means_are_in_percent_and_queries_of_one_image_are_resampled_together():
    scores, truth = planted(6, levels=50)
    ranks = counted(scores, truth)
    table = means(ranks, ECCV_MEASURES, EACH).set_index(["way", "measure"])
    assert table.loc["i2t", "queries"].tolist() == [7] * 3
    for way, found, image in (
        ("i2t", ranks.i2t, truth.i2t.query),
        ("t2i", ranks.t2i, truth.t2i.query // EACH),
    ):
        for name in ECCV_MEASURES:
            values = pd.Series(100 * MEASURES[name](found))
            row = table.loc[(way, name)]
            assert row["value"] == pytest.approx(values.mean())
            assert (row["low"], row["high"]) == pytest.approx(image_interval(values, pd.Series(image)))


# --- the package as the oracle ---


@pytest.fixture(scope="module")
def package():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ujson, which is not there
        import eccv_caption
    return eccv_caption.Metrics()


def first_images(truth: BothWays, images, captions) -> BothWays:
    """The queries of the first images; answers that are not among them become absent ones."""
    ways = []
    for way, queries, answers in ((truth.i2t, images, captions), (truth.t2i, captions, images)):
        asked = way.query < queries
        answer = np.where(way.answer < answers, way.answer, ABSENT)[np.repeat(asked, way.counts)]
        absent = way.absent[asked]
        known = Positives.of(way.query[asked], way.counts[asked], answer)
        ways.append(Positives(known.query, known.counts, known.absent + absent, known.answer))
    return BothWays(*ways)


def rankings(scores, ids, captions, top):
    """As the package takes them: an id's answers, best first; scores without ties."""

    def best(matrix):
        found = np.argpartition(-matrix, top - 1, axis=1)[:, :top]
        order = np.argsort(-np.take_along_axis(matrix, found, 1), axis=1)
        return np.take_along_axis(found, order, 1)

    images = ids.images[: len(scores)]
    i2t = dict(zip(images.tolist(), ids.captions[best(scores)].tolist(), strict=True))
    bands = [range(c, min(c + 1000, captions)) for c in range(0, captions, 1000)]
    t2i = {}
    for band in bands:
        answers = ids.images[best(np.ascontiguousarray(scores[:, band.start : band.stop].T))].tolist()
        t2i |= dict(zip(ids.captions[band.start : band.stop].tolist(), answers, strict=True))
    return {"i2t": i2t, "t2i": t2i}


def check_against(package, images, top):
    """Scores that know half of the right answers and hold no ties: our means are the package's."""
    ids, captions = coco_ids(), 5 * images
    rng = seeds.rng(7)
    scores = rng.standard_normal((images, captions))
    truths = {name: first_images(positives(name), images, captions) for name in ("eccv", "cxc")}
    for truth in truths.values():
        known = rng.random(len(truth.pairs[0])) < 0.5
        scores[truth.pairs[0][known], truth.pairs[1][known]] += 1.5
    lists = rankings(scores, ids, captions, top)
    found = {name: counted(scores, truth, rows=499, columns=4999) for name, truth in truths.items()}
    wanted = package.eccv_metrics(lists, "all")
    oracle = {("eccv", name): wanted[key] for name, key in zip(ECCV_MEASURES, ECCV_KEYS, strict=True)}
    oracle |= {("cxc", name): package.cxc_recalls(lists, "all", K=int(name[3:])) for name in CXC_MEASURES}
    for (truth, name), theirs in oracle.items():
        for way in ("i2t", "t2i"):
            mean = MEASURES[name](getattr(found[truth], way)).mean()
            assert 0 < mean < 1, (truth, name, way)  # neither all right nor all wrong
            assert mean == pytest.approx(theirs[way], abs=1e-9), (truth, name, way)


ECCV_KEYS = ("eccv_map_at_r", "eccv_rprecision", "eccv_r1")


def test_means_are_those_of_the_package_on_whole_rankings(package, monkeypatch):
    """Asked: the first 100 images and their captions. Their right answers elsewhere are absent ones."""
    ids = coco_ids()
    asked = {"i2t": set(ids.images[:100].tolist()), "t2i": set(ids.captions[:500].tolist())}
    for truth in ("eccv_gts", "cxc_gts"):
        some = {
            way: {
                query: right for query, right in getattr(package, truth)[way].items() if query in asked[way]
            }
            for way in asked
        }
        monkeypatch.setattr(package, truth, some)
    check_against(package, 100, top=100)


@pytest.mark.long
@pytest.mark.parametrize("transposed", [False, True])
def test_naaf_judge_on_the_whole_test_split_gives_the_packages_numbers(package, tmp_path, transposed):
    """Within 1.5 GB, the matrix memory-mapped, ECCV Caption, CxC and COCO's own recalls to 1e-9."""
    ids, rng = coco_ids(), seeds.rng(7)
    scores = rng.standard_normal((5000, 25000), dtype=np.float32)
    for truth in map(positives, ("eccv", "cxc")):
        known = rng.random(len(truth.pairs[0])) < 0.5
        scores[truth.pairs[0][known], truth.pairs[1][known]] += 1.5
    lists = rankings(scores, ids, 25000, top=64)  # R is 48 at most: more of a ranking changes nothing
    np.save(tmp_path / "scores.npy", scores.T if transposed else scores)
    del scores
    code = (
        "import sys; from naaflib.cli import main; status = main(sys.argv[1:]); "
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], file=sys.stderr); "
        "sys.exit(status)"
    )
    words = ["judge", str(tmp_path / "scores.npy"), "--benchmark", "coco-5k", "--extended", "eccv", "cxc"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--json"], capture_output=True, text=True, check=True
    )
    assert int(done.stderr.split()[-1]) < 1.5e6, "kilobytes"
    measures = json.loads(done.stdout)[0]["measures"]
    theirs = package.compute_all_metrics(*lists.values(), ALL, (1, 5, 10))
    names = {"eccv_map_at_r": "map_at_r", "eccv_rprecision": "r_precision", "eccv_r1": "at_1"}
    for key, ways in theirs.items():
        kind, _, k = key.rpartition("_r")
        for way, value in ways.items():
            ours = f"eccv_{way}_{names[key]}" if key in names else f"{KINDS[kind]}{way}_at_{k}"
            assert measures[ours]["value"] == pytest.approx(100 * value, abs=1e-9), ours


ALL = ("coco_5k_recalls", "cxc_recalls", "eccv_r1", "eccv_rprecision", "eccv_map_at_r")
KINDS = {"coco_5k": "", "cxc": "cxc_"}
