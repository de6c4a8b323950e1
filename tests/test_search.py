"""Search: answers in the score's order, a first stage that only leaves some out, a whole index or none."""

import json

import numpy as np
import pytest
import seeds
import torch

from naaflib import open_split
from naaflib.cli import main
from naaflib.config import preset
from naaflib.data.extract.writing import extract
from naaflib.data.prepare.own_pictures import import_pictures
from naaflib.data.prepare.verify import verify
from naaflib.data.vocabulary import Vocabulary
from naaflib.errors import NaafError, UsageError
from naaflib.model.checkpoint import save
from naaflib.model.model import Model
from naaflib.search import Searcher, build_index, index
from naaflib.search.candidates import Cells, first_stage
from naaflib.similarity.boundary import Boundaries

ROUNDING = 4e-3  # of scores, from vectors of float16


@pytest.fixture(params=["naaf", "scan-t2i", "scan-i2t", "chan", "vse"])
def checkpoint(request, scenes, tmp_path):
    """A model of random weights: every method, and its own boundary."""
    return make(request.param, scenes, tmp_path / "model.safetensors")


@pytest.fixture
def naaf(scenes, tmp_path):
    return make("naaf", scenes, tmp_path / "model.safetensors")


def make(method, scenes, path):
    seeds.manual_seed(4)
    split = open_split(scenes, "train")
    words = Vocabulary.build(split.captions, min_count=1)
    settings = preset("scenes", {"model.dim": 17, "model.word_dim": 7, "model.method": method})
    model = Model(settings.model, split.regions.shape[2], len(words), words)
    model.boundary = Boundaries(0.1, 0.1)
    save(path, model, {})
    return path


def scores_of(searcher, scenes, split):
    opened = open_split(scenes, split)
    images = searcher.model.encode_images(torch.from_numpy(opened.regions.gather(np.arange(len(opened)))))
    words, lengths = searcher.model.encode_texts(opened.captions)
    return searcher.model.score(images, words, lengths).numpy(), opened


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_answers_are_in_the_order_of_the_model_s_scores(checkpoint, scenes, tmp_path):
    searcher = Searcher(build_index(checkpoint, scenes, out=tmp_path / "index", stage="mean"))
    scores, split = scores_of(searcher, scenes, "test")
    for caption in range(0, len(split.captions), 7):
        hits = searcher.by_text(split.captions[caption], k=4)
        np.testing.assert_allclose(hits.scores, scores[hits.places, caption], atol=ROUNDING)
        assert (np.diff(hits.scores) <= 0).all()
        others = np.delete(scores[:, caption], hits.places)
        assert others.max() <= hits.scores[-1] + ROUNDING
        assert hits.texts == [split.image_name(place) for place in hits.places.tolist()]
        assert hits.pictures == [split.image_path(place) for place in hits.places.tolist()]
    for image in range(len(split)):
        hits = searcher.by_image(image, k=6)
        np.testing.assert_allclose(hits.scores, scores[image, hits.places], atol=ROUNDING)
        assert np.delete(scores[image], hits.places).max() <= hits.scores[-1] + ROUNDING
        assert hits.texts == [split.captions[place] for place in hits.places.tolist()]


@pytest.mark.parametrize("stage", ["cells", "mean"])
def test_all_images_as_candidates_are_the_exact_answer(naaf, scenes, tmp_path, stage):
    built = build_index(naaf, scenes, out=tmp_path / "index", stage=stage)
    searcher = Searcher(built)
    for text in open_split(scenes, "test").captions[::9]:
        exact, staged = searcher.by_text(text, k=5), searcher.by_text(text, k=5, candidates=built.images)
        assert exact.places.tolist() == staged.places.tolist()
        few = searcher.by_text(text, k=3, candidates=5)
        assert set(few.places) <= set(searcher.by_text(text, k=built.images).places)
        kept = dict(zip(exact.places, exact.scores, strict=True))
        assert all(
            kept.get(place, score) == score for place, score in zip(few.places, few.scores, strict=True)
        )


def test_an_index_grows_by_parts(naaf, scenes, tmp_path):
    both = tmp_path / "both"
    first = build_index(naaf, scenes, out=both, split="dev")
    before = files(both)
    grown = build_index(naaf, scenes, out=both, split="test")
    assert {name: content for name, content in files(both).items() if name in before} == before
    assert grown.images == 2 * first.images == 20
    text = open_split(scenes, "dev").captions[3]
    dev = Searcher(first).by_text(text, k=10)
    build_index(naaf, scenes, out=tmp_path / "test", split="test")
    test = Searcher(tmp_path / "test").by_text(text, k=10)
    hits = Searcher(both).by_text(text, k=20)
    wanted = {
        **dict(zip(dev.places, dev.scores, strict=True)),
        **dict(zip(test.places + 10, test.scores, strict=True)),
    }
    assert dict(zip(hits.places, hits.scores, strict=True)) == wanted
    with pytest.raises(UsageError, match=r"is in .* already"):
        build_index(naaf, scenes, out=both, split="test")


def test_an_interrupted_build_goes_on_and_ends_with_the_same_bytes(naaf, scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(index, "BLOCK", 3)
    build_index(naaf, scenes, out=tmp_path / "whole")
    encode, calls = Model.encode_images, []

    def stopping(self, regions):
        calls.append(len(regions))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(self, regions)

    monkeypatch.setattr(Model, "encode_images", stopping)
    with pytest.raises(KeyboardInterrupt):
        build_index(naaf, scenes, out=tmp_path / "index")
    with pytest.raises(NaafError, match="no whole part; run naaf index again"):
        Searcher(tmp_path / "index")
    build_index(naaf, scenes, out=tmp_path / "index")
    assert calls == [3, 3, 3, 3, 1]  # the third block twice
    assert files(tmp_path / "index") == files(tmp_path / "whole")


def test_a_damaged_part_is_refused_by_name(naaf, scenes, tmp_path):
    build_index(naaf, scenes, out=tmp_path / "index")
    part = tmp_path / "index" / "parts" / "0000"
    for name in ("images.npy", "words.npy", "captions.txt", "stage.words.npy"):
        content = (part / name).read_bytes()
        (part / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(NaafError, match=f"{name} is not the file that was written; remove"):
            Searcher(tmp_path / "index")
        (part / name).unlink()
        with pytest.raises(NaafError, match=f"{name} is missing; remove"):
            Searcher(tmp_path / "index")
        (part / name).write_bytes(content)
    Searcher(tmp_path / "index")


def test_another_model_is_refused(naaf, scenes, tmp_path):
    build_index(naaf, scenes, out=tmp_path / "index")
    other = make("scan-t2i", scenes, tmp_path / "other.safetensors")
    with pytest.raises(NaafError, match="another model"):
        build_index(other, scenes, out=tmp_path / "index", split="dev")
    naaf.write_bytes(other.read_bytes())
    with pytest.raises(NaafError, match="has changed since"):
        Searcher(tmp_path / "index")
    naaf.unlink()
    with pytest.raises(NaafError, match="not there any more"):
        Searcher(tmp_path / "index")


def test_a_hit_is_explained_by_its_own_score(naaf, scenes, tmp_path):
    build_index(naaf, scenes, out=tmp_path / "index", split="dev")
    searcher = Searcher(build_index(naaf, scenes, out=tmp_path / "index", split="test"))
    hits = searcher.by_text(open_split(scenes, "test").captions[7], k=20)
    for rank in (1, 20):
        assert searcher.explain(hits, rank).score == pytest.approx(hits.scores[rank - 1], abs=ROUNDING)
    with pytest.raises(UsageError, match="no hit 21"):
        searcher.explain(hits, 21)


def test_pictures_without_captions_are_searched_and_nothing_else(naaf, trained, scenes, tmp_path):
    pictures, out = tmp_path / "pictures", tmp_path / "index"
    import_pictures(scenes / "images", None, pictures)
    extract(pictures, "pixels")
    assert verify(pictures).ok
    searcher = Searcher(build_index(naaf, pictures, out=out))
    assert (searcher.index.images, searcher.index.captions) == (44, 0)
    hits = searcher.by_text("a large red circle", k=3)
    assert searcher.explain(hits, 2).score == pytest.approx(hits.scores[1], abs=ROUNDING)
    with pytest.raises(UsageError, match="index has no captions to find"):
        searcher.by_image(0)
    with pytest.raises(NaafError, match="pictures without captions, which can be searched"):
        open_split(pictures, "test")
    with pytest.raises(NaafError, match="by another program; train a model on these"):
        build_index(trained, pictures, out=tmp_path / "other")  # the scenes' features have no record
    grown = Searcher(build_index(naaf, scenes, out=out))
    assert grown.by_image(0, k=2).kind == "caption"
    (pictures / "test_caps.txt").write_text("a dog\n" * 44)
    with pytest.raises(NaafError, match="holds 44 captions, and the manifest says that there are none"):
        open_split(pictures, "test")


def test_features_of_another_width_are_refused(naaf, write_split, tmp_path):
    with pytest.raises(NaafError, match="has 11 features a region and the model was trained on 128"):
        build_index(naaf, write_split(tmp_path / "other", "test", 5), out=tmp_path / "index")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["search", "nowhere", "a"], "nowhere does not exist"),
        (["search", "scenes-index"], "search for a TEXT, or"),
        (["search", "scenes-index", "zzz yyy"], "knows no word of 'zzz yyy'"),
        (["search", "scenes-index", ""], "knows no word of ''"),
        (["search", "scenes-index", "a red circle", "-k", "0"], "ask for at least 1"),
        (["search", "scenes-index", "--image", "none.png"], "no image of the index is called none.png"),
        (["search", "scenes-index", "--image", "99"], "there is no image 99"),
        (["index", "model.safetensors", "--out", "here"], "give its folder as data"),
    ],
)
def test_a_mistake_is_one_sentence(naaf, scenes, tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    build_index(naaf, scenes, out="scenes-index", stage="mean")
    assert main(arguments) in (1, 2)
    assert says in capsys.readouterr().err


def test_the_commands_say_what_the_library_says(naaf, scenes, tmp_path, capsys):
    assert main(["index", str(naaf), "--data", str(scenes), "--out", str(tmp_path / "index")]) == 0
    assert "10 images and 50 captions in 1 part" in capsys.readouterr().out
    text = open_split(scenes, "test").captions[0]
    assert main(["search", str(tmp_path / "index"), text, "-k", "3", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    hits = Searcher(tmp_path / "index").by_text(text, k=3)
    assert [row["place"] for row in rows] == hits.places.tolist()
    assert main(["search", str(tmp_path / "index"), text, "--explain"]) == 0
    assert "<start>" in capsys.readouterr().out


# ---- the first stage


def slow_cells(vectors, planes, signs, average):
    """MUVERA's vectors of one set, in loops. average: of an image; else sums over words."""
    found = []
    for plane, sign in zip(planes, signs, strict=True):
        bits = (vectors @ plane > 0).astype(int)
        own = bits @ (2 ** np.arange(bits.shape[1]))
        for cell in range(2 ** bits.shape[1]):
            members = vectors[own == cell]
            if average and not len(members):
                target = np.array([(cell >> bit) & 1 for bit in range(bits.shape[1])])
                members = vectors[[(bits != target).sum(axis=1).argmin()]]
            total = members.sum(axis=0) if len(members) else np.zeros(vectors.shape[1])
            found.append((total / (len(members) if average else len(vectors))) @ sign)
    return np.concatenate(found)


def test_cells_are_the_paper_s_construction_and_padding_takes_no_part():
    count, words, regions, dim = 2, 3, 5, 7
    rng = seeds.rng(11)
    cells = Cells.make(dim, bits=3, repetitions=2, projected=11, seed=seeds.shifted())
    planes, signs = (array.double().numpy() for array in cells)
    for size, of, average in ((words, cells.of_words, False), (regions, cells.of_regions, True)):
        vectors = rng.normal(size=(count, size, dim))
        padded = np.concatenate([vectors, np.zeros((count, 2, dim))], axis=1)
        fast = of(torch.tensor(padded, dtype=torch.float32)).numpy()
        slow = np.stack([slow_cells(one, planes, signs, average) for one in vectors])
        assert fast.shape == (count, cells.size)
        np.testing.assert_allclose(fast, slow, rtol=1e-4, atol=1e-5)


def test_the_inner_product_of_cells_rises_with_the_best_region():
    """Words that an image has among its regions lie nearer to it than to an image without them."""
    dim, rng = 64, seeds.rng(12)
    regions = torch.nn.functional.normalize(
        torch.tensor(rng.normal(size=(50, 36, dim)), dtype=torch.float32), dim=-1
    )
    words = regions[:, :5]
    cells = first_stage("cells", dim)
    near = cells.of_regions(regions) @ cells.of_words(words).T
    assert (near.argmax(dim=0) == torch.arange(50)).float().mean() > 0.9


def test_an_unknown_stage_is_refused():
    with pytest.raises(UsageError, match="stages: cells, mean"):
        first_stage("flat", 3)
