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
    last = max(int(np.max(values)) for values in lengths.values())
    for k, (split, values) in enumerate(lengths.items()):
        share = 100 * np.bincount(np.asarray(values, dtype=int), minlength=last + 1) / len(values)
        name = f"{split}: {len(values):,} captions, median {int(np.median(values))}"
        ax.step(
            np.arange(last + 1), share, where="mid", color=style.SERIES[k % len(style.SERIES)], label=name
        )
    ax.set(title="Caption lengths", xlabel="words in a caption", ylabel="captions, %", ylim=(0, None))
    ax.set_xlim(0, _last_common(lengths) + 1)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.legend_below(ax)
    return style.grid_lines(ax)


def _last_common(lengths: Mapping[str, np.ndarray]) -> int:
    """The length that all but 0.1 % of the captions stay below."""
    return int(max(np.quantile(values, 0.999) for values in lengths.values()))


@styled
def word_frequencies(
    ax: Axes, counts: Mapping[str, int], *, min_count: int | None = None, named: int = 6
) -> Axes:
    """How often each word occurs, the most frequent first, both axes logarithmic; some words by name.

    min_count: the vocabulary's threshold, drawn as the line between known and unknown words.
    """
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    count = np.array([n for _, n in ordered])
    ax.plot(np.arange(1, len(count) + 1), count, color=style.MATCHED)
    for place in np.unique(np.geomspace(1, len(count), named).astype(int)):
        ax.plot(place, count[place - 1], "o", color=style.MATCHED, markersize=3)
        right = place < len(count) ** 0.9
        ax.annotate(
            ordered[place - 1][0],
            (place, count[place - 1]),
            xytext=(3 if right else -3, 3),
            textcoords="offset points",
            fontsize=7,
            ha="left" if right else "right",
            parse_math=False,
        )
    if min_count is not None:
        known = int((count >= min_count).sum())
        ax.axhline(min_count, color=style.MISMATCHED, linewidth=1, linestyle=(0, (4, 2)))
        text = f"{known:,} of {len(count):,} words occur at least {min_count} times"
        ax.text(0.98, 0.97, text, transform=ax.transAxes, ha="right", va="top", fontsize=7)
    ax.set(
        xscale="log",
        yscale="log",
        title="Word frequencies",
        xlabel="word, by frequency",
        ylabel="occurrences",
    )
    return style.grid_lines(ax)


@styled
def vocabulary_coverage(
    ax: Axes,
    train: Mapping[str, int],
    others: Mapping[str, Mapping[str, int]],
    *,
    min_count: int,
    largest: int = 10,
) -> Axes:
    """Running words of each split that a vocabulary knows, by the threshold it was built with.

    train: counts of the train captions, from which vocabularies are built; others: counts of each split.
    """
    thresholds = np.arange(1, max(largest, min_count) + 1)
    for k, (split, counts) in enumerate(others.items()):
        total = sum(counts.values())
        known = [sum(n for word, n in counts.items() if train.get(word, 0) >= least) for least in thresholds]
        ax.plot(
            thresholds,
            100 * np.array(known) / max(total, 1),
            marker="o",
            markersize=3,
            color=style.SERIES[k % len(style.SERIES)],
            label=split,
        )
    ax.axvline(min_count, color=style.INK, linewidth=0.9, linestyle=(0, (2, 2)), label=f"in use: {min_count}")
    ax.set(
        title="Vocabulary coverage",
        xlabel="least count in the train captions",
        ylabel="running words known, %",
    )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.ticklabel_format(axis="y", useOffset=False)  # near 100 % the labels would count from an offset
    style.legend(ax, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return style.grid_lines(ax)


@styled
def feature_norms(ax: Axes, norms: Mapping[str, np.ndarray]) -> Axes:
    """Lengths of the region features, a histogram a split; norms of 0 are regions without content."""
    everything = np.concatenate([np.ravel(values) for values in norms.values()])
    low, high = float(everything.min()), float(everything.max())
    room = max(0.02 * (high - low), 1e-3 * max(high, 1.0))
    bins = np.linspace(max(low - room, 0.0), high + room, 61)
    for k, (split, values) in enumerate(norms.items()):
        values = np.ravel(values)
        name = f"{split}: {values.mean():.3g} ± {values.std():.2g}"
        look = {"color": style.SERIES[k % len(style.SERIES)], "linewidth": 1.3, "label": name}
        seaborn().histplot(x=values, bins=bins, stat="percent", element="step", fill=False, **look, ax=ax)
    ax.set(title="Feature norms", xlabel="norm of a region's feature", ylabel="regions, %")
    style.legend_below(ax)
    return style.grid_lines(ax)
