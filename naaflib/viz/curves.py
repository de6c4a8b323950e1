"""Training as curves: loss, recalls, rsum, and the boundary between the two samples of similarities.

`history` is a run's history.csv (a row an epoch), `steps` its steps.csv (a row a step), as DataFrames.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from ..metric.retrieval import RECALL_RANKS, best_row
from . import style
from .ranks import DIRECTIONS
from .style import Number, styled

_K_COLOURS = dict(zip(RECALL_RANKS, style.SERIES, strict=False))
DASHES = dict(zip(DIRECTIONS, ("-", (0, (3, 1.5))), strict=True))


@styled
def loss(
    ax: Axes,
    history: pd.DataFrame,
    steps: pd.DataFrame | None = None,
    equal_scores: Sequence[float] | None = None,
) -> Axes:
    """Mean loss a batch at each epoch's end; where steps are given, each step's loss behind it.

    equal_scores: what a batch of equal scores would cost in each epoch, as a line that training has to leave.
    Logarithmic where an epoch's mean is more than 20 times another's, as after a warm-up on all negatives.
    """
    if equal_scores is not None:
        edges = np.append(0, history["epoch"])
        ax.stairs(equal_scores, edges, baseline=None, color=style.ACCENT, linestyle="--", linewidth=1)
        ax.plot([], [], color=style.ACCENT, linestyle="--", linewidth=1, label="equal scores")
    if steps is not None and len(steps):
        at = _epoch_of_step(steps)
        ax.plot(at, steps["loss"], color=style.FAINT, linewidth=0.5, label="each step")
    rows = history.dropna(subset=["loss"])
    ax.plot(rows["epoch"], rows["loss"], color=style.INK, marker="o", label="epoch mean", clip_on=False)
    ax.set(title="Loss", xlabel="epoch", ylabel="hinge loss, sum over a batch")
    if len(rows) and rows["loss"].min() > 0 and rows["loss"].max() > 20 * rows["loss"].min():
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(LogFormatter())  # matplotlib's usual one writes mathtext
    else:
        _room_above_zero(ax)
    style.legend(ax)
    return _epochs(ax)


@styled
def recalls(ax: Axes, history: pd.DataFrame) -> Axes:
    """The six recalls on the validation split: solid image to text, dashed text to image."""
    look = {"marker": "o", "markersize": 2.5}
    for (way, dash), (k, colour) in product(DASHES.items(), _K_COLOURS.items()):
        ax.plot(history["epoch"], history[f"{way}_at_{k}"], color=colour, linestyle=dash, **look)
    entries = [ax.plot([], [], color=colour, label=f"R@{k}")[0] for k, colour in _K_COLOURS.items()]
    entries += [
        ax.plot([], [], color=style.INK, linestyle=dash, label=DIRECTIONS[way])[0]
        for way, dash in DASHES.items()
    ]
    ax.set(title="Recalls", xlabel="epoch", ylabel="queries answered, %", ylim=(0, 102))
    style.legend(ax, handles=entries, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _epochs(ax)


@styled
def batch_recalls(ax: Axes, steps: pd.DataFrame) -> Axes:
    """R@1 within the training batches, smoothed over 25 steps, and the weight of the hardest negatives."""
    at = _epoch_of_step(steps)
    for way, dash in DASHES.items():
        smooth = steps[f"batch_{way}_at_1"].rolling(25, min_periods=1, center=True).mean()
        ax.plot(at, smooth, color=style.SERIES[0], linestyle=dash, label=DIRECTIONS[way])
    weight = 100 * steps["hardest_weight"]
    ax.plot(at, weight, color=style.FAINT, linewidth=1, label="weight of the hardest")
    ax.set(title="In-batch R@1", xlabel="epoch", ylabel="own pairs found, %", ylim=(0, 102))
    style.legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _epochs(ax)


@styled
def rsum(ax: Axes, history: pd.DataFrame) -> Axes:
    """The sum of the six recalls; the best epoch is the one whose checkpoint is kept."""
    ax.plot(history["epoch"], history["rsum"], color=style.MATCHED, marker="o")
    if history["rsum"].notna().any():
        best = best_row(history)
        ring = {"color": style.ACCENT, "markersize": 8, "fillstyle": "none", "markeredgewidth": 1.5}
        ax.plot(best["epoch"], best["rsum"], "o", **ring)
        text = f"best {best['rsum']:.1f} at epoch {int(best['epoch'])}"
        ax.text(0.97, 0.06, text, transform=ax.transAxes, ha="right", fontsize=7.5)
    ax.set(title="Sum of recalls (rsum)", xlabel="epoch", ylabel="rsum, of 600")
    _room_above_zero(ax)
    return _epochs(ax)


@styled
def boundary(ax: Axes, frame: pd.DataFrame, x: str = "epoch") -> Axes:
    """Mean ± one standard deviation of both samples, the boundary t and the inference boundary.

    frame: history or steps; x: its column to draw against, "epoch" or "step".
    """
    at, thin = frame[x], {"linewidth": 0.7 if x == "step" else 1.4}
    for kind, colour in (("matched", style.MATCHED), ("mismatched", style.MISMATCHED)):
        mean, std = frame[f"mean_{kind}"], frame[f"std_{kind}"]
        ax.fill_between(at, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)
        ax.plot(at, mean, color=colour, label=f"{kind}, mean ± sd", **thin)
    ax.plot(at, frame["boundary"], color=style.BOUNDARY, label="boundary t", **thin)
    inference = frame["inference_boundary"]
    ax.plot(at, inference, color=style.INFERENCE_BOUNDARY, label="inference boundary", **thin)
    ax.set(title="Boundary and samples", xlabel=x, ylabel="best cosine of a word")
    style.legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _epochs(ax) if x == "epoch" else style.grid_lines(ax)


@styled
def gradient_norm(ax: Axes, steps: pd.DataFrame, clip: Number | None = None) -> Axes:
    """Gradient norm before clipping at each step, on a logarithmic axis, and the norm it is clipped to."""
    ax.plot(steps["step"], steps["grad_norm"], color=style.FAINT, linewidth=0.6)
    if clip is not None:
        ax.axhline(clip, color=style.MISMATCHED, linewidth=1, label=f"clipped at {clip:g}")
        style.legend(ax)
    ax.set(title="Gradient norm", xlabel="step", ylabel="norm before clipping", yscale="log")
    return style.grid_lines(ax)


@styled
def training_figure(
    history: pd.DataFrame,
    steps: pd.DataFrame | None = None,
    title: str | None = None,
    equal_scores: Sequence[float] | None = None,
) -> Figure:
    """Loss, recalls, rsum and boundary of one run on one page; the in-batch recalls where steps have them.

    equal_scores: as `loss` takes them.
    """
    has_steps = steps is not None and len(steps) > 0
    in_batch = has_steps and "batch_i2t_at_1" in steps and steps["batch_i2t_at_1"].notna().any()
    rows = 3 if in_batch else 2
    figure, axes = style.panels(rows, 2, width=style.PAGE + 1.0, height=2.3 * rows, title=title)
    loss(axes[0, 0], history, steps, equal_scores)
    recalls(axes[0, 1], history)
    rsum(axes[1, 0], history)
    if has_steps:
        boundary(axes[1, 1], steps, x="step")
    else:
        boundary(axes[1, 1], history)
    if in_batch:
        gradient_norm(axes[2, 0], steps)
        batch_recalls(axes[2, 1], steps)
    return figure


@styled
def members_figure(histories: dict[str, pd.DataFrame], title: str | None = None) -> Figure:
    """Loss, rsum and boundary of several runs over each other: do the seeds agree?"""
    figure, axes = style.panels(1, 3, height=2.3, title=title)
    shown = (("loss", "Loss"), ("rsum", "Sum of recalls (rsum)"), ("boundary", "Boundary t"))
    for ax, (column, heading) in zip(axes[0], shown, strict=True):
        for name, history in histories.items():
            ax.plot(history["epoch"], history[column], marker="o", markersize=3, label=name)
        ax.set(title=heading, xlabel="epoch")
        _epochs(ax)
    style.legend(axes[0, 0])
    return figure


def _epoch_of_step(steps: pd.DataFrame) -> np.ndarray:
    """Steps on the axis of epochs: the last step of epoch e stands at e."""
    within = steps.groupby("epoch").cumcount() + 1
    return (steps["epoch"] - 1 + within / steps.groupby("epoch")["step"].transform("size")).to_numpy()


def _room_above_zero(ax: Axes) -> None:
    ax.set_ylim(bottom=0, top=ax.get_ylim()[1] * 1.05)


def _epochs(ax: Axes) -> Axes:
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    return style.grid_lines(ax)
