"""Figures: nothing is cut off or left open, what is drawn says what the numbers say."""

import gc
import os
import subprocess
import sys
import warnings
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import seeds
from matplotlib import image
from matplotlib.transforms import Bbox
from scipy.stats import norm
from synthetic_pairs import pair_of

from naaflib.metric import retrieval as metric
from naaflib.metric.separation import separation
from naaflib.similarity.boundary import optimal_boundary
from naaflib.viz import (
    attention,
    captions,
    curves,
    data,
    distributions,
    measures,
    pairs,
    pictures,
    ranks,
    style,
)

RNG = seeds.rng(0)
WORDS = ["<start>", "a", "very-long-compound-word", "girl", "costs", "$5", "or", "$6", "<end>"]
REGIONS = 11
BOXES = np.array([[10 * k, 5 * k, 10 * k + 60, 5 * k + 90] for k in range(REGIONS)], dtype=float)
SIZE = np.array([200, 150])
PICTURE = RNG.integers(0, 255, (150, 200, 3)).astype(np.uint8)
EFFECTS = {
    "feature_effect": RNG.uniform(0, 0.6, len(WORDS)),
    "relevance_effect": RNG.uniform(-0.1, 0.3, len(WORDS)),
    "negative_effect": -RNG.uniform(0, 0.3, len(WORDS)),
}
WEIGHT = RNG.dirichlet(np.full(REGIONS, 0.3), len(WORDS))
KNOWN = [word != "girl" for word in WORDS]
CANVAS = pictures.Canvas(PICTURE, BOXES, SIZE)
SQUARES = pictures.region_squares(REGIONS)
PAIR = pair_of(WORDS, WEIGHT, boundary=0.2, known=KNOWN, **EFFECTS)
LONG = "an unusually long caption of very many words " * 4 + "."


def history(epochs: int) -> pd.DataFrame:
    frame = pd.DataFrame({name: np.linspace(1, 60, epochs) for name in metric.RECALLS})
    frame["epoch"] = np.arange(1, epochs + 1)
    frame["loss"] = np.linspace(90, 20, epochs)
    frame["rsum"] = frame[list(metric.RECALLS)].sum(axis=1)
    for name in ("boundary", "inference_boundary", "mean_matched", "mean_mismatched"):
        frame[name] = RNG.uniform(0, 0.6, epochs)
    return frame.assign(std_matched=0.1, std_mismatched=0.08)


def steps(epochs: int, each: int) -> pd.DataFrame:
    frame = pd.concat([history(epochs)] * each).sort_values("epoch", ignore_index=True)
    return frame.assign(step=np.arange(1, len(frame) + 1), grad_norm=RNG.uniform(1, 9, len(frame)))


def samples(shift: float, count: int = 400) -> dict[str, np.ndarray]:
    matched, mismatched = RNG.normal(0.2 + shift, 0.1, count), RNG.normal(0.2, 0.08, count)
    return {"matched": matched, "mismatched": mismatched, "boundary": np.float64(0.3)}


def sheet(directions: str):
    right = np.zeros((2, 5), dtype=bool)
    right[0, 1] = right[1, 4] = True
    scores = np.sort(RNG.uniform(0, 1, (2, 5)))[:, ::-1]
    many, order = [[PICTURE, None, PICTURE, PICTURE, None]] * 2, [[1, 2, 3, 4, 5000]] * 2
    if directions == "t2i":
        names = [["no_picture_of_a_long_name_0123456789.jpg"] * 5] * 2
        said = {"names": names, "places": [2, 5000], "answer_places": order}
        return pictures.retrieved_pictures(["short", LONG], many, right, scores, **said)
    said = {"names": ["", LONG], "places": [2, 5], "answer_places": order}
    texts = [[LONG, "a b c"] * 2 + ["x"]] * 2
    return pictures.retrieved_captions([PICTURE, None], texts, right, scores, **said)


def long_pair(repeat: int = 4):
    parts = {name: np.tile(value, repeat) for name, value in EFFECTS.items()}
    return pair_of(WORDS * repeat, np.tile(WEIGHT, (repeat, 1)), known=KNOWN * repeat, **parts)


def on_axes(draw, *args, width=style.COLUMN, **kwargs):
    figure, axes = style.panels(1, 1, width=width)
    assert draw(axes[0, 0], *args, **kwargs) is axes[0, 0]
    return figure


RECALLS = dict(zip(metric.RECALLS, (9.1, 30, 45.5, 7, 25, 38), strict=True))
SAMPLES = samples(0.2)
COUNTS = Counter({"a": 900, "dog": 70, "$": 8, "zebra": 1})
RATES = pd.DataFrame(
    {"value": [80.0, 99.5], "low": [70.0, 98], "high": [88.0, 100], "chance": [50.0, 9]},
    ["colour", "a number"],
)
FIGURES = {
    "training": lambda: curves.training_figure(history(6), steps(6, 9), title="a run"),
    "training without steps": lambda: curves.training_figure(history(6)),
    "training of one epoch": lambda: curves.training_figure(history(1), steps(1, 3)),
    "members": lambda: curves.members_figure({f"seed {k}": history(4) for k in range(3)}),
    "gradient norm": lambda: on_axes(curves.gradient_norm, steps(3, 9), clip=2),
    "ranks": lambda: ranks.ranks_figure(
        RNG.integers(0, 900, 99), RNG.integers(0, 180, 99), images=180, captions=900
    ),
    "recalls": lambda: on_axes(ranks.recall_bars, RECALLS, width=5, chance=RECALLS, published=RECALLS),
    "comparison": lambda: on_axes(
        ranks.recall_comparison, pd.DataFrame([RECALLS] * 3, ["0", "1", "ensemble"]), ["ensemble"], width=5
    ),
    "margin": lambda: on_axes(ranks.score_margin, RNG.normal(0, 1, 99), direction="t2i"),
    "picture": lambda: on_axes(pictures.picture, PICTURE, size=SIZE, boxes=BOXES, labels=["$a$"] * REGIONS),
    "no picture": lambda: on_axes(pictures.picture, None, instead=LONG),
    "pictures for a caption": lambda: sheet("t2i"),
    "captions for a picture": lambda: sheet("i2t"),
    "attention": lambda: attention.attention_figure(PAIR, CANVAS, title="t"),
    "attention without boxes": lambda: attention.attention_figure(PAIR, SQUARES),
    "attention, long caption": lambda: attention.attention_figure(long_pair(), CANVAS, title="t"),
    "attention, no region": lambda: attention.attention_figure(
        pair_of(WORDS, WEIGHT, attention=0 * WEIGHT, **EFFECTS), CANVAS
    ),
    "matrix": lambda: on_axes(attention.word_region_matrix, PAIR),
    "words": lambda: pairs.words_figure(PAIR, title="a pair"),
    "words of a long caption": lambda: pairs.words_figure(long_pair()),
    "rates": lambda: measures.rates_figure({"accuracy": {"naaf": RATES}, "area": {"naaf": RATES}}, title="t"),
    "rates of two models": lambda: measures.rates_figure(
        {"accuracy": {"naaf": RATES, "scan-t2i": RATES / 2}, "area": {"naaf": RATES}}
    ),
    "region grid": lambda: on_axes(attention.region_grid, WEIGHT[0]),
    "pair": lambda: pairs.pair_figure(PAIR, CANVAS, title="a pair"),
    "pair without picture": lambda: pairs.pair_figure(PAIR, pictures.Canvas(None, BOXES, SIZE, LONG)),
    "pair without boxes": lambda: pairs.pair_figure(PAIR, SQUARES),
    "pair of a long caption": lambda: pairs.pair_figure(long_pair(), CANVAS),
    "distributions": lambda: distributions.distribution_figure({"before": samples(0.0), "after": SAMPLES}),
    "distribution": lambda: distributions.distribution_figure(
        {"after": SAMPLES | {"inference_boundary": 0.1}}
    ),
    "ridgeline": lambda: on_axes(distributions.ridgeline, {e: samples(0.05 * e) for e in range(5)}),
    "cumulative": lambda: on_axes(
        distributions.cumulative, SAMPLES["matched"], SAMPLES["mismatched"], boundary=0.3
    ),
    "alpha": lambda: on_axes(
        distributions.boundary_by_alpha, np.geomspace(0.1, 9, 9), np.linspace(0, 1, 9), alpha=2
    ),
    "lengths": lambda: on_axes(
        data.caption_lengths, {"train": RNG.integers(3, 30, 99), "dev": RNG.integers(3, 30, 9)}
    ),
    "frequencies": lambda: on_axes(data.word_frequencies, COUNTS, min_count=4),
    "coverage": lambda: on_axes(data.vocabulary_coverage, COUNTS, {"dev": COUNTS}, min_count=4),
    "norms": lambda: on_axes(
        data.feature_norms, {"train": np.ones((4, 5)), "dev": RNG.uniform(0, 2, (4, 5))}
    ),
}


def texts(figure) -> list:
    return [text for text in figure.findobj(mpl.text.Text) if text.get_visible()]


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off_at_the_edge_of_a_figure(name):
    figure, dpi = FIGURES[name](), 60
    width, height = figure.get_size_inches()
    buffer = BytesIO()  # the page with an inch of paper around it: what was cut off would stand there
    figure.savefig(buffer, dpi=dpi, bbox_inches=Bbox([[-1, -1], [width + 1, height + 1]]))
    buffer.seek(0)
    drawn = image.imread(buffer)[..., :3].min(axis=2) < 0.9
    assert drawn[dpi + 1 : -dpi - 1, dpi + 1 : -dpi - 1].any()
    drawn[dpi - 1 : -dpi + 1, dpi - 1 : -dpi + 1] = False
    assert not drawn.any()


@pytest.mark.parametrize("name", ["pair", "distributions", "cumulative", "norms"])
def test_figures_are_not_pyplots_and_are_freed(name):
    import matplotlib.pyplot as plt

    figure = FIGURES[name]()
    assert plt.get_fignums() == []
    ghost = weakref.ref(figure)
    del figure
    for _ in range(2):  # what seaborn leaves behind goes with the second pass
        gc.collect()
    assert ghost() is None


def test_pyplot_is_not_imported_before_seaborn_draws():
    code = (
        "import sys, naaflib.viz.distributions, naaflib.viz.comparison, naaflib.viz.explorer\n"
        "print({'matplotlib.pyplot', 'seaborn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


READERS = {
    "font.size": 20,
    "axes.facecolor": "black",
    "savefig.dpi": 30,
    "figure.dpi": 300,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "axes.xmargin": 0.3,
    "axes.formatter.use_mathtext": True,
    "axes.unicode_minus": False,
    "axes.titlepad": 20,
    "figure.autolayout": True,
    "figure.constrained_layout.h_pad": 0.5,
    "image.origin": "lower",
    "image.interpolation": "bicubic",
    "legend.fancybox": False,
    "lines.dashed_pattern": (9, 9),
    "patch.edgecolor": "red",
    "patch.force_edgecolor": True,
    "savefig.bbox": "tight",
    "savefig.transparent": True,
    "text.usetex": True,
    "xtick.direction": "in",
    "xtick.minor.visible": True,
    "path.sketch": (1, 100, 2),
}


@pytest.mark.parametrize("name", FIGURES)
def test_the_house_style_holds_whatever_the_readers_settings_are(name, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "RNG", seeds.rng(1))
    plain = style.png(FIGURES[name]())
    monkeypatch.setattr(sys.modules[__name__], "RNG", seeds.rng(1))  # the same numbers again
    with mpl.rc_context(READERS):
        assert style.png(FIGURES[name]()) == plain
        assert mpl.rcParams["font.size"] == 20


def test_two_threads_draw_the_same_and_leave_the_readers_settings_alone():
    def drawn() -> set[bytes]:
        return {style.png(on_axes(attention.word_region_matrix, PAIR), dpi=60) for _ in range(4)}

    (plain,) = drawn()
    before = dict(mpl.rcParams)
    with ThreadPoolExecutor(2) as pool:
        assert set().union(*pool.map(lambda _: drawn(), range(2))) == {plain}
    assert dict(mpl.rcParams) == before


DRAW = """
import hashlib
from naaflib.viz import style
figure, axes = style.panels(title="two of three - 1.5")
axes[0, 0].plot([-1, 2, 3], label="loss")
style.legend(axes[0, 0])
print(hashlib.sha256(style.png(figure)).hexdigest())
"""


def drawn(**environment: str) -> tuple[str, str]:
    """A figure's checksum from a process with this environment, and what it said."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "MATPLOTLIB"))}
    done = subprocess.run(
        [sys.executable, "-c", DRAW], env=kept | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def test_a_readers_matplotlibrc_and_backend_change_no_figure_and_stop_none(tmp_path):
    plain, said = drawn()
    assert said == ""
    rc = tmp_path / "matplotlibrc"
    rc.write_text("text.usetex: True\nfont.size: 20\nfigure.dpi: 300\naxes.grid: True\n")
    assert drawn(MATPLOTLIBRC=str(rc)) == (plain, "")
    rc.write_bytes(b"font.family: \xff\xfe")
    for environment in ({"MPLBACKEND": "nonsense"}, {"MATPLOTLIBRC": str(rc)}):
        figure, said = drawn(**environment)
        assert figure == plain
        assert "cannot be used and is passed over" in said
        assert "Traceback" not in said


def test_letters_that_no_font_has_are_told_once_with_a_remedy(monkeypatch, capsys):
    monkeypatch.setattr(style, "_told", set())
    letters = "".join(map(chr, range(0xE000, 0xE007)))  # for private use: no font has them
    for title in (letters, letters, "\ue020"):
        style.png(style.figure(title=title))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"no installed font has {' '.join(letters[:5])} and others")
    assert "install one that has them" in said


def test_another_warning_while_a_figure_is_drawn_is_passed_on():
    with pytest.warns(UserWarning, match="something else"), style.house_style():
        warnings.warn("something else", UserWarning, stacklevel=1)


def test_jupyter_is_given_a_png_at_its_true_size():
    figure, _ = style.panels(1, 2, width=5, height=2)
    content, size = figure._repr_png_()
    assert content.startswith(b"\x89PNG")
    assert size == {"width": 500, "height": 200}


def test_a_number_has_a_sign_unless_it_is_nothing():
    assert [style.signed(value) for value in (0.314, -0.2, 0.001, -0.001)] == ["+0.31", "−0.20", "0", "0"]
    assert style.plain(-0.0001, 2) == "0.00"


def test_heat_at_a_point_is_the_weight_of_the_boxes_over_it():
    heat = attention.box_heat(WEIGHT, BOXES, (200, 150), cells=200)
    assert heat.shape == (len(WORDS), 150, 200)
    for x, y in ((0, 0), (37, 61), (119, 80), (199, 149)):
        x1, y1, x2, y2 = BOXES.T
        inside = (x1 <= x + 0.5) & (x + 0.5 < x2) & (y1 <= y + 0.5) & (y + 0.5 < y2)
        np.testing.assert_allclose(heat[:, y, x], WEIGHT[:, inside].sum(axis=1), atol=1e-12)


def test_boxes_are_of_matched_words_that_speak_of_something():
    words = ["<start>", "a", "dog", "into", "t-shirt", "grass", "man", "."]
    cosine = np.eye(len(words), REGIONS) * [[0.9], [0.9], [0.3], [0.9], [0.4], [0.1], [0.5], [0.9]]

    def boxed(boundary):
        pair = pair_of(words, cosine, boundary=boundary, feature_effect=np.arange(len(words)) / 10)
        texts = pairs.pair_figure(pair, CANVAS).axes[3].texts
        return {text.get_text() for text in texts}

    assert boxed(0.2) == {"man", "t-shirt", "dog"}
    assert boxed(0.35) == {"man", "t-shirt"}
    assert boxed(0.95) == set()
    assert boxed(None) == {"man", "grass", "t-shirt", "dog"}


def test_regions_without_boxes_stand_in_rows_that_tile_the_panel():
    grid = pictures.region_squares(36)
    boxes, (width, height) = grid.boxes, grid.size
    assert (width, height) == (360, 360)
    assert ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum() == width * height
    np.testing.assert_array_equal(boxes[7], [60, 60, 120, 120])
    assert pictures.region_squares(7).size.tolist() == [180, 180]


@pytest.mark.parametrize("candidates", [1, 7, 10, 250, 5000, 123_456])
def test_rank_bins_hold_every_place_once_and_end_at_the_recalls(candidates):
    ends, labels = ranks.rank_bins(candidates)
    assert ends[-1] == candidates
    assert len(labels) == len(ends)
    assert (np.diff(ends) > 0).all()
    assert {k for k in (1, 5, 10) if k <= candidates} <= set(ends)


def test_rank_bars_add_up_to_all_queries_and_the_marks_are_the_recalls():
    found = RNG.integers(0, 300, 77)
    axes = style.panels(1, 1)[1]
    ax = ranks.rank_histogram(axes[0, 0], found, direction="i2t", candidates=300)
    heights = [patch.get_height() for patch in ax.patches]
    assert sum(heights) == pytest.approx(100)
    for k, bars in ((1, 1), (5, 3), (10, 4)):
        recall = 100 * np.mean(found < k)
        assert sum(heights[:bars]) == pytest.approx(recall)
        assert any(text.get_text() == f"R@{k} {recall:.1f} %" for text in ax.texts)


def test_a_margin_of_zero_counts_as_a_failure():
    axes = style.panels(1, 1)[1]
    ax = ranks.score_margin(axes[0, 0], [0.0, 0.5, -0.5, 0.2], direction="i2t")
    assert {text.get_text() for text in ax.texts} == {"fails 50.0 %", "succeeds 50.0 %"}


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_every_right_answer_is_marked_and_no_other(direction):
    marks = [text for text in texts(sheet(direction)) if text.get_text() in ("right", "✓")]
    assert len(marks) == 2


@pytest.mark.parametrize("width", [0.4, 1.1, 3.0])
def test_wrapped_lines_fit_and_no_letter_is_lost(width):
    text = "Twogirls play on a skateboard , in a courtyard ."
    lines = captions.wrap(text, width, 8)
    assert all(captions.text_width(line, 8) <= 72 * width for line in lines)
    squeezed = "".join("".join(lines).replace("\N{NO-BREAK SPACE}", "").split())
    assert squeezed == text.replace(" ", "")


def test_a_caption_that_needs_more_lines_than_there_are_says_so():
    lines = captions.wrap(LONG, 1.5, 8, lines=2)
    assert len(lines) == 2
    assert lines[-1].endswith(" …")
    assert captions.text_width(lines[-1], 8) <= 72 * 1.5


def test_a_words_colour_depends_on_its_distance_from_the_centre_alone():
    scale = captions.match_norm(np.array([0.1, 0.9]), boundary=0.3)
    assert scale(0.3) == 0.5
    assert scale(0.5) + scale(0.1) == pytest.approx(1)
    assert captions.match_norm(np.array([0.3]), boundary=0.3)(0.3) == 0.5
    assert captions.match_norm(np.array([0.1, 0.9, np.nan]), boundary=None)(0.5) == 0.5  # the mean


def test_bars_of_a_word_add_up_to_its_dot():
    axes = style.panels(1, 1)[1]
    ax = captions.effect_bars(axes[0, 0], PAIR)
    total = sum(EFFECTS.values())
    corners = [
        [path.vertices for path in bars.get_paths()] for bars in ax.collections
    ]  # (part, word, corner)
    per_word = np.array([[box[1, 0] - box[0, 0] for box in part] for part in corners]).sum(axis=0)
    np.testing.assert_allclose(per_word, total)
    np.testing.assert_allclose(ax.lines[0].get_xdata(), total)


def test_the_boundary_of_mining_minimises_the_areas_that_are_printed():
    sample = samples(0.3, 3000)
    fits = separation(sample["matched"], sample["mismatched"])
    numbers = (fits.mean_matched, fits.std_matched, fits.mean_mismatched, fits.std_mismatched)
    best = optimal_boundary(*numbers, alpha=2.0)

    def price(boundary):
        result = separation(sample["matched"], sample["mismatched"], boundary=boundary, alpha=2.0)
        return 2 * result.taken_as_matched + result.taken_as_mismatched

    assert price(best) < min(price(best - 0.01), price(best + 0.01))
    at = np.array([best])
    assert fits.density_matched(at) == pytest.approx(2 * fits.density_mismatched(at), rel=1e-6)


def test_separation_counts_what_it_says():
    matched, mismatched = np.array([0.2, 0.5, 0.9, 0.9]), np.array([0.1, 0.5, 0.3])
    found = separation(matched, mismatched, boundary=0.5)
    right = [(m > n) + 0.5 * (m == n) for m in matched for n in mismatched]
    assert found.auc == pytest.approx(np.mean(right))
    assert found.taken_as_mismatched == pytest.approx(norm.cdf(0.5, matched.mean(), matched.std(ddof=1)))
    assert found.three_sigma == pytest.approx(matched.mean() - 3 * matched.std(ddof=1))


def test_overlap_is_one_for_equal_samples_and_nothing_far_apart():
    sample = RNG.normal(0, 1, 99)
    assert separation(sample, sample).overlap == pytest.approx(1, abs=1e-6)
    assert separation(sample + 50, sample).overlap == pytest.approx(0, abs=1e-6)
    two = separation([-1.0, 1.0], [1.0, 3.0])  # equal deviations s, means d apart: 2 Phi(-d / 2s)
    assert two.overlap == pytest.approx(2 * norm.cdf(-2 / (2 * np.sqrt(2))), abs=1e-6)


def test_coverage_is_the_share_of_running_words_that_occur_often_enough():
    axes = style.panels(1, 1)[1]
    ax = data.vocabulary_coverage(
        axes[0, 0], COUNTS, {"dev": Counter({"a": 6, "zebra": 3, "new": 1})}, min_count=4
    )
    share = ax.lines[0].get_ydata()
    assert share[0] == pytest.approx(90)
    assert share[1] == pytest.approx(60)


def test_a_picture_is_made_smaller_but_not_distorted(tmp_path):
    from PIL import Image

    path = tmp_path / "picture.png"
    Image.fromarray(np.zeros((300, 900, 3), np.uint8)).save(path)
    assert pictures.read_picture(path, largest=90).shape == (30, 90, 3)
    assert pictures.read_picture(None) is None


def test_no_title_of_an_attention_panel_touches_its_number():
    words = ["extraordinarily", "WWWWWWWWWWWW", "a", "very-long-compound-word", "iiiiiiiiiiiiiiiiiiii", "dog"]
    weight = RNG.dirichlet(np.full(REGIONS, 0.3), len(words))
    pair = pair_of(["", *words, ""], np.pad(weight, ((1, 1), (0, 0))), negative_effect=np.full(8, -0.25))
    figure = attention.attention_figure(pair, CANVAS)
    figure.canvas.draw()
    for ax, word in zip(figure.axes, words, strict=False):
        middle, left, right = (
            title for title in (ax.title, ax._left_title, ax._right_title)
        )  # the word stands at the left
        assert left.get_text().removesuffix("…") == word[: len(left.get_text().removesuffix("…"))]
        assert middle.get_text() == ""
        assert left.get_window_extent().x1 < right.get_window_extent().x0


def test_bars_and_cosines_of_a_word_stand_side_by_side():
    figure = pairs.words_figure(PAIR)
    figure.canvas.draw()
    bars, matrix = figure.axes[2:4]
    for row in range(len(WORDS)):
        heights = [ax.transData.transform((0, row))[1] for ax in (bars, matrix)]
        assert heights[0] == pytest.approx(heights[1], abs=0.5)


def test_two_models_have_a_mark_each_and_one_of_chance():
    axes = style.panels(1, 1)[1]
    ax = measures.rates(axes[0, 0], {"naaf": RATES, "scan": RATES / 2})
    legend = dict(zip(ax.get_legend_handles_labels()[1], ax.get_legend_handles_labels()[0], strict=True))
    assert list(legend) == ["naaf", "scan", "chance"]
    assert legend["naaf"].get_xdata()[0] == 80
    assert legend["scan"].get_xdata()[0] == 40
    assert [text.get_text() for text in ax.texts] == ["80.0  40.0", "99.5  49.8"]


def test_a_model_without_boundary_is_not_said_to_mismatch():
    figure = pairs.words_figure(pair_of(WORDS, WEIGHT, feature_effect=WEIGHT[:, 0]))
    said = " ".join(text.get_text() for text in texts(figure))
    assert "match" not in said
    assert "effect" in [text.get_text() for text in figure.axes[2].get_legend().get_texts()]


def test_a_score_that_is_no_mean_of_the_words_is_not_said_to_be_one():
    """LogSumExp pooling."""
    axes = style.panels(1, 2)[1][0]
    pooled = pair_of(WORDS, WEIGHT, feature_effect=WEIGHT[:, 0])
    assert "the mean of" in captions.effect_bars(axes[0], pooled).get_title("left")
    pooled.score = 3.5
    ax = captions.effect_bars(axes[1], pooled)
    assert ax.get_title("left") == "score 3.500: pooled from the words' totals"
    (line,) = (line for line in ax.lines if line.get_label() == "score")
    assert line.get_xdata()[0] == 3.5
    assert ax.get_xlim()[1] > 3.5


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_stands_on_a_white_card(name):
    """It can be read in JupyterLab's dark theme, in a report and on paper."""
    pixels = image.imread(BytesIO(style.png(FIGURES[name](), dpi=60)))
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (pixels[..., 3:] == 1).all()
    assert (edge[:, :3] > 0.9).all()
