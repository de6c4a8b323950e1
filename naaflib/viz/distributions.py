"""Similarities of matched and mismatched words as distributions, and where a boundary cuts them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from scipy.stats import gaussian_kde

from ..metric.separation import Separation, separation
from . import style
from .style import Number, Values, seaborn, styled

Samples = tuple[np.ndarray, np.ndarray]  # matched, mismatched
_OVERLAP = 1.3  # height of a ridge, in rows


@styled
def distribution(
    ax: Axes,
    matched: Values,
    mismatched: Values,
    *,
    boundary: Number | None = None,
    inference_boundary: Number | None = None,
    alpha: Number = 2.0,
    title: str = "",
    bins: np.ndarray | int = 60,
) -> Axes:
    """Histograms and Gaussian fits; lines at t and mu+ - 3 sigma+; the areas that t minimises, shaded.

    alpha E1: under alpha times the mismatched fit, right of t. E2: under the matched fit, left of t.
    """
    numbers = separation(matched, mismatched, boundary=boundary, alpha=alpha)
    if isinstance(bins, int):
        bins = np.linspace(*_span([(matched, mismatched)]), bins + 1)
    at = np.linspace(bins[0], bins[-1], 600)
    for sample, fit, colour, name in (
        (matched, numbers.density_matched(at), style.MATCHED, "matched"),
        (mismatched, numbers.density_mismatched(at), style.MISMATCHED, "mismatched"),
    ):
        seaborn().histplot(x=sample, bins=bins, stat="density", color=colour, alpha=0.25, linewidth=0, ax=ax)
        ax.plot(at, fit, color=colour, label=f"{name}: histogram, Gaussian fit")
    if boundary is not None:
        _shade_errors(ax, at, numbers)
        ax.axvline(boundary, color=style.BOUNDARY, linewidth=1.3, label="boundary t")
    if inference_boundary is not None:
        dashed = {"color": style.INFERENCE_BOUNDARY, "linewidth": 1.3, "linestyle": (0, (4, 2))}
        ax.axvline(inference_boundary, **dashed, label="inference boundary (μ₊ − 3σ₊)")
    ax.set(xlabel="largest cosine of a word over the regions", ylabel="density", xlim=(bins[0], bins[-1]))
    ax.set_title(title, pad=24)
    ax.text(0, 1.015, _numbers(numbers), transform=ax.transAxes, va="bottom", fontsize=7, linespacing=1.3)
    return ax


def _shade_errors(ax: Axes, at: np.ndarray, numbers: Separation) -> None:
    weighted = numbers.alpha * numbers.density_mismatched(at)
    dotted = {"color": style.MISMATCHED, "linewidth": 0.9, "linestyle": (0, (2, 1.5))}
    ax.plot(at, weighted, **dotted, label="α × mismatched fit")
    matched = numbers.density_matched(at)
    for height, where, colour, hatch, label in (
        (weighted, at >= numbers.boundary, style.MISMATCHED, 5 * "/", "α·E₁: mismatched taken as matched"),
        (matched, at <= numbers.boundary, style.MATCHED, 5 * "\\", "E₂: matched taken as mismatched"),
    ):
        look = {"facecolor": "none", "edgecolor": colour, "hatch": hatch, "linewidth": 0}
        ax.fill_between(at, height, where=where, **look, label=label)


def _numbers(numbers: Separation) -> str:
    second = f"AUC {numbers.auc:.3f},  overlap of the fits {numbers.overlap:.3f}"
    if numbers.boundary is None:
        return f"no boundary\n{second}"
    weighted = numbers.alpha * numbers.taken_as_matched
    first = (
        f"t {numbers.boundary:.3f}:  α·E₁ = {numbers.alpha:g} × {numbers.taken_as_matched:.3f} "
        f"= {weighted:.3f},  E₂ = {numbers.taken_as_mismatched:.3f}"
    )
    return f"{first}\n{second}"


def _span(samples: Sequence[Samples]) -> tuple[float, float]:
    """From the lowest to the highest value of all samples, a little room at both ends."""
    low = min(float(np.min(part)) for pair in samples for part in pair)
    high = max(float(np.max(part)) for pair in samples for part in pair)
    room = 0.03 * max(high - low, 1e-6)
    return low - room, high + room


@styled
def distribution_figure(
    panels: Mapping[str, Mapping], *, alpha: Number = 2.0, title: str | None = None
) -> Figure:
    """Several distributions side by side on the same axes, such as before and after training.

    panels: title -> {"matched", "mismatched", "boundary", "inference_boundary"}, as a run's samples hold them
    (the boundaries may be missing); one legend for all.
    """
    width, columns = (style.PAGE, 3) if len(panels) > 1 else (4.6, 2)
    figure = style.figure(width, 3.6, title)
    grid = figure.add_gridspec(2, len(panels), height_ratios=[2.9, 0.5 if columns == 3 else 0.7])
    bins = np.linspace(*_span([(p["matched"], p["mismatched"]) for p in panels.values()]), 71)
    entries: dict[str, object] = {}
    for k, (name, panel) in enumerate(panels.items()):
        ax = figure.add_subplot(grid[0, k])
        lines = _boundaries(panel)
        distribution(ax, panel["matched"], panel["mismatched"], **lines, alpha=alpha, title=name, bins=bins)
        entries |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    below = style.bare(figure.add_subplot(grid[1, :]))
    named = {"handles": entries.values(), "labels": entries.keys()}
    style.legend(below, **named, loc="upper left", ncols=columns, columnspacing=1.2)
    return figure


def _boundaries(panel: Mapping) -> dict[str, float | None]:
    """The two boundaries of a run's samples; None where missing, and where both are 0: nothing is mined."""
    names = ("boundary", "inference_boundary")
    given = {name: None if panel.get(name) is None else float(panel[name]) for name in names}
    return given if any(given.values()) else dict.fromkeys(names)


@styled
def cumulative(ax: Axes, matched: Values, mismatched: Values, *, boundary: Number | None = None) -> Axes:
    """Share of each sample at or below a similarity: no bins, no fit."""
    for sample, colour, name in (
        (matched, style.MATCHED, "matched"),
        (mismatched, style.MISMATCHED, "mismatched"),
    ):
        seaborn().ecdfplot(x=sample, color=colour, label=name, ax=ax)
    if boundary is not None:
        ax.axvline(boundary, color=style.BOUNDARY, linewidth=1.3, label=f"boundary t = {boundary:.3f}")
    ax.set(xlabel="largest cosine of a word over the regions", ylabel="share at or below", ylim=(0, 1.01))
    style.legend_below(ax, ncols=2)
    return style.grid_lines(ax)


@styled
def ridgeline(ax: Axes, samples: Mapping[int, Mapping]) -> Axes:
    """Both distributions at each epoch, the first at the top; a black tick is that epoch's boundary t.

    samples: epoch -> {"matched", "mismatched", "boundary"}; densities are smoothed, a scale a row.
    """
    at = np.linspace(*_span([(s["matched"], s["mismatched"]) for s in samples.values()]), 300)
    rows = {epoch: (_smooth(s["matched"], at), _smooth(s["mismatched"], at)) for epoch, s in samples.items()}
    for k, (epoch, pair) in enumerate(rows.items()):
        scale = _OVERLAP / float(np.max(np.stack(pair)))
        for density, colour in zip(pair, (style.MATCHED, style.MISMATCHED), strict=True):
            ax.fill_between(at, -k, scale * density - k, color=colour, alpha=0.45, linewidth=0, zorder=2 * k)
            ax.plot(at, scale * density - k, color=colour, linewidth=0.8, zorder=2 * k + 1)
        boundary = _boundaries(samples[epoch])["boundary"]
        if boundary is not None:
            ax.plot([boundary] * 2, [-k, -k + 0.75], color=style.BOUNDARY, linewidth=1.5, zorder=2 * k + 1)
    ax.yaxis.set_major_locator(FixedLocator([-k for k in range(len(rows))]))
    ax.set_yticklabels([str(epoch) for epoch in rows])
    ax.set(ylim=(-len(rows) + 0.9, _OVERLAP + 0.05), xlim=(at[0], at[-1]), ylabel="epoch")
    ax.set_xlabel("largest cosine of a word over the regions")
    for name, colour in (("matched", style.MATCHED), ("mismatched", style.MISMATCHED)):
        ax.fill_between([], [], color=colour, alpha=0.45, label=name)
    ax.plot([], [], color=style.BOUNDARY, linewidth=1.5, label="boundary t")
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    style.legend_below(ax, ncols=3)
    return ax


def _smooth(sample: np.ndarray, at: np.ndarray, most: int = 4000) -> np.ndarray:
    """Kernel density of at most so many values, evenly picked from the sorted sample."""
    ordered = np.sort(np.asarray(sample, dtype=float))
    picked = ordered[np.linspace(0, len(ordered) - 1, min(most, len(ordered))).astype(int)]
    return gaussian_kde(picked)(at)


@styled
def boundary_by_alpha(
    ax: Axes, alphas: Values, boundaries: Values, *, alpha: Number, inference_boundary: Number | None = None
) -> Axes:
    """The boundary t as a function of alpha, the alpha in use, and the level of the inference boundary."""
    ax.plot(alphas, boundaries, color=style.BOUNDARY, label="boundary t")
    there = np.interp(alpha, alphas, boundaries)
    ax.plot(alpha, there, "o", color=style.ACCENT, markersize=6, label=f"α = {alpha:g}")
    if inference_boundary is not None:
        dashed = {"color": style.INFERENCE_BOUNDARY, "linewidth": 1.2, "linestyle": (0, (4, 2))}
        ax.axhline(inference_boundary, **dashed, label="μ₊ − 3σ₊")
    ax.set(xscale="log", xlabel="α: price of taking a mismatched word as matched", ylabel="boundary")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    style.legend(ax)
    return style.grid_lines(ax)


@styled
def boundary_figure(
    matched: Values,
    mismatched: Values,
    alphas: Values,
    boundaries: Values,
    *,
    boundary: Number,
    alpha: Number,
    inference_boundary: Number | None = None,
) -> Figure:
    """Cumulative shares of both samples beside the boundary as a function of its price alpha."""
    figure, axes = style.panels(1, 2, height=2.9)
    left, right = axes[0]
    cumulative(left, matched, mismatched, boundary=boundary)
    left.set_title("Shares at or below a similarity")
    boundary_by_alpha(right, alphas, boundaries, alpha=alpha, inference_boundary=inference_boundary)
    right.set_title("The boundary for each α")
    return figure
