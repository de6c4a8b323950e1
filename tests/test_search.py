"""Search: answers in the score's order, a first stage that only leaves some out, a whole index or none."""

import inspect
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import seeds
import torch
from PIL import Image

from naaflib import open_split
from naaflib.cli import main
from naaflib.config import preset
from naaflib.data.extract import pixels as pixels_module
from naaflib.data.extract import registry
from naaflib.data.extract.pixels import Pixels
from naaflib.data.extract.writing import extract
from naaflib.data.prepare.own_pictures import import_pictures
from naaflib.data.prepare.verify import verify
from naaflib.data.vocabulary import Vocabulary
from naaflib.errors import NaafError, UsageError
from naaflib.files import checksum
from naaflib.locking import exclusive
from naaflib.model.checkpoint import save
from naaflib.model.model import Model
from naaflib.pages.search import open_search
from naaflib.runs import Run
from naaflib.search import Searcher, build_index, building, candidates
from naaflib.search.candidates import Stage
from naaflib.search.outside import described
from naaflib.similarity.boundary import Boundaries
from naaflib.similarity.naaf import TYPICAL

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


@pytest.mark.parametrize("stage", ["fitted", "mean"])
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
    monkeypatch.setattr(building, "BLOCK", 3)
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
        with pytest.raises(NaafError, match=f"{name} is not the file that was written; index .*test again"):
            Searcher(tmp_path / "index")
        (part / name).unlink()
        with pytest.raises(NaafError, match=f"{name} is missing; index .*test again"):
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
    with pytest.raises(NaafError, match="not there any more; move the run back"):
        Searcher(tmp_path / "index")


def test_a_hit_is_explained_by_its_own_score(naaf, scenes, tmp_path):
    build_index(naaf, scenes, out=tmp_path / "index", split="dev")
    searcher = Searcher(build_index(naaf, scenes, out=tmp_path / "index", split="test"))
    hits = searcher.by_text(open_split(scenes, "test").captions[7], k=20)
    for rank in (1, 20):
        assert searcher.explain(hits, rank).score == pytest.approx(hits.scores[rank - 1], abs=ROUNDING)
    with pytest.raises(UsageError, match="no hit 21"):
        searcher.explain(hits, 21)
    with pytest.raises(UsageError, match="takes a text, not int"):
        inspect.unwrap(Searcher.by_text)(searcher, 7)  # without the tests' check of annotations


def test_pictures_without_captions_are_searched_and_nothing_else(naaf, trained, scenes, tmp_path):
    pictures, out = tmp_path / "pictures", tmp_path / "index"
    import_pictures(scenes / "images", None, pictures)
    extract(pictures, "pixels")
    assert verify(pictures).ok
    searcher = Searcher(build_index(naaf, pictures, out=out))
    assert (searcher.index.images, searcher.index.captions) == (44, 0)
    hits = searcher.by_text("a large red circle", k=3)
    assert searcher.explain(hits, 2).score == pytest.approx(hits.scores[1], abs=ROUNDING)
    assert "44 images without captions in 1 part" in str(searcher.index)
    assert "captions" not in str(searcher.index).partition("in 1 part")[2]
    with pytest.raises(UsageError, match=r"index has no captions to find.* ask with a text, or import"):
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
        (["search", "scenes-index", " "], "the query is empty; write"),
        (["search", "scenes-index", ", ."], "the query ', .' has no word; write"),
        (["search", "model.safetensors", "a dog"], "model.safetensors is a file; an index is a folder"),
        (["search", "scenes-index", "a red circle", "-k", "0"], "0 answers: ask for at least 1\n"),
        (["search", "scenes-index", "a circle", "--candidates", "3"], "10 answers of 3 candidates: keep"),
        (["search", "scenes-index", "--image", "scenes-index"], "scenes-index is a folder; give one"),
        (["search", "scenes-index", "--image", "none.png"], "is called none.png, and no file either"),
        (["search", "scenes-index", "--image", "model.safetensors"], "were not made by naaf data extract"),
        (["search", "scenes-index", "a circle", "--features", "pixels"], "describes the picture file"),
        (["search", "scenes-index", "--image", "0", "--explain"], "the first answer to a TEXT"),
        (["search", "scenes-index", "a circle", "--explain", "--json"], "`naaf explain --json` gives"),
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
    searched = capsys.readouterr().out
    best = str(hits.places[0])
    pair = ["--image", best, "--caption", text, "--split", "test"]
    assert main(["explain", str(naaf), "--data", str(scenes), *pair]) == 0
    explained = capsys.readouterr().out
    head, _, table = explained.partition("\n\n")
    assert head.splitlines()[0] in searched  # without the rank among the split's captions
    assert searched.endswith(table)


# ---- the first stage


def model_of(method="naaf", dim=7):
    seeds.manual_seed(5)
    settings = preset("scenes", {"model.dim": dim, "model.word_dim": 3, "model.method": method})
    model = Model(settings.model, 4, 5, None)
    model.boundary = Boundaries(0.2, 0.2)
    return model


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(shape), dim=-1)


def test_a_prototype_s_effect_is_the_equations_with_a_norm_of_typical_words():
    """A caption of TYPICAL equal words: each of them adds what `word_effects` says."""
    model = model_of()
    regions, word = unit(3, 5, 7), unit(1, 7)
    caption = word.expand(int(TYPICAL), -1)[None]
    scores = model.score(regions, caption, torch.tensor([int(TYPICAL)]))
    torch.testing.assert_close(candidates.word_effects(regions, word, model), scores, rtol=1e-5, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("method", ["naaf", "chan"])
def test_the_first_stage_is_the_nearest_linear_function_of_a_word(method):
    model = model_of(method)
    prototypes, regions = unit(11, 7), unit(3, 5, 7)
    vectors = Stage(model, prototypes.numpy()).of_images(regions)
    effects = candidates.word_effects(regions, prototypes, model)
    words = torch.cat([prototypes, torch.ones(11, 1)], dim=1)

    def loss(vectors):
        return (words @ vectors.mT - effects.mT).square().sum() + candidates.RIDGE * vectors.square().sum()

    for direction in torch.randn(5, *vectors.shape):
        assert loss(vectors) < loss(vectors + 0.01 * direction)


def test_padding_takes_no_part_in_a_first_stage():
    model, regions = model_of(), unit(3, 5, 7)
    padded = torch.cat([regions, torch.zeros(3, 2, 7)], dim=1)
    for stage in (Stage(model, unit(11, 7).numpy()), Stage(model, None)):
        torch.testing.assert_close(stage.of_images(padded), stage.of_images(regions))


def test_an_unknown_stage_is_refused(naaf, scenes, tmp_path):
    with pytest.raises(UsageError, match="first stage 'flat'"):
        build_index(naaf, scenes, out=tmp_path / "index", stage="flat")


def test_a_damaged_first_stage_is_refused(naaf, scenes, tmp_path):
    build_index(naaf, scenes, out=tmp_path / "index")
    (tmp_path / "index" / "stage.npy").write_bytes(b"")
    with pytest.raises(NaafError, match=r"stage\.npy is not the file that was written; make"):
        Searcher(tmp_path / "index")


# ---- pictures outside the index


@pytest.fixture
def pixels(tmp_path):
    """A data set of ten pictures described by pixels, and the folder that they came from."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(10):
        Image.fromarray(seeds.rng(number).integers(0, 255, (24, 31, 3), dtype=np.uint8)).save(
            photos / f"{number}.png"
        )
    table = {f"{number}.png": [f"picture {number}", "a picture"] for number in range(10)}
    (tmp_path / "captions.json").write_text(json.dumps(table))
    import_pictures(photos, tmp_path / "captions.json", tmp_path / "mine", seed=seeds.shifted())
    extract(tmp_path / "mine", "pixels")
    return tmp_path / "mine"


@pytest.fixture
def pixels_index(pixels, tmp_path):
    return build_index(make("naaf", pixels, tmp_path / "m.safetensors"), pixels, out=tmp_path / "index")


def test_a_picture_file_gets_the_answers_of_the_same_picture_in_the_index(
    pixels_index, tmp_path, monkeypatch, capsys
):
    searcher = Searcher(pixels_index)
    name = searcher.index.parts[0].names[0]
    within = searcher.by_image(name)
    monkeypatch.chdir(tmp_path / "photos")
    outside = searcher.by_image(f"./{name}")
    assert (within.query, outside.query) == (f"image {name}", f"file {name}")
    np.testing.assert_allclose(np.sort(outside.scores), np.sort(within.scores), atol=ROUNDING)
    staged = searcher.by_image(tmp_path / "photos" / name, k=1, candidates=2)
    assert staged.scores[0] <= outside.scores[0]
    turned = Image.open(name).transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # shown after a turn by 90 degrees, clockwise
    turned.save("turned.png", exif=exif)
    np.testing.assert_array_equal(searcher.by_image("turned.png").scores, outside.scores)
    assert main(["search", str(tmp_path / "index"), "--image", name]) == 0
    assert f"./{name} means the file" in capsys.readouterr().err


def test_a_picture_is_refused_where_another_extractor_is_named(pixels_index, tmp_path, monkeypatch):
    photo = tmp_path / "photos" / "0.png"
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(NaafError, match=r"text.png: not a picture"):
        Searcher(pixels_index).by_image(tmp_path / "text.png")
    with pytest.raises(NaafError, match=r"none.png does not exist"):
        Searcher(pixels_index).by_image(tmp_path / "none.png")
    local = {"extractor": "onnx:m.onnx", "revision": None, "sha256": "0", "preprocessing": "", "grid": 6}
    part = replace(pixels_index.parts[0], features=local)
    with pytest.raises(NaafError, match=r"onnx:m\.onnx, a model of your own; --features onnx:PLACE"):
        described(photo, [part])
    with pytest.raises(NaafError, match=r"transformers:none is not the onnx:m\.onnx that described the"):
        described(photo, [part], "transformers:none")
    other = replace(part, features={**pixels_index.parts[0].features, "sha256": "0"})
    with pytest.raises(NaafError, match="its sha256 is None, recorded is 0"):
        described(photo, [other])
    with pytest.raises(NaafError, match="features of different extractors"):
        described(photo, [part, pixels_index.parts[0]])
    kept, sure = [], {**pixels_index.parts[0].features, "min_score": 0.5}
    monkeypatch.setattr(Pixels, "keep_sure", lambda self, min_score: kept.append(min_score))
    described(photo, [replace(pixels_index.parts[0], features=sure)])
    assert kept == [0.5]  # as the indexed pictures
    record = Pixels.record
    monkeypatch.setattr(Pixels, "record", lambda self: {**record(self), "preprocessing": "other"})
    with pytest.raises(NaafError, match=r"pixels is not the pixels that .* preprocessing is other"):
        Searcher(pixels_index).by_image(photo)


# ---- what else can happen


def test_an_index_whose_data_has_gone_still_answers_and_does_not_explain(pixels, pixels_index, tmp_path):
    searcher = Searcher(pixels_index)
    part = searcher.index.parts[0]
    features = open_split(pixels, part.split).regions.path
    hits = searcher.by_text("picture")
    assert "data:image/jpeg;base64" in hits._repr_html_()
    hits.pictures[0].write_text("no picture")
    assert "not a picture" in hits._repr_html_()
    np.save(features, np.load(features) + 1)
    with pytest.raises(NaafError, match="has changed since"):
        searcher.explain(hits)
    pixels.rename(tmp_path / "moved")
    assert searcher.by_text("picture").scores.tolist() == hits.scores.tolist()
    with pytest.raises(NaafError, match=r"not there any more.*index it where it is now"):
        searcher.explain(hits)


def test_a_data_set_that_has_moved_is_indexed_where_it_is_now(naaf, scenes, tmp_path, capsys):
    shutil.copytree(scenes, tmp_path / "before")
    out = tmp_path / "index"
    build_index(naaf, tmp_path / "before", out=out, split="dev")
    build_index(naaf, tmp_path / "before", out=out, split="test")
    before = files(out)
    with pytest.raises(UsageError, match="already; another --split or --data can be added"):
        build_index(naaf, scenes, out=out, split="test")  # a copy; the indexed one is there
    (tmp_path / "before").rename(tmp_path / "now")
    searcher = Searcher(build_index(naaf, tmp_path / "now", out=out, split="test"))
    assert f"it is now {tmp_path / 'now'}" in capsys.readouterr().err
    after = files(out)
    assert {name for name in before if before[name] != after[name]} == {"parts/0001/part.json"}
    assert before.keys() == after.keys()
    hits = searcher.by_text("a red circle", k=20)
    rank = 1 + next(rank for rank, place in enumerate(hits.places) if place >= 10)
    assert searcher.explain(hits, rank).score == pytest.approx(hits.scores[rank - 1], abs=ROUNDING)


def test_a_damaged_part_is_made_again_in_its_place(naaf, scenes, tmp_path, capsys):
    out = tmp_path / "index"
    build_index(naaf, scenes, out=out, split="dev")
    build_index(naaf, scenes, out=out, split="test")
    before = files(out)
    (out / "parts" / "0000" / "images.npy").write_bytes(b"")
    build_index(naaf, scenes, out=out, split="dev")
    assert "0000 is damaged and is made again" in capsys.readouterr().err
    assert files(out) == before


def test_more_answers_than_the_index_holds_are_told(naaf, scenes, tmp_path, capsys):
    build_index(naaf, scenes, out=tmp_path / "index")
    for k, said in ((10, False), (11, True)):
        assert main(["search", str(tmp_path / "index"), "a red circle", "-k", str(k)]) == 0
        assert ("the index holds only 10 images" in capsys.readouterr().err) == said


def test_two_processes_do_not_build_one_index(naaf, scenes, tmp_path):
    with exclusive(tmp_path / "index"), pytest.raises(NaafError, match="in use by"):
        build_index(naaf, scenes, out=tmp_path / "index")
    build_index(naaf, scenes, out=tmp_path / "index")


def test_a_vector_that_is_not_finite_is_told(naaf, scenes, tmp_path):
    built = build_index(naaf, scenes, out=tmp_path / "index")
    images = np.array(built.parts[0].images)
    images[3, 0] = np.nan
    built.parts[0].__dict__["images"] = images
    with pytest.raises(NaafError, match="not finite; make it again"):
        Searcher(built).by_text("a red circle", k=2)


def test_own_pictures_are_described_by_the_model_of_the_training_data(trained, scenes, tmp_path, monkeypatch):
    """A stand-in for a model in a file, which a run records by its base name alone."""

    class Local(Pixels):
        def __init__(self, model, grid, device):
            super().__init__("", grid, device)
            self.place = tmp_path / model

        def record(self):
            made = {"revision": None, "sha256": checksum(self.place), "preprocessing": ""}
            return {"extractor": f"onnx:{self.place.name}", **made}

    monkeypatch.setattr(pixels_module, "Local", Local, raising=False)
    monkeypatch.setitem(registry.KINDS, "onnx", ("pixels", "Local", ""))
    for name in ("m.onnx", "renamed.onnx"):
        (tmp_path / name).write_text("weights")
    (tmp_path / "other.onnx").write_text("others")
    run, photos = shutil.copytree(trained.path, tmp_path / "run"), tmp_path / "photos"
    shutil.copytree(scenes / "images", photos, ignore=lambda _, names: sorted(names)[3:])
    config = json.loads((run / "config.json").read_text())
    config["data"]["features"] = Local("m.onnx", 6, "cpu").record() | {"grid": 6}
    (run / "config.json").write_text(json.dumps(config))

    def opened(features=""):
        return open_search(Run.open(run), Run.open(run), "", pictures=photos, features=features)

    for features, says in {
        "": r"by onnx:m\.onnx, a model of your own; `features` onnx:PLACE says where it is now",
        "pixels": r"pixels is not the onnx:m\.onnx that described the training pictures; give `features`",
        "onnx:other.onnx": r"other\.onnx is not the onnx:m\.onnx that .* its sha256 is",
        "onnx:renamed.onnx": r"recorded as onnx:renamed\.onnx, .* by onnx:m\.onnx; give it that name again",
    }.items():
        with pytest.raises(NaafError, match=says):
            opened(features)
        assert not list(run.glob("search/*"))
    assert opened(f"onnx:{tmp_path / 'm.onnx'}").index.images == 3
    assert opened().index.images == 3  # described already


def test_the_page_searches_a_data_set_where_it_is_now(trained, scenes, tmp_path):
    run = Run.open(shutil.copytree(trained.path, tmp_path / "run"))
    for place in ("before", "now"):
        data = shutil.copytree(scenes, tmp_path / place / "mine")
        searcher = open_search(run, run, data)
        assert searcher.index.parts[0].data == data
        shutil.rmtree(data.parent)
    assert len(list(run.path.glob("search/*"))) == 1
