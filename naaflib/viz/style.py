"""One look for every figure: colours that colour-blind readers can tell apart, sizes, a figure of its own.

Figures are made without pyplot, so nothing stays open and no backend is chosen; a notebook still shows them.
Colours are those of Okabe and Ito. Blue always means matched, vermilion always mismatched.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from io import BytesIO
from threading import RLock
from types import ModuleType
from typing import ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.transforms import ScaledTranslation

from ..messages import say

__all__ = ["Figure", "to_hex"]  # of matplotlib, for modules that draw nothing themselves

Number = float | int | np.number
Values = Sequence | np.ndarray | pd.Series
P = ParamSpec("P")
R = TypeVar("R")

COLUMN = 3.4  # inches: one column of a two-column paper
PAGE = 7.0  # inches: its full text width
DPI = 200

MATCHED = "#0072B2"
FEATURES = "#0072B2"  # matched effect, from features
RELEVANCE = "#56B4E9"  # matched effect, from relevance
MISMATCHED = "#D55E00"
BOUNDARY = "#000000"
INFERENCE_BOUNDARY = "#009E73"
RIGHT = "#009E73"
WRONG = "#8A8A8A"
ACCENT = "#CC79A7"
INK = "#222222"
FAINT = "#B5B5B5"
SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")

FONT = "DejaVu Sans"  # ships with matplotlib: the same figure on every machine
FALLBACKS = (  # for letters that FONT lacks, where they are installed
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "Droid Sans Fallback", "Microsoft YaHei", "PingFang SC", "Hiragino Sans",
    "Yu Gothic", "Malgun Gothic", "Apple SD Gothic Neo", "Arial Unicode MS", "Noto Sans Devanagari",
    "Nirmala UI", "Noto Sans Thai",
)  # fmt: skip
INSTALLED = {font.name for font in fontManager.ttflist}
FONTS = [FONT, *(name for name in FALLBACKS if name in INSTALLED)]
HOUSE: dict[str, object] = {
    "figure.dpi": 100,
    "text.parse_math": False,  # a $ in a name or a caption is a $
    "savefig.dpi": DPI,
    "pdf.fonttype": 42,
    "text.hinting": "none",  # a text is as wide as `captions.text_width` says, at any resolution
    "font.family": FONTS,
    "font.size": 8.0,
    "text.color": INK,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "axes.prop_cycle": mpl.cycler(color=SERIES),
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.0,
    "patch.linewidth": 0.7,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "legend.handlelength": 1.5,
}

NOT_DRAWN = ("backend", "interactive", "toolbar", "keymap.", "webagg.", "timezone", "date.epoch")
with warnings.catch_warnings():  # a default may be deprecated
    warnings.simplefilter("ignore")
    RC = {
        name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith(NOT_DRAWN)
    } | HOUSE

MISSING = r"Glyph \d+ \(.*\) missing from"
_inside: ContextVar[bool] = ContextVar("inside", default=False)
_drawing = RLock()  # matplotlib's settings belong to the process: one thread draws at a time
_told: set[str] = set()


@contextmanager
def house_style() -> Iterator[None]:
    """Draw under RC, matplotlib's own defaults and ours, whatever the reader's matplotlibrc says.

    Letters that no installed font has are told once, in a sentence, instead of a warning a letter.
    """
    if _inside.get():
        yield
        return
    token = _inside.set(True)
    try:
        with _drawing, mpl.rc_context(RC), warnings.catch_warnings(record=True) as caught:
            warnings.filterwarnings("always", MISSING)
            yield
    finally:
        _inside.reset(token)
    missing = []
    for warning in caught:
        found = re.match(r"Glyph (\d+) ", str(warning.message))
        if found:
            missing.append(chr(int(found[1])))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    _tell(missing)


def _tell(missing: Sequence[str]) -> None:
    new = dict.fromkeys(letter for letter in missing if letter not in _told)
    if new and not _told:
        letters = " ".join([*new][:5]) + (" and others" if len(new) > 5 else "")
        say(
            f"no installed font has {letters}: figures show empty boxes instead; install one that has them, "
            "such as Noto Sans CJK (Debian: fonts-noto-cjk), and start again"
        )
    _told.update(new)


class NotebookFigure(Figure):
    """A figure that pyplot does not know of; Jupyter shows it by `_repr_png_`, sharp and at its true size."""

    def savefig(self, *args, **kwargs) -> None:
        with house_style():
            super().savefig(*args, **kwargs)

    def add_subplot(self, *args, **kwargs) -> Axes:
        with house_style():
            return super().add_subplot(*args, **kwargs)

    def subplots(self, *args, **kwargs) -> Axes | np.ndarray:
        with house_style():
            return super().subplots(*args, **kwargs)

    def _repr_png_(self, dpi: int = DPI) -> tuple[bytes, dict[str, int]]:
        width, height = (round(100 * float(inches)) for inches in self.get_size_inches())
        return png(self, dpi), {"width": width, "height": height}


def cycle(count: int) -> list[str]:
    """So many colours of SERIES, from the first again after the last."""
    return [SERIES[k % len(SERIES)] for k in range(count)]


def seaborn() -> ModuleType:
    """seaborn, imported when it first draws: it imports pyplot, though it draws into our Axes without it."""
    import seaborn

    return seaborn


def png(figure: Figure, dpi: int = DPI) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def figure(width: Number = PAGE, height: Number = 2.6, title: str | None = None) -> NotebookFigure:
    """An empty figure, sizes in inches. It belongs to whoever holds it and is freed with the last name."""
    with house_style():
        made = NotebookFigure(figsize=(width, height), layout="constrained", facecolor="white")
        FigureCanvasAgg(made)
        if title:
            made.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    return made


def panels(
    rows: int = 1,
    columns: int = 1,
    *,
    width: Number = PAGE,
    height: Number = 2.6,
    title: str | None = None,
    **grid,
) -> tuple[NotebookFigure, np.ndarray]:
    """A figure and its Axes as an array (rows, columns). `grid` goes to `Figure.subplots`."""
    made = figure(width, height, title)
    return made, made.subplots(rows, columns, squeeze=False, **grid)


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function under the house style, whatever the reader's own matplotlib settings are."""

    @wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with house_style():
            return draw(*args, **kwargs)

    return inner


@styled
def grid_lines(ax: Axes, axis: str = "y") -> Axes:
    """Light lines that let the eye read a value."""
    ax.grid(True, axis=axis)
    return ax


def bare(ax: Axes) -> Axes:
    """No ticks, no frame: for pictures and text."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    return ax


@styled
def legend(ax: Axes, **options) -> None:
    """The legend with its entries close together."""
    ax.legend(**{"borderaxespad": 0.3, "handletextpad": 0.5, "labelspacing": 0.3, **options})


@styled
def legend_below(ax: Axes, points: Number = 30, **options) -> None:
    """The legend under the Axes, so many points below its lower edge: no data can lie behind it."""
    below = ax.transAxes + ScaledTranslation(0, -points / 72, ax.figure.dpi_scale_trans)
    legend(ax, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, **options)


def diverging() -> Colormap:
    """Vermilion (mismatched) over white to blue (matched); grey where there is no number."""
    colours = LinearSegmentedColormap.from_list("mismatched-matched", [MISMATCHED, "#FFFFFF", MATCHED])
    return colours.with_extremes(bad=FAINT)


def heat() -> Colormap:
    """Transparent to strong: what is laid over a picture. More attention is less transparent and darker."""
    low, high = np.array([1.0, 0.85, 0.2]), np.array([0.75, 0.05, 0.1])
    steps = np.linspace(0, 1, 256)[:, None]
    colours = np.hstack([low + (high - low) * steps, 0.7 * steps])
    return LinearSegmentedColormap.from_list("attention", colours)


def veil() -> Colormap:
    """Grey to transparent: laid over a picture in its colours, it leaves clear what gets attention."""
    return LinearSegmentedColormap.from_list("veil", [(0.55, 0.55, 0.55, 0.7), (0.55, 0.55, 0.55, 0.0)])


def short(word: str, most: int) -> str:
    """The word in at most so many letters, the last of them an ellipsis where it is cut."""
    return word if len(word) <= most else word[: most - 1] + "…"


def signed(value: Number, digits: int = 2) -> str:
    """+0.31, −0.20, 0: a minus as long as the plus is wide, and no sign on nothing."""
    rounded = round(float(value), digits)
    return "0" if rounded == 0 else f"{rounded:+.{digits}f}".replace("-", "−")


def plain(value: Number, digits: int = 2) -> str:
    """0.31, −0.20: with a typographic minus, as the axes have it."""
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "−")
