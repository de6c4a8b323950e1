"""What a picture means is read back from what was drawn: positions, colours and texts of the artists.

A reader takes blue for matched, a dot for the strongest region, the first picture for the best one. Each test
here fails where one of these is turned round.
"""

import base64
import re

import numpy as np
import pandas as pd
import pytest
import seeds
import torch
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation, Text
from synthetic_pairs import pair_of
from synthetic_runs import write_group

import naaflib
from naaflib.config import model_settings
from naaflib.data.scenes.dataset import read_links
from naaflib.data.vocabulary import Vocabulary
from naaflib.evaluation import Evaluation, compare_runs, difference_table, protocol_metrics
from naaflib.explanation import explain
from naaflib.explorer import explore, pages
from naaflib.model.model import Model
from naaflib.pages import measure_words, query_sheet
from naaflib.pages.pairs import attention_page, matrix_page
from naaflib.pages.results import recall_page, recall_table
from naaflib.similarity.boundary import Boundaries
from naaflib.viz import attention, captions, comparison, curves, distributions, style
from naaflib.viz import explorer as page
from naaflib.viz.pictures import read_picture, region_squares

MIDDLE = 0.45  # every matched value of these tests lies above, every mismatched one below
WORDS = ["<start>", "a", "red", "star", "<end>"]
COSINE = np.array([0.1, 0.2, 0.7, 0.9, 0.3])
PAIR = pair_of(WORDS, np.stack([COSINE, COSINE - 0.1], axis=1), boundary=MIDDLE)
BOTH = {"matched", "mismatched"}


def meaning(colour) -> str:
    """matched for any blue, mismatched for any vermilion, however pale; nothing for grey and green."""
    red, green, blue = to_rgb(colour)
    if blue - red > 0.02 and blue > green:
        return "matched"
    return "mismatched" if red - blue > 0.02 and red > green else ""


def samples() -> dict[str, np.ndarray]:
    rng = seeds.rng(1)
    return {
        "matched": rng.uniform(0.6, 0.9, 400),
        "mismatched": rng.uniform(0.0, 0.3, 400),
        "boundary": np.float64(MIDDLE),
    }


def new_axes():
    return style.panels(1, 1)[1][0, 0]


def explorer_page() -> page.Page:
    sides = {kind: samples()[kind] for kind in BOTH}
    return page.Page(PAIR, region_squares(2), chosen=3, overlay=True, **sides, title="", sentence="")


def lines(ax, *, height: bool = False) -> list:
    """(place, colour) of each curve: where it is highest, or how high it is."""
    curves_drawn = [line for line in ax.lines if len(line.get_xdata()) > 2]
    return [
        (
            np.mean(line.get_ydata()) if height else line.get_xdata()[np.argmax(line.get_ydata())],
            line.get_color(),
        )
        for line in curves_drawn
    ]


def areas(ax) -> list:
    """(place, colour) of each filled area: where it is highest."""
    found = [(path.vertices, one.get_facecolor()[0]) for one in ax.collections for path in one.get_paths()]
    return [(corners[corners[:, 1].argmax(), 0], colour) for corners, colour in found if len(corners)]


def distribution_marks() -> list:
    ax = distributions.distribution(new_axes(), samples()["matched"], samples()["mismatched"])
    bars = [
        (bar.get_x() + bar.get_width() / 2, bar.get_facecolor()) for bar in ax.patches if bar.get_height()
    ]
    return bars + lines(ax)


def ridgeline_marks() -> list:
    ax = distributions.ridgeline(new_axes(), {0: samples(), 1: samples()})
    return lines(ax) + areas(ax)


def training_marks() -> list:
    frame = pd.DataFrame({"epoch": [1, 2, 3], "boundary": 0.5, "inference_boundary": 0.4})
    level = {"mean_matched": 0.8, "std_matched": 0.01, "mean_mismatched": 0.1, "std_mismatched": 0.01}
    return lines(curves.boundary(new_axes(), frame.assign(**level)), height=True)


def word_marks() -> list:
    ax = page.word_cosines(new_axes(), explorer_page())
    ways, dots = ax.collections[0], ax.collections[-1]
    ends = [max(path.vertices[:, 0], key=lambda x: abs(x - MIDDLE)) for path in ways.get_paths()]
    return [
        *zip(ends, ways.get_colors(), strict=True),
        *zip(dots.get_offsets()[:, 0], dots.get_facecolors(), strict=True),
    ]


def split_marks() -> list:
    ax = page.split_cosines(new_axes(), explorer_page(), base=9)
    found = []
    for area in ax.patches:
        heights, edges, base = area.get_data()
        found.append((edges[np.abs(heights - base).argmax()], area.get_facecolor()))
    return found


def caption_marks() -> list:
    ax = captions.coloured_caption(new_axes(), PAIR, captions.match_norm(COSINE, MIDDLE), width=3)
    return [
        (value, text.get_bbox_patch().get_facecolor()) for value, text in zip(COSINE, ax.texts, strict=True)
    ]


def matrix_marks() -> list:
    (shown,) = attention.word_region_matrix(new_axes(), PAIR).images
    return list(zip(PAIR.cosine.ravel(), shown.to_rgba(shown.get_array()).reshape(-1, 4)[:, :3], strict=True))


def cumulative_marks() -> list:
    return lines(distributions.cumulative(new_axes(), samples()["matched"], samples()["mismatched"]))


DRAWN = {
    "distribution": distribution_marks,
    "cumulative": cumulative_marks,
    "ridgeline": ridgeline_marks,
    "training": training_marks,
    "words": word_marks,
    "split": split_marks,
    "caption": caption_marks,
    "matrix": matrix_marks,
}


@pytest.mark.parametrize("name", DRAWN)
def test_matched_is_blue_and_mismatched_vermilion_wherever_it_is_drawn(name):
    said = [
        ("matched" if place > MIDDLE else "mismatched", meaning(colour)) for place, colour in DRAWN[name]()
    ]
    known = [(wanted, found) for wanted, found in said if found]
    assert {wanted for wanted, _ in known} == BOTH
    assert all(wanted == found for wanted, found in known)


def test_keys_name_blue_matched_and_vermilion_mismatched():
    ridges = distributions.ridgeline(new_axes(), {0: samples()})
    page.draw_key(figure := style.figure(), with_boundary=True, bottom=1)
    (key,) = figure.legends
    whole = distributions.distribution_figure({"a": samples()}).axes[-1]
    for legend in (ridges.get_legend(), key, whole.get_legend()):
        named = dict(
            zip((text.get_text() for text in legend.get_texts()), legend.legend_handles, strict=True)
        )
        for name in BOTH:
            (handle,) = (one for text, one in named.items() if re.match(rf"{name}( |:|$)", text))
            colour = handle.get_color() if hasattr(handle, "get_color") else handle.get_facecolor()
            assert meaning(np.ravel(colour)[:3] if not isinstance(colour, str) else colour) == name


# ---- one pair


@pytest.fixture(scope="module")
def split(scenes):
    return naaflib.open_split(scenes, "test")


@pytest.fixture(scope="module")
def model(split) -> Model:
    """Untrained; its boundary lies among the words' largest cosines."""
    seeds.manual_seed(0)
    words = Vocabulary.build(split.captions, min_count=1)
    made = Model(model_settings(dim=19, word_dim=13), split.regions.shape[2], len(words), words).eval()
    made.boundary = Boundaries(0.2, 0.2)
    middle = float(np.median(explain(made, split, 0, 0).best_cosine))
    made.boundary = Boundaries(middle, middle)
    return made


@pytest.fixture(scope="module")
def pair(model, split):
    return explain(model, split, 3, 17)


def test_the_dot_of_a_word_stands_at_its_largest_cosine(pair):
    (dots,) = matrix_page(pair).axes[0].lines
    for region, word in zip(*dots.get_data(), strict=True):
        assert pair.cosine[int(word), int(region)] == pair.cosine[int(word)].max()
    assert sorted(dots.get_ydata()) == list(range(len(pair.words)))


def frames(ax) -> list[list[float]]:
    """(x1, y1, x2, y2) of the blue outlines."""
    patches = [patch for patch in ax.patches if isinstance(patch, Rectangle) and not patch.get_fill()]
    return [
        patch.get_bbox().extents.tolist() for patch in patches if meaning(patch.get_edgecolor()) == "matched"
    ]


def test_the_frame_of_an_attention_panel_stands_at_the_region_of_the_largest_weight(split, model, pair):
    panels = attention_page(split, pair).axes
    for ax, weight, word in zip(panels, pair.attention[1:-1], pair.words[1:-1], strict=False):
        assert ax.get_title().rstrip("…") in word
        assert frames(ax) == [pytest.approx(pair.boxes[weight.argmax()].tolist())]
    shown = explore(model, split, image=3, caption=17)
    shown.turn(word=2)
    panel = shown.figure().axes[0]
    assert frames(panel) == [pytest.approx(pair.boxes[shown.pair.attention[2].argmax()].tolist())]


def test_the_bars_of_a_word_have_the_sign_and_the_length_of_its_effects():
    rng = seeds.rng(2)
    parts = {"feature_effect": rng.uniform(0.1, 1, 5), "relevance_effect": rng.uniform(0.1, 1, 5)}
    parts["negative_effect"] = -rng.uniform(0.1, 1, 5)
    ax = captions.effect_bars(new_axes(), pair_of(WORDS, PAIR.cosine, **parts))
    names = {
        round(place): label.get_text()
        for place, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
    }
    assert [names[row] for row in range(5)] == WORDS
    starts = (np.zeros(5), parts["feature_effect"], np.zeros(5))
    for bars, effect, start, wanted in zip(
        ax.collections, parts.values(), starts, ("matched", "matched", "mismatched"), strict=True
    ):
        assert meaning(bars.get_facecolor()[0]) == wanted
        for row, path in enumerate(bars.get_paths()):
            across, down = path.vertices.T
            assert down.min() < row < down.max()
            assert sorted({*across.round(9)}) == pytest.approx(sorted((start[row], start[row] + effect[row])))


def test_a_words_number_over_its_panel_is_blue_where_the_word_adds_to_the_score():
    pair = pair_of(["", "adds", "takes", ""], np.eye(4, 7), feature_effect=np.array([0, 0.5, -0.5, 0]))
    figure = attention.attention_figure(pair, region_squares(7))
    colours = {
        text.get_text()[:1]: text.get_color() for text in figure.findobj(Text) if "0.50" in text.get_text()
    }
    assert {sign: meaning(colour) for sign, colour in colours.items()} == {"+": "matched", "−": "mismatched"}


# ---- retrieval


def test_the_explorers_order_is_the_scores_order(model, split):
    shown = explore(model, split, image=3, caption=17)
    images = model.encode_images(torch.from_numpy(split.regions.gather(np.arange(len(split)))))
    scores = model.score(images, *model.encode_texts([split.captions[17]]))[:, 0].numpy()
    strip = shown.strip.images
    first = strip if shown.state.image in shown.ranking.order[: len(strip)] else strip[:-1]
    others = [image for image in range(len(split)) if image not in first]
    assert (np.diff(scores[first]) < 1e-5).all()
    assert scores[first].min() > scores[others].max() - 1e-5
    for image, cell, chosen in zip(strip, shown.strip.pictures, shown.strip.buttons, strict=True):
        (content,) = pages.thumbnails(shown.reader, [image])
        assert base64.b64encode(content).decode() in cell.value  # the picture above the number is the image's
        place, score = chosen.description.split(".  ")
        assert float(score.replace("−", "-")) == pytest.approx(scores[image], abs=6e-4)
        assert int(place) == 1 + (scores > scores[image] + 1e-5).sum()
    drawn = [ax.get_xlabel() for ax in shown.figure().axes if re.match(r"\d+\.  ", ax.get_xlabel())]
    assert [text.split(", ")[0] for text in drawn] == [one.description for one in shown.strip.buttons]
    worse = int(shown.ranking.order[1])
    shown.turn(image=worse)
    shown.controls.next.click()
    assert scores[shown.state.image] < scores[worse] + 1e-5


def evaluation(split, scores) -> Evaluation:
    return Evaluation(
        scores, protocol_metrics(scores, "full", split.captions_per_image), "full", split, "naaf"
    )


def planted(split):
    """Scores by chance; caption 21 scores least with its own image, caption 33 most, by a wide margin."""
    rng = seeds.rng(3)
    scores = rng.uniform(0, 1, (len(split), len(split.captions)))
    scores[:, 21] = 1 + rng.permutation(len(split))  # told apart by the three digits that are printed
    scores[21 // split.captions_per_image, 21] = -5
    scores[33 // split.captions_per_image, 33] = 5
    return scores


@pytest.mark.parametrize(("which", "query"), [("worst", 21), ("best", 33)])
def test_the_farthest_missed_query_has_the_largest_rank_and_the_surest_one_rank_one(split, which, query):
    result = evaluation(split, planted(split))
    ranks = result.metrics.t2i.ranks
    sheet = query_sheet(result, "t2i", which, count=2)
    said = " ".join(sheet.subfigs[0].get_suptitle().split())
    assert ranks[query] == (ranks.max() if which == "worst" else 0)
    assert f"“{split.captions[query]}”" in said
    assert f"at\N{NO-BREAK SPACE}place\N{NO-BREAK SPACE}{ranks[query] + 1}" in sheet.subfigs[0].get_suptitle()


def test_a_contact_sheet_shows_pictures_in_their_scores_order_with_the_right_one_framed(split):
    scores = planted(split)
    block = query_sheet(evaluation(split, scores), "t2i", "worst", count=2).subfigs[0]
    own, marked, values = 21 // split.captions_per_image, [], []
    for ax in block.axes:
        place, value = ax.get_xlabel().split(".  ")
        image = int(np.abs(scores[:, 21] - float(value)).argmin())
        assert int(place) == 1 + (scores[:, 21] > scores[image, 21]).sum()
        np.testing.assert_array_equal(ax.images[0].get_array(), read_picture(split.image_path(image)))
        values.append(scores[image, 21])
        if any(text.get_text() == "right" for text in ax.texts):
            marked.append(image)
    assert (np.diff(values) < 0).all()
    assert marked == [own]


# ---- chance, and differences


def test_a_drawn_chance_level_is_what_random_answers_reach(split):
    result = evaluation(split, planted(split))
    ax = recall_page(recall_table({"mine": result.metrics}, result)).axes[0]
    (marks,) = (one for one in ax.collections if one.get_label() == "chance")
    drawn = {round(path.vertices[:, 0].mean(), 1): path.vertices[0, 1] for path in marks.get_paths()}
    rng, shape, each = seeds.rng(4), result.scores.shape, split.captions_per_image
    random = [protocol_metrics(rng.normal(size=shape), "full", each) for _ in range(1500)]
    recalls = [getattr(one, way).recall(k) for one in random for way in ("i2t", "t2i") for k in (1, 5, 10)]
    assert list(drawn.values()) == pytest.approx(np.reshape(recalls, (-1, 6)).mean(axis=0), abs=2)
    assert list(drawn) == [0, 1, 2, 3.5, 4.5, 5.5]  # under the bars of the same names


def test_the_pointing_games_drawn_chance_is_that_of_regions_picked_blindly(model, split, scenes):
    measured = measure_words(model, split)
    ax = measured.pointing_figure().axes[0]
    (marks,) = (line for line in ax.lines if line.get_label() == "chance")
    linked = [len(own) for caption in read_links(scenes, "test") for own in caption if own]
    rows = [label.get_text() for label in ax.get_yticklabels()]
    weights = measured.classes().loc[rows, "count"]
    share = 100 * np.mean(linked) / split.regions.shape[1]
    assert np.average(marks.get_xdata(), weights=weights) == pytest.approx(share, abs=0.01)
    assert measured.table()["chance"].iloc[0] == pytest.approx(share, abs=0.01)


@pytest.fixture(scope="module")
def differences(write_split, tmp_path_factory) -> pd.DataFrame:
    """Beside the middle variant one that is far better and one that is far worse."""
    folder = tmp_path_factory.mktemp("compared")
    data = write_split(folder / "data", "dev", 31)
    for name, skill in (("1_middle", 2.0), ("2_worse", 0.5), ("3_better", 5.0)):
        write_group(folder / "runs" / name, data, skill=skill)
    return difference_table(compare_runs([folder / "runs"]), resamples=99)


def test_a_forests_interval_contains_its_point_and_left_of_zero_is_worse(differences):
    ax = comparison.forest(new_axes(), differences)
    rows = {
        text.get_text().split(" ")[0]: round(place)
        for place, text in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
    }
    for name, wanted, mark, sign in (("2_worse", "mismatched", "v", -1), ("3_better", "matched", "^", 1)):
        row = [
            line
            for line in ax.lines
            if len(line.get_ydata()) and (np.asarray(line.get_ydata()) == rows[name]).all()
        ]
        (point,) = (line for line in row if len(line.get_xdata()) == 1)
        value = float(point.get_xdata()[0])
        assert sign * value > 0
        assert (point.get_marker(), meaning(point.get_color())) == (mark, wanted)
        spans = [line.get_xdata() for line in row if len(line.get_xdata()) == 2]
        assert spans
        assert all(low <= value <= high for low, high in spans)
    notes = {text.get_text(): text for text in ax.findobj(Annotation)}
    assert (notes["← worse"].get_ha(), notes["better →"].get_ha()) == ("right", "left")  # of the zero line
    assert notes["← worse"].xy[0] == notes["better →"].xy[0] == 0
    assert notes["← worse"].get_position()[0] < 0 < notes["better →"].get_position()[0]
