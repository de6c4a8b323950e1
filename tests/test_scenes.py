"""Laws of the built-in data set: what it says of itself is true, and the same seed gives the same bytes."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import seeds
from PIL import Image

from naaflib.data.boxes import overlap
from naaflib.data.captions import tokenize
from naaflib.data.manifest import find_manifest
from naaflib.data.scenes import dataset as built_in
from naaflib.data.scenes.features import features
from naaflib.data.scenes.maker import make_sample
from naaflib.data.scenes.regions import sample_boxes
from naaflib.data.scenes.world import Claim, Description, Scene, SceneObject, referents
from naaflib.data.splits import open_split
from naaflib.errors import NaafError, UsageError

SPLITS = {"train": 24, "dev": 10, "test": 10}  # the fixture's
COLOURS = ("red", "yellow", "green", "blue", "purple", "pink", "brown", "white", "black")
TEXTURES = ("plain", "striped", "dotted", "checkered")
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "diamond", "hexagon", "ring", "moon")
SYNONYMS = {
    "crimson": "red", "golden": "yellow", "emerald": "green", "cobalt": "blue", "violet": "purple",
    "rosy": "pink", "chocolate": "brown", "gray": "grey", "teal": "turquoise",
    "disc": "circle", "box": "square", "plus": "cross", "rhombus": "diamond", "hoop": "ring",
    "crescent": "moon",
    "solid": "plain", "stripy": "striped", "spotted": "dotted", "chequered": "checkered",
    "little": "small", "tiny": "small", "big": "large", "huge": "large",
}  # fmt: skip
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5}
ELSEWHERE = {  # words that say something beside the attributes of one object
    "left", "right", "above", "over", "below", "under", "beneath", "inside", "within", "around",
    "surrounding", "beside", "next", "with", "top", "bottom", "two", "three", "four", "five",
}  # fmt: skip


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def captions_of(folder, split):
    return (folder / f"{split}_caps.txt").read_text().splitlines()


def iou(a, b):
    """Intersection over union, counted pixel by pixel."""
    grid = np.zeros((2, 240, 240), bool)
    for plane, (x1, y1, x2, y2) in zip(grid, (a, b), strict=True):
        plane[int(y1) : int(y2), int(x1) : int(x2)] = True
    return (grid[0] & grid[1]).sum() / (grid[0] | grid[1]).sum()


def shape_of(word):
    """The canonical name of a noun, an adjective, or their synonym; many or one."""
    for form in (word, word.removesuffix("s"), word.removesuffix("es")):
        if form in SYNONYMS or form in SHAPES:
            return SYNONYMS.get(form, form)
    return word


# Bytes


def test_the_same_seed_gives_the_same_bytes_in_another_process_and_beside_other_splits(tmp_path, scenes):
    call = f"build(sys.argv[1], seed={seeds.shifted()}, train=3, dev=10, test=4)"
    script = f"import sys; from naaflib.data.scenes.dataset import build; {call}"
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "again")],
        check=True,
        capture_output=True,
        env={"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    )
    first, again = files(scenes), files(tmp_path / "again")
    whole = [name for name in again if "dev" in name]
    assert len(whole) == 10 + 9
    assert all(first[name] == again[name] for name in whole)
    pictures = [name for name in again if name.startswith("images/")]
    assert all(first[name] == again[name] for name in pictures)
    for name, images in (("train", 3), ("test", 4)):
        assert first[f"{name}_caps.txt"].startswith(again[f"{name}_caps.txt"])
        assert np.array_equal(
            np.load(tmp_path / "again" / f"{name}_ims.npy"), np.load(scenes / f"{name}_ims.npy")[:images]
        )


def test_another_seed_or_split_gives_other_scenes(tmp_path, scenes):
    built_in.build(tmp_path / "other", seed=seeds.shifted(1), train=2, dev=2, test=2)
    first, other = files(scenes), files(tmp_path / "other")
    assert all(first[name] != content for name, content in other.items())
    assert first["images/dev_00000.jpg"] != first["images/test_00000.jpg"] != first["images/train_00000.jpg"]


# The layout


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_opens_like_a_real_one(scenes, split):
    opened = open_split(scenes, split)
    assert len(opened) == SPLITS[split]
    assert len(opened.captions) == 5 * SPLITS[split]
    assert opened.boxes is not None
    assert opened.sizes is not None
    for image in range(len(opened)):
        path = opened.image_path(image)
        assert path is not None
        with Image.open(path) as picture:
            assert picture.size == tuple(opened.sizes[image])
        assert (opened.boxes[image, :, :2] >= 0).all()
        assert (opened.boxes[image, :, 2:] <= opened.sizes[image]).all()
        assert (opened.boxes[image, :, 2:] - opened.boxes[image, :, :2] >= 8).all()


def test_features_are_finite_and_survive_the_memory_map(scenes):
    mapped = np.load(scenes / "train_ims.npy", mmap_mode="r")
    assert (mapped.shape, mapped.dtype) == ((24, 36, 128), np.float16)
    assert np.isfinite(mapped).all()
    assert np.array_equal(mapped, np.load(scenes / "train_ims.npy"))
    assert np.allclose(mapped[2], make_sample(seeds.shifted(0), "train", 2).regions, atol=1e-3)


def test_the_folders_manifest_states_its_counts(scenes):
    manifest = find_manifest(scenes)
    assert manifest is not None
    assert (manifest.name, manifest.captions_per_image, manifest.regions, manifest.dim) == (
        "scenes",
        5,
        36,
        128,
    )
    assert {name: counts.images for name, counts in manifest.splits.items()} == SPLITS
    assert all((scenes / file.path).exists() for file in manifest.concrete_files())


# Captions


@pytest.mark.parametrize("split", SPLITS)
def test_an_image_has_five_different_captions_of_5_to_18_plain_words(scenes, split):
    captions = captions_of(scenes, split)
    for image in range(SPLITS[split]):
        assert len(set(captions[5 * image : 5 * image + 5])) == 5
    for caption in captions:
        assert tokenize(caption) == caption.split()
        assert 5 <= len(caption.split()) <= 18


def test_every_caption_is_true_of_its_image_and_of_few_others():
    samples = [make_sample(seeds.shifted(3), "test", image) for image in range(30)]
    others = []
    for sample in samples:
        for caption in sample.captions:
            assert referents(caption.claim, sample.scene) is not None
            others.append(sum(referents(caption.claim, other.scene) is not None for other in samples) - 1)
    assert 0 < np.mean(others) < 2  # confusable, yet not vague


# Links


@pytest.mark.parametrize("split", SPLITS)
def test_links_are_the_regions_that_overlap_the_words_objects_by_half(scenes, split):
    boxes = np.load(scenes / f"{split}_ims_bbx.npy")
    objects = built_in.read_objects(scenes, split)
    links, mentions = built_in.read_links(scenes, split), built_in.read_mentions(scenes, split)
    for number, caption in enumerate(captions_of(scenes, split)[:50]):
        assert len(links[number]) == len(mentions[number]) == len(tokenize(caption))
        image = number // 5
        for regions, spoken in zip(links[number], mentions[number], strict=True):
            true = [objects[image][thing].box for thing in spoken]
            assert regions == [r for r in range(36) if any(iou(boxes[image, r], box) >= 0.5 for box in true)]
            assert bool(regions) == bool(spoken)


def test_words_are_linked_to_objects_that_have_what_they_say(scenes):
    objects, mentions = built_in.read_objects(scenes, "train"), built_in.read_mentions(scenes, "train")
    seen = set()
    for number, caption in enumerate(captions_of(scenes, "train")):
        for word, spoken in zip(caption.split(), mentions[number], strict=True):
            things = [objects[number // 5][thing] for thing in spoken]
            if word in ("a", "is", "the", "left", "above", "below", "inside", "picture", "sand", ",", "."):
                assert not things, (caption, word)
            for kind, values in (("colour", COLOURS), ("shape", SHAPES), ("texture", TEXTURES)):
                if shape_of(word) in values:
                    seen.add(kind)
                    assert things, (caption, word)
                    assert {getattr(thing, kind) for thing in things} == {shape_of(word)}, (caption, word)
            if word in NUMBERS and things:  # "only three shapes" speaks of the picture
                seen.add("number")
                assert len(things) == NUMBERS[word], (caption, word)
    assert seen == {"colour", "shape", "texture", "number"}


def test_every_object_has_a_region_and_its_place_in_the_list_gives_nothing_away():
    places = []
    for image in range(60):
        sample = make_sample(seeds.shifted(4), "train", image)
        shown = overlap(sample.boxes, [thing.box for thing in sample.scene.objects]) >= 0.5
        assert shown.any(axis=0).all()
        places += np.flatnonzero(shown.any(axis=1)).tolist()
    assert abs(np.mean(places) - 17.5) < 1.5
    assert abs(np.std(places) - np.sqrt((36**2 - 1) / 12)) < 1


def test_regions_show_objects_parts_of_objects_and_background():
    samples = [make_sample(seeds.shifted(9), "train", image) for image in range(20)]
    best = [overlap(one.boxes, [thing.box for thing in one.scene.objects]).max(axis=1) for one in samples]
    best = np.stack(best)
    assert best.shape == (20, 36)
    assert ((best >= 0.5).sum(axis=1) <= 18).all()  # most regions show no object
    assert ((best > 0.05) & (best < 0.5)).sum() >= 20 * 4  # wrong crops
    assert (best < 0.05).sum() >= 20 * 8  # about 16 in a picture, as few as 1 in a full one


def test_two_to_five_objects_do_not_overlap_unless_one_is_inside_the_other():
    for image in range(60):
        scene = make_sample(seeds.shifted(5), "train", image).scene
        assert 2 <= len(scene.objects) <= 5
        for i, a in enumerate(scene.objects):
            assert 0 <= a.box[0] < a.box[2] <= scene.width
            assert 0 <= a.box[1] < a.box[3] <= scene.height
            for b in scene.objects[:i]:
                small, big = sorted((a.box, b.box), key=lambda box: box[2] - box[0])
                inside = (
                    big[0] <= small[0] and big[1] <= small[1] and small[2] <= big[2] and small[3] <= big[3]
                )
                assert inside or iou(a.box, b.box) == 0


# Foils


@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_foil_changes_exactly_the_word_that_it_names(scenes, split):
    captions, foils = captions_of(scenes, split), built_in.read_foils(scenes, split)
    for foil in foils:
        true, false = tokenize(captions[foil.caption]), tokenize(foil.text)
        assert [k for k in range(len(true)) if true[k] != false[k]] == [foil.word]
        assert len(true) == len(false)
        assert (true[foil.word], false[foil.word]) == (foil.was, foil.now)
        assert foil.image == foil.caption // 5
        assert SYNONYMS.get(foil.now, foil.now) != SYNONYMS.get(foil.was, foil.was)
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", foil.text)  # grammar gives no foil away
    assert len({foil.caption for foil in foils}) > 0.95 * len(captions)


def test_foils_are_of_every_kind(scenes):
    kinds = {foil.kind for split in SPLITS for foil in built_in.read_foils(scenes, split)}
    assert kinds == {"colour", "shape", "size", "texture", "relation", "position", "number", "background"}


def test_no_object_makes_a_foil_true(scenes):
    """Where nothing is said of places, a wrong attribute leaves a noun phrase that fits no object."""
    checked = 0
    for split in SPLITS:
        objects = built_in.read_objects(scenes, split)
        for foil in built_in.read_foils(scenes, split):
            words = [shape_of(word) for word in foil.text.split()]
            if foil.kind not in ("colour", "shape", "texture") or ELSEWHERE & set(words) or words[0] == "the":
                continue
            phrase = words[_article_before(words, foil.word) + 1 :]
            end = next(k for k, word in enumerate(phrase) if word in (*SHAPES, "shape", "object", "thing"))
            said = [word for word in phrase[: end + 1] if word not in ("shape", "object", "thing")]
            for thing in objects[foil.image]:
                has = {thing.colour, thing.shape, thing.texture, thing.size}
                assert not set(said) <= has, (foil, thing)
            checked += 1
    assert checked > 60


def _article_before(words, place):
    return max(k for k in range(place) if words[k] in ("a", "an"))


def test_foils_are_false_even_generously():
    for image in range(25):
        sample = make_sample(seeds.shifted(6), "dev", image)
        for caption, swaps in zip(sample.captions, sample.foils, strict=True):
            for swap in swaps:
                claim = _said_with(sample, caption, swap)
                assert referents(claim, sample.scene, generous=True) is None


def _said_with(sample, caption, swap):
    """The foil's claim, by way of its words: the value that the lexicon gives to the new word."""
    from naaflib.data.scenes.foils import exchanged
    from naaflib.data.scenes.words import LEXICON

    word = caption.words[swap.word]
    value = next(value for value, forms in LEXICON[word.kind, word.frame].items() if swap.now in forms)
    return exchanged(caption.claim, word, value)


# What is true of a scene


def things(*boxes, **rest):
    looks = {"shape": "star", "colour": "red", "size": "medium", "texture": "plain", "angle": 0, **rest}
    return tuple(SceneObject(**{**looks, "box": box}) for box in boxes)


LEFT_STAR, RIGHT_HEART = (10, 80, 50, 120), (130, 90, 170, 130)
TWO = Scene(
    200, 200, "sand", things(LEFT_STAR) + things(RIGHT_HEART, shape="heart", colour="turquoise", size="large")
)
STAR, HEART = Description(shape="star"), Description(shape="heart")
NESTED = Scene(200, 200, "sky", things((50, 50, 140, 140), shape="ring") + things((80, 82, 110, 112)))
RING = Description(shape="ring")


@pytest.mark.parametrize(
    ("scene", "claim", "strict", "generous"),
    [
        (TWO, Claim((STAR, HEART), (("left", 0, 1),)), True, True),
        (TWO, Claim((STAR, HEART), (("right", 0, 1),)), False, False),
        (TWO, Claim((HEART, STAR), (("right", 0, 1),)), True, True),
        (TWO, Claim((STAR, HEART), (("above", 0, 1),)), False, True),  # a little higher: nobody would say so
        (TWO, Claim((STAR, HEART), (("below", 0, 1),)), False, False),
        (TWO, Claim((STAR,), (), (("left", 0),)), True, True),
        (TWO, Claim((STAR,), (), (("right", 0),)), False, False),
        (TWO, Claim((STAR,), (), (("top", 0),)), False, True),
        (TWO, Claim((Description(colour="blue"),)), False, True),  # turquoise is nearly blue
        (TWO, Claim((Description(colour="red", shape="heart"),)), False, False),
        (TWO, Claim((Description(size="small", shape="star"),)), False, True),  # medium may pass for small
        (TWO, Claim((Description(size="small", shape="heart"),)), False, False),
        (TWO, Claim((STAR,), background="sand"), True, True),
        (TWO, Claim((STAR,), background="snow"), False, False),
        (TWO, Claim(total=2), True, True),
        (TWO, Claim(total=3), False, False),
        (TWO, Claim((Description(shape="star", count=2),)), False, False),
        (TWO, Claim((STAR, STAR)), False, True),  # one star is not two; generously it serves twice
        (NESTED, Claim((STAR, RING), (("inside", 0, 1),)), True, True),
        (NESTED, Claim((RING, STAR), (("around", 0, 1),)), True, True),
        (NESTED, Claim((RING, STAR), (("inside", 0, 1),)), False, False),
        (NESTED, Claim((STAR, RING), (("above", 0, 1),)), False, False),
        (NESTED, Claim((STAR, RING), (("beside", 0, 1),)), False, False),
    ],
)
def test_claims_of_a_scene(scene, claim, strict, generous):
    assert (referents(claim, scene) is not None) == strict
    assert (referents(claim, scene, generous=True) is not None) == generous


def test_a_word_speaks_of_every_object_that_makes_the_caption_true():
    scene = Scene(
        200,
        200,
        "sand",
        things((10, 10, 40, 40), (150, 15, 180, 45)) + things((75, 10, 110, 45), shape="moon"),
    )
    moon = Description(shape="moon")
    assert referents(Claim((STAR,)), scene) == (frozenset({0, 1}),)
    assert referents(Claim((STAR, moon), (("left", 0, 1),)), scene) == (frozenset({0}), frozenset({2}))
    assert referents(Claim((Description(shape="star", count=2),)), scene) == (frozenset({0, 1}),)


# Features


def test_features_come_from_the_pixels_and_noise():
    sample, other = make_sample(seeds.shifted(0), "dev", 0), make_sample(seeds.shifted(0), "dev", 1)
    picture = np.resize(other.picture, sample.picture.shape)
    same = [features(sample.picture, sample.boxes, seeds.rng(3)) for _ in range(2)]
    assert np.array_equal(*same)
    noisy = features(sample.picture, sample.boxes, seeds.rng(4))
    assert 0.1 < np.linalg.norm(noisy - same[0], axis=1).mean() < 0.8 * np.linalg.norm(noisy, axis=1).mean()
    assert not np.allclose(same[0], features(picture, sample.boxes, seeds.rng(3)), atol=0.05)


def test_features_tell_objects_apart_but_not_surely():
    """The nearest object of another image has the same colour or shape far more often than by chance."""
    found, looks, images = [], [], []
    for image in range(110):
        sample = make_sample(seeds.shifted(8), "train", image)
        best = overlap(sample.boxes, [thing.box for thing in sample.scene.objects]).argmax(axis=0)
        found += list(sample.regions[best])
        looks += [(thing.colour, thing.shape) for thing in sample.scene.objects]
        images += [image] * len(best)
    distance = np.linalg.norm(np.array(found)[:, None] - np.array(found)[None], axis=2)
    distance[np.equal.outer(images, images)] = np.inf
    agree = np.array(looks)[distance.argmin(axis=1)] == np.array(looks)
    chance = (np.array(looks)[:, None] == np.array(looks)[None]).mean(axis=(0, 1))
    assert (agree.mean(axis=0) > 4 * chance).all()
    assert (agree.mean(axis=0) < 0.9).all()


def test_boxes_are_shuffled_anew_for_each_image():
    scene = make_sample(seeds.shifted(0), "dev", 0).scene
    whole = (0, 0, scene.width, scene.height)
    places = {
        int(np.flatnonzero((sample_boxes(scene, seeds.rng(k)) == whole).all(axis=1))[0]) for k in range(40)
    }
    assert len(places) > 15


# Building


def test_the_same_settings_again_do_nothing_and_say_so(tmp_path, capsys):
    folder = built_in.build(tmp_path / "new" / "set", seed=seeds.shifted(2), train=2, dev=1, test=1)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    capsys.readouterr()
    built_in.build(folder, seed=seeds.shifted(2), train=2, dev=1, test=1)
    assert "nothing to do" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == times


def test_a_folder_with_anything_else_is_refused_and_left_alone(tmp_path, scenes):
    for settings in ({"seed": seeds.shifted(1)}, {"seed": seeds.shifted(), "train": 25}):
        with pytest.raises(NaafError, match="scenes of other settings"):
            built_in.build(scenes, **{"train": 24, "dev": 10, "test": 10, **settings})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(NaafError, match="other files"):
        built_in.build(tmp_path / "mine", train=1, dev=1, test=1)
    with pytest.raises(NaafError, match="a file"):
        built_in.build(tmp_path / "mine" / "notes.txt", train=1, dev=1, test=1)
    assert files(tmp_path) == {"mine/notes.txt": b"keep me"}


def test_a_damaged_set_is_not_taken_for_whole(tmp_path):
    folder = built_in.build(tmp_path / "set", train=1, dev=1, test=1)
    (folder / "dev_links.json").unlink()
    with pytest.raises(NaafError, match=r"lacks dev_links\.json"):
        built_in.build(folder, train=1, dev=1, test=1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_build_leaves_nothing(tmp_path, monkeypatch, error):
    write = built_in.write_split

    def stop_after_train(folder, split, *rest):
        if split != "train":
            raise error
        write(folder, split, *rest)

    monkeypatch.setattr(built_in, "write_split", stop_after_train)
    with pytest.raises((KeyboardInterrupt, NaafError)):
        built_in.build(tmp_path / "set", train=1, dev=1, test=1)
    assert list(tmp_path.iterdir()) == []


def test_of_two_builds_at_once_the_later_one_accepts_the_earlier(tmp_path, monkeypatch):
    write = built_in.write_split

    def overtaken(folder, split, *rest):
        if split == "test":
            monkeypatch.setattr(built_in, "write_split", write)
            built_in.build(tmp_path / "set", train=1, dev=1, test=1)
        write(folder, split, *rest)

    monkeypatch.setattr(built_in, "write_split", overtaken)
    assert built_in.build(tmp_path / "set", train=1, dev=1, test=1) == tmp_path / "set"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"train": 0}, {"dev": -3}])
def test_sizes_and_seeds_that_cannot_be_are_refused(tmp_path, wrong):
    with pytest.raises(UsageError, match="at least"):
        built_in.build(tmp_path / "set", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_ensure_builds_only_what_is_missing(tmp_path, scenes, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(built_in, "build", asked.append)
    built_in.ensure(scenes)
    assert (asked, capsys.readouterr().err) == ([], "")
    built_in.ensure(tmp_path / "scenes")
    assert asked == [tmp_path / "scenes"]
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("read", [built_in.read_links, built_in.read_foils, built_in.read_objects])
def test_reading_what_another_data_set_does_not_have_is_explained(tmp_path, read):
    with pytest.raises(NaafError, match="only the scenes set has"):
        read(tmp_path, "test")
    for what in ("links", "foils", "objects"):
        (tmp_path / f"test_{what}.json").write_text(json.dumps([[]])[:-1])
    with pytest.raises(NaafError, match=r"not whole JSON.*build it again"):
        read(tmp_path, "test")
