"""The explorer: numbers equal the model's own, a control draws anew, a mistake is one sentence."""

import base64
from dataclasses import replace
from io import BytesIO

import ipywidgets as widgets
import numpy as np
import pytest
import seeds
import torch
from matplotlib.colors import to_rgb
from matplotlib.text import Annotation, Text
from PIL import Image

import naaflib
from naaflib.config import model_settings
from naaflib.data.extract.writing import extract
from naaflib.data.prepare.own_pictures import import_pictures
from naaflib.data.vocabulary import Vocabulary
from naaflib.errors import NaafError
from naaflib.explanation import explain, explain_encoded
from naaflib.explorer import Constants, explore, pages
from naaflib.explorer.controls import thumbnail
from naaflib.model.checkpoint import save
from naaflib.model.model import Model
from naaflib.pages.pairs import attention_page, pair_page
from naaflib.search import Searcher, build_index
from naaflib.similarity.boundary import Boundaries
from naaflib.viz import style

METHODS = ("naaf", "scan-t2i", "scan-i2t")


@pytest.fixture(scope="module")
def split(scenes):
    return naaflib.open_split(scenes, "test")


def new_model(split, method="naaf", seed=0, **settings) -> Model:
    """An untrained model; its boundary lies among its words' largest cosines."""
    seeds.manual_seed(seed)
    vocabulary = Vocabulary.build(split.captions, min_count=1)
    model = Model(
        model_settings(method=method, dim=19, word_dim=13, **settings),
        split.regions.shape[2],
        len(vocabulary),
    )
    model.vocabulary = vocabulary
    model.boundary = Boundaries(0.2, 0.2)
    middle = float(np.median(explain(model, split, 0, 0).best_cosine))
    model.boundary = Boundaries(middle, middle)
    return model


@pytest.fixture(scope="module")
def model(split):
    return new_model(split)


@pytest.fixture
def explorer(model, split):
    return explore(model, split)


def encoded(model, split, image, text) -> dict[str, torch.Tensor]:
    regions = model.encode_images(torch.from_numpy(split.regions.gather(np.array([image]))))
    return {"regions": regions[0], "words": model.encode_texts([text])[0][0]}


@pytest.mark.parametrize("method", METHODS)
def test_an_encoded_pair_is_explained_as_the_model_explains_it(split, method):
    model = new_model(split, method)
    once, again = explain(model, split, 3, 17), encoded(model, split, 3, split.captions[17])
    other = explain_encoded(model, split, 3, 17, **again)
    assert other.score == pytest.approx(once.score, abs=1e-6)
    np.testing.assert_allclose(other.effect, once.effect, atol=1e-5)
    assert (other.boundary, other.words) == (once.boundary, once.words)


@pytest.mark.parametrize(
    "constants", [Constants(0.9, 3.0, 5.0), Constants(-0.5, 40.0, 1.0), Constants(0.3, 20.0, None)]
)
def test_turned_constants_equal_a_model_that_was_made_with_them(model, split, constants):
    explorer = explore(model, split, image=2, caption=11)
    explorer.turn(constants=constants)
    softmax, intra = constants.lambda_softmax, constants.lambda_intra
    settings = model.settings.model_copy(update={"lambda_softmax": softmax, "lambda_intra": intra})
    made = Model(settings, model.region_dim, len(model.vocabulary), model.vocabulary)
    made.load_state_dict(model.state_dict())
    made.boundary = Boundaries(constants.boundary, constants.boundary)
    expected = explain(made, split, 2, split.captions[11])
    assert explorer.pair.score == pytest.approx(expected.score, abs=1e-6)
    np.testing.assert_allclose(explorer.pair.negative_effect, expected.negative_effect, atol=1e-6)
    scores = made.score(
        made.encode_images(torch.from_numpy(split.regions.gather(np.arange(len(split))))),
        *made.encode_texts([split.captions[11]]),
    )
    np.testing.assert_allclose(explorer.ranking.scores, scores[:, 0].numpy(), atol=1e-5)


def test_the_words_effects_average_to_the_score_that_the_ranking_gives_the_picture(explorer):
    for image in (0, 5, 9):
        explorer.turn(image=image)
        assert explorer.pair.effect.mean() == pytest.approx(explorer.ranking.scores[image], abs=1e-5)


def test_a_moved_slider_draws_the_page_anew_and_reset_brings_it_back(explorer):
    c, first, score = explorer.controls, explorer.controls.picture.value, explorer.pair.score
    c.boundary.value = (c.boundary.min + c.boundary.value) / 2  # a slider stops at its ends
    assert explorer.state.constants.boundary == c.boundary.value
    assert c.picture.value != first
    assert explorer.pair.score != score
    c.lambda_softmax.value = 3.0
    c.lambda_intra.value = "off"
    assert explorer.state.constants[1:] == (3.0, None)
    c.reset.click()
    assert explorer.pair.score == score
    assert c.picture.value == first


def test_a_clicked_word_changes_where_one_looks_and_nothing_else(explorer):
    before, score = explorer.controls.picture.value, explorer.pair.score
    explorer.words.children[2].click()
    assert explorer.state.word == 2
    assert explorer.controls.picture.value != before
    assert explorer.pair.score == score
    assert f"<b>{explorer.pair.words[2]}</b>" in explorer.controls.word.value


def test_attention_lies_over_the_picture_in_its_colours_and_can_be_switched_off(explorer, split):
    page, score = explorer.controls.picture.value, explorer.pair.score
    pixels = pages.read(split.image_path(explorer.state.image))
    assert np.ptp(pixels, axis=2).max() > 100  # in colour
    under, heat, _scale = explorer.figure().axes[0].images
    np.testing.assert_array_equal(under.get_array(), pixels)
    assert heat.get_array().max() > 0
    explorer.controls.overlay.value = False
    assert explorer.controls.picture.value != page
    panel = explorer.figure().axes[0]
    (alone,) = panel.images
    np.testing.assert_array_equal(alone.get_array(), pixels)
    assert not panel.patches  # nor a frame
    explorer.controls.random.click()
    assert not explorer.controls.overlay.value
    explorer.turn(image=0, caption=split.captions[0], overlay=True, constants=explorer.reader.own)
    assert (explorer.controls.picture.value, explorer.pair.score) == (page, score)


def children(row) -> tuple:
    return getattr(row, "children", ())


def test_page_and_key_are_one_image(explorer):
    rows = [explorer, *explorer.children, *(one for row in explorer.children for one in children(row))]
    assert [one for one in rows if isinstance(one, widgets.Image)] == [explorer.controls.picture]
    with Image.open(BytesIO(explorer.controls.picture.value)) as page:
        key = np.asarray(page)[-50:].reshape(-1, 3).tolist()
    for colour in (style.FEATURES, style.RELEVANCE, style.MISMATCHED):
        assert [round(255 * part) for part in to_rgb(colour)] in key
    said = {text.get_text() for text in explorer.figure().findobj(Text)}
    assert {"boundary", "feature effect", "negative effect", "score"} <= said
    assert any(text.startswith("attention of the boxes") for text in said)


def test_the_shown_picture_and_the_right_one_are_marked_each_in_its_own_way():
    marks = {
        (right, shown): thumbnail("text", right, shown) for right in (False, True) for shown in (False, True)
    }
    assert {place for place, html in marks.items() if "#009E73" in html} == {(True, False), (True, True)}
    strong = {place for place, html in marks.items() if "var(--jp-ui-font-color0" in html}
    assert strong == {(False, True), (True, True)}


def test_a_word_that_attends_to_no_region_is_said_to(split):
    """With the feature effect alone, a word below the boundary looks nowhere."""
    model = new_model(split, relevance_effect=False, negative_effect=False)
    model.boundary = Boundaries(0.99, 0.99)
    explorer = explore(model, split)
    assert set(explorer.pair.attended_region) == {-1}
    assert "It attends to no region. " in explorer.controls.word.value
    assert "region -1" not in explorer.controls.word.value
    assert "of its attention" not in explorer.controls.word.value
    explorer.turn(constants=explorer.state.constants._replace(boundary=-1.0))
    word = explorer.state.word
    region, weight = explorer.pair.attended_region[word], explorer.pair.attention[word].max()
    assert f"{weight:.0%} of its attention is on region {region}. " in explorer.controls.word.value


@pytest.mark.parametrize("recorded", [True, False])
def test_boxes_count_in_the_recorded_size_else_in_the_picture_files(split, recorded):
    with Image.open(split.image_path(3)) as picture:
        size = list(picture.size)
    known = replace(split, sizes=split.sizes + 100 if recorded else None)
    assert known.picture_size(3).tolist() == [side + 100 * recorded for side in size]
    assert replace(split, sizes=None, image_names=None).picture_size(3) is None


def test_a_typed_caption_becomes_words_and_a_ranking(explorer, split):
    explorer.controls.caption.value = "a zeppelin  <b>above</b> a star"
    words = [button.description for button in explorer.words.children]
    assert words[1:4] == ["a", "zeppelin?", "<?"]
    assert sorted(explorer.ranking.order) == list(range(len(split)))
    assert not explorer.ranking.right
    assert explorer.controls.right.disabled
    assert "<b>above" not in explorer.controls.word.value


def test_one_steps_through_the_retrieval_result(explorer, split):
    order, c = explorer.ranking.order, explorer.controls
    explorer.turn(image=int(order[0]))
    assert c.previous.disabled
    for expected in order[1:4]:
        c.next.click()
        assert explorer.state.image == expected
    c.previous.click()
    assert explorer.state.image == order[2]
    c.right.click()
    assert split.captions[explorer.state.image * 5] == explorer.state.caption
    explorer.strip.buttons[1].click()
    assert explorer.state.image == order[1]


def test_another_pair_is_a_picture_with_a_caption_of_its_own(explorer, split):
    explorer.controls.random.click()
    own = [split.captions[caption] for caption in split.captions_of_image(explorer.state.image)]
    assert explorer.state.caption in own
    explorer.controls.own.value = split.captions_of_image(explorer.state.image)[3]
    assert explorer.state.caption == own[3]


@pytest.mark.parametrize(
    ("control", "typed", "says"),
    [
        ("caption", "", "no words"),
        ("caption", "   ", "no words"),
        ("caption", "star " * 61, "has 61 words"),
        ("image", "10", "there is no picture 10; the pictures of test are 0 to 9"),
        ("image", "nothing.jpg", "there is no picture 'nothing.jpg'"),
        ("image", "-1", "there is no picture '-1'"),
    ],
)
def test_a_mistake_is_one_sentence_and_the_page_stays(explorer, control, typed, says):
    before, state = explorer.controls.picture.value, explorer.state
    getattr(explorer.controls, control).value = typed
    message = explorer.controls.message
    assert says in message.value.replace("&#x27;", "'")
    assert message.layout.display is None
    assert (explorer.controls.picture.value, explorer.state) == (before, state)
    explorer.turn(word=1)
    assert (message.value, message.layout.display) == ("", "none")


def test_a_picture_is_found_by_number_and_by_its_files_name(explorer, split):
    explorer.controls.image.value = " 4 "
    assert explorer.state.image == 4
    explorer.controls.image.value = split.image_names[7]
    assert explorer.state.image == 7


def test_each_model_keeps_the_constants_that_it_was_left_with(split, model):
    explorer = explore([model, new_model(split, seed=1), new_model(split, "scan-t2i")], split)
    c, own = explorer.controls, explorer.state.constants
    assert c.model.options == ("model", "model (2)", "model (3)")
    c.boundary.value = moved = (c.boundary.min + c.boundary.max) / 2
    assert moved != own.boundary
    c.model.value = "model (2)"
    assert explorer.state.constants == explorer.reader.own
    c.model.value = "model"
    assert explorer.state.constants == own._replace(boundary=moved)
    assert c.boundary.value == moved
    c.model.value = "model (3)"
    assert c.boundary.disabled
    assert explorer.state.constants == Constants(None, 9.0, None)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("boxes", [True, False])
def test_readers_without_a_kernel_get_the_same_as_a_picture(split, method, boxes, monkeypatch):
    bare = split if boxes else replace(split, boxes=None, sizes=None, image_names=None)
    explorer, shown = explore(new_model(split, method), bare), []
    monkeypatch.setattr("IPython.display.display", lambda data, **how: shown.append((data, how)))
    explorer._ipython_display_()
    (live, _), (still, how) = shown
    assert "application/vnd.jupyter.widget-view+json" in live
    assert explorer.state.caption in live["text/plain"]
    assert set(still) == {"image/png"}  # a reader who knows widgets shows nothing else of one that holds both
    with Image.open(BytesIO(base64.b64decode(still["image/png"]))) as picture:
        assert picture.size[0] > how["metadata"]["image/png"]["width"] >= 800


@pytest.mark.parametrize("page", ["explorer", "pair", "attention"])
@pytest.mark.parametrize("picture", ["there", "lost", "unnamed"])
def test_a_missing_picture_is_named_where_it_would_stand(model, split, page, picture):
    names = {"there": split.image_names, "lost": ["lost.jpg"] * len(split), "unnamed": None}[picture]
    known = replace(split, image_names=names)
    pair = explain(model, known, 3, 17)
    figure = {
        "explorer": lambda: explore(model, known, image=3, caption=17).figure(),
        "pair": lambda: pair_page(known, pair),
        "attention": lambda: attention_page(known, pair),
    }[page]()
    said = " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())
    assert ("no picture lost.jpg" in said) == (picture == "lost")
    assert ("the data set has no pictures" in said) == (picture == "unnamed")


def test_no_text_of_a_page_is_cut(explorer):
    explorer.turn(caption="the extraordinarily longwindedword " * 12 + "by a star", image=3)
    figure = explorer.figure()
    figure.canvas.draw()
    for text in figure.findobj(Annotation):  # the caption's words do not count in the tight box
        text.set_in_layout(True)
    drawn = figure.get_tightbbox()
    assert drawn.x0 >= 0
    assert drawn.y0 >= 0
    assert drawn.x1 <= figure.get_figwidth()
    assert drawn.y1 <= figure.get_figheight()


def test_a_run_folder_is_explored_on_the_data_that_it_was_trained_on(trained, scenes):
    explorer = explore(trained, split="dev")
    assert explorer.state.model == "trained"
    assert explorer.reader.split.folder == scenes
    by_path = explore(trained.checkpoint(), scenes, caption=12)
    assert (by_path.state.model, by_path.state.image) == ("best", 2)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"image": 10}, "picture 10"),
        ({"caption": 50}, "caption 50"),
        ({"caption": " "}, "no words"),
        ({"split": "x"}, "'x'"),
    ],
)
def test_what_cannot_be_shown_first_is_refused(model, scenes, given, says):
    with pytest.raises(NaafError, match=says):
        explore(model, scenes, **given)


def test_what_cannot_be_opened_is_refused(model, tmp_path):
    with pytest.raises(NaafError, match="no run to explore"):
        explore([])
    with pytest.raises(NaafError, match="a model does not record its data set; give its folder"):
        explore(model)
    with pytest.raises(NaafError, match="none does not exist"):
        explore(model, tmp_path / "none")


def test_the_ranking_is_cut_to_the_first_images(model, split):
    assert len(explore(model, split, limit=4).ranking.order) == 4


@pytest.fixture
def searcher(model, split, scenes, tmp_path):
    """Of an index of two parts: dev, then test."""
    save(tmp_path / "model.safetensors", model, {})
    build_index(tmp_path / "model.safetensors", scenes, out=tmp_path / "index", split="dev")
    return Searcher(build_index(tmp_path / "model.safetensors", scenes, out=tmp_path / "index", split="test"))


def test_a_typed_caption_ranks_the_whole_index(searcher, split):
    explorer = explore(searcher, image=14)
    assert explorer.state.caption == split.captions[20]  # of image 4 of the second part
    assert explorer.ranking.right == {14}
    assert "of 20" in explorer.controls.about.value
    explorer.controls.caption.value = "a small black star"
    hits = searcher.by_text("a small black star", k=20)
    assert explorer.ranking.order.tolist() == hits.places.tolist()
    assert explorer.strip.images[:5] == hits.places[:5].tolist()
    for rank, place in enumerate(hits.places[:3].tolist()):
        explorer.strip.buttons[rank].click()
        assert explorer.state.image == place
        assert explorer.pair.image_name == hits.texts[rank] == explorer.controls.image.value
        assert explorer.pair.score == pytest.approx(hits.scores[rank], abs=4e-3)
        assert f"place {rank + 1} of 20" in explorer.controls.about.value
    explorer.controls.image.value = split.image_names[7]
    assert explorer.state.image == 17
    explorer.controls.own.value = split.captions_of_image(7)[2]
    assert explorer.state.caption == split.captions[37]


def test_an_index_under_turned_constants_ranks_as_its_split_does(searcher, model, split):
    constants = Constants(0.9, 3.0, None)
    explorer, other = explore(searcher, image=12), explore(model, split, image=2)
    for one in (explorer, other):
        one.turn(constants=constants)
    np.testing.assert_allclose(explorer.ranking.scores[10:], other.ranking.scores, atol=4e-3)


def test_a_picture_beyond_the_candidates_has_a_score_and_no_place(searcher):
    text = "a small black star"
    kept = searcher.by_text(text, k=8, candidates=8).places.tolist()
    outside = next(place for place in range(20) if place not in kept)
    explorer = explore(searcher, image=outside, caption=text, limit=8)
    assert explorer.ranking.order.tolist() == kept
    assert "not among 8 candidates of 20" in explorer.controls.about.value
    assert explorer.strip.images[-1] == outside
    assert explorer.strip.buttons[-1].description.startswith("–  ")
    assert explorer.controls.previous.disabled
    assert explorer.controls.next.disabled
    explorer.strip.buttons[0].click()
    assert "place 1 among 8 candidates of 20" in explorer.controls.about.value
    explorer.figure()


def test_pictures_without_captions_are_explored_by_a_text(model, scenes, tmp_path):
    import_pictures(scenes / "images", None, tmp_path / "pictures")
    extract(tmp_path / "pictures", "pixels")
    save(tmp_path / "model.safetensors", model, {})
    searcher = Searcher(
        build_index(tmp_path / "model.safetensors", tmp_path / "pictures", out=tmp_path / "index")
    )
    with pytest.raises(NaafError, match="has no caption of its own; give a text"):
        explore(searcher)
    with pytest.raises(NaafError, match="an index has its own data and model"):
        explore(searcher, split="dev")
    explorer = explore(searcher, caption="a red circle")
    explorer.controls.random.click()
    assert explorer.state.caption == "a red circle"
    before = explorer.state
    explorer.controls.caption.value = "zzz"
    assert "knows no word of" in explorer.controls.message.value
    assert explorer.state == before
    explorer.figure()


def test_no_page_is_left_open_in_pyplot(explorer):
    import matplotlib.pyplot as plt

    explorer.figure()
    assert plt.get_fignums() == []
