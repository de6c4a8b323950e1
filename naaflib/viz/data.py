"""What a data set looks like: caption lengths, word frequencies, what a vocabulary covers, feature norms."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from . import style
from .style import seaborn, styled


@styled
def caption_lengths(ax: Axes, lengths: Mapping[str, np.ndarray]) -> Axes:
    """Share of captions by their number of words (<start> and <end> not counted), a line a split."""
    for colour, (split, values) in zip(style.cycle(len(lengths)), lengths.items(), strict=True):
        name = f"{split}: {len(values):,} captions, median {int(np.median(values))}"
        _outline(ax, values, colour, name, discrete=True)
    ax.set(title="Caption lengths", xlabel="words in a caption", ylabel="captions, %", ylim=(0, None))
    most = max(np.quantile(values, 0.999) for values in lengths.values())  # of all but 0.1 % of the captions
    ax.set_xlim(0, int(most) + 1)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.legend_below(ax)
    return style.grid_lines(ax)


def _outline(ax: Axes, values: np.ndarray, colour: str, label: str, **bins: object) -> None:
    """The outline of a histogram in percent."""
    look = {"element": "step", "fill": False, "color": colour, "linewidth": 1.3}
    seaborn().histplot(x=values, stat="percent", label=label, **look, **bins, ax=ax)


@styled
def word_frequencies(ax: Axes, counts: Mapping[str, int], *, min_count: int) -> Axes:
    """How often each word occurs, the most frequent first, both axes logarithmic; some words by name.

    min_count: the vocabulary's threshold, drawn as the line between known and unknown words.
    """
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    count = np.array([n for _, n in ordered])
    ax.plot(np.arange(1, len(count) + 1), count, color=style.MATCHED)
    for place in np.unique(np.geomspace(1, len(count), 6).astype(int)):
        word, times = ordered[place - 1]
        ax.plot(place, times, "o", color=style.MATCHED, markersize=3)
        ha, shift = ("left", 3) if place < len(count) ** 0.9 else ("right", -3)
        where = {"xytext": (shift, 3), "textcoords": "offset points", "ha": ha}
        ax.annotate(word, (place, times), **where, fontsize=7, parse_math=False)
    known = int((count >= min_count).sum())
    ax.axhline(min_count, color=style.MISMATCHED, linewidth=1, linestyle=(0, (4, 2)))
    text = f"{known:,} of {len(count):,} words occur at least {min_count} times"
    ax.text(0.98, 0.97, text, transform=ax.transAxes, ha="right", va="top", fontsize=7)
    ax.set(xscale="log", yscale="log", xlabel="word, by frequency", ylabel="occurrences")
    ax.set_title("Word frequencies")
    return style.grid_lines(ax)


@styled
def vocabulary_coverage(
    ax: Axes,
    train: Mapping[str, int],
    others: Mapping[str, Mapping[str, int]],
    *,
    min_count: int,
) -> Axes:
    """Running words of each split that a vocabulary knows, by the threshold it was built with.

    train: counts of the train captions, from which vocabularies are built; others: counts of each split.
    """
    thresholds = np.arange(1, max(10, min_count) + 1)
    for split, counts in others.items():
        total = sum(counts.values())
        known = [sum(n for word, n in counts.items() if train.get(word, 0) >= least) for least in thresholds]
        share = 100 * np.array(known) / max(total, 1)
        ax.plot(thresholds, share, marker="o", markersize=3, label=split)
    ax.axvline(min_count, color=style.INK, linewidth=0.9, linestyle=(0, (2, 2)), label=f"in use: {min_count}")
    ax.set(xlabel="least count in the train captions", ylabel="running words known, %")
    ax.set_title("Vocabulary coverage")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.ticklabel_format(axis="y", useOffset=False)  # near 100 % the labels would count from an offset
    style.legend(ax, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return style.grid_lines(ax)


@styled
def feature_norms(ax: Axes, norms: Mapping[str, np.ndarray]) -> Axes:
    """Lengths of the region features, a histogram a split; NaN (padding) is left out."""
    norms = {split: values[np.isfinite(values)] for split, values in norms.items()}
    everything = np.concatenate([*norms.values()])
    low, high = float(everything.min()), float(everything.max())
    room = max(0.02 * (high - low), 1e-3 * max(high, 1.0))
    bins = np.linspace(max(low - room, 0.0), high + room, 61)
    for colour, (split, values) in zip(style.cycle(len(norms)), norms.items(), strict=True):
        name = f"{split}: {values.mean():.3g} ± {values.std():.2g}"
        _outline(ax, values, colour, name, bins=bins)
    ax.set(title="Feature norms", xlabel="norm of a region's feature", ylabel="regions, %")
    style.legend_below(ax)
    return style.grid_lines(ax)
