"""`python -m benchmarks.search RUN`: what a first stage of search keeps, and what a query costs.

Queries are captions and images of dev. The index of 1,000 images holds the first of train, each with its
first caption. Larger ones are synthetic: an image takes each region from one of two images of train, a
caption is one of train; noise of length NOISE is added to every unit vector. They have the sizes and the
spread of real ones; how alike the best answers of a query are may differ.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from naaflib.data.splits import Split, open_split
from naaflib.evaluation.encoding import encode_images
from naaflib.model.checkpoint import data_folder, load_checkpoint
from naaflib.model.model import Model
from naaflib.runs import Run
from naaflib.search import Index, Searcher
from naaflib.search.building import Content, add_part, encoded_words, start_index
from naaflib.search.candidates import FITTED, Stage, nearest
from naaflib.search.searcher import _captions, _images
from naaflib.viz import style

from .measure import machine

SIZES = (1_000, 20_000, 200_000)
SHARES = (0.1, 0.2, 0.5, 1, 2, 5, 10)  # percent of the images kept as candidates
QUERIES, TIMED, MOST_TIMED = 40, 20, 4_000  # candidates
TOP = 10
NOISE = 0.1
WAYS = ("text to image", "image to text")


class Real(NamedTuple):
    """What synthetic parts are made of: regions (N, R, D), and words of captions."""

    regions: Tensor
    words: list[Tensor]
    captions: list[str]


def real(model: Model, train: Split) -> Real:
    first = train.captions[:: train.captions_per_image]
    words = [w for start in range(0, len(first), 200) for w in _each(model, first[start : start + 200])]
    return Real(encode_images(model, train, slice(0, len(train))), words, first)


def _each(model: Model, captions: list[str]) -> Iterator[Tensor]:
    lengths = [len(model.text_encoder.ids(caption)) for caption in captions]
    return iter(encoded_words(model, captions).split(lengths))


def content(of: Real, images: int, seed: int = 0) -> Content:
    """A part of so many images, a caption each."""
    as_they_are = images <= 1_000
    rng = np.random.default_rng(seed)
    drawn = np.arange(images) if as_they_are else rng.integers(len(of.words), size=images)
    parents = drawn[:, None] if as_they_are else rng.integers(len(of.regions), size=(images, 2))

    def block(start: int, stop: int) -> tuple[Tensor, Tensor]:
        own = np.random.default_rng([seed, start])
        width = of.regions.shape[1]
        which = own.integers(parents.shape[1], size=(stop - start, width))
        rows = np.take_along_axis(parents[start:stop], which, axis=1)
        regions = of.regions[rows, np.arange(width)]
        words = torch.cat([of.words[place] for place in drawn[start:stop]])
        if as_they_are:
            return regions, words
        return _noisy(regions, own), _noisy(words, own)

    about = {"data": "synthetic", "split": "train", "captions_per_image": 1, "captions": images}
    return Content(
        {**about, "features": images, "made_by": None},
        [of.captions[place] for place in drawn],
        [f"image {place}" for place in range(images)],
        np.array([len(of.words[place]) for place in drawn]),
        of.regions.shape[1],
        block,
    )


def _noisy(vectors: Tensor, rng: np.random.Generator) -> Tensor:
    noise = rng.standard_normal(vectors.shape, np.float32) * NOISE / vectors.shape[-1] ** 0.5
    return normalize(vectors + torch.from_numpy(noise), dim=-1)


def truth(index: Index, model: Model, texts: list[str], images: Tensor) -> dict[str, np.ndarray]:
    """Places (query, TOP) of the best answers of each way, by all scores."""
    part, block = index.parts[0], 1_000
    words, lengths = model.encode_texts(texts)
    blocks = [np.arange(a, min(a + block, index.images)) for a in range(0, index.images, block)]
    by_text = torch.cat([model.score(_images(part, rows), words, lengths) for rows in blocks]).mT
    by_image = torch.cat([model.score(images, *_captions(part, rows)) for rows in blocks], dim=1)
    return {w: s.topk(TOP, dim=1).indices.numpy() for w, s in zip(WAYS, (by_text, by_image), strict=True)}


def kept(best: np.ndarray, vectors: Tensor, queries: Tensor, candidates: int) -> float:
    """Percent of the best answers that a first stage keeps."""
    found = [nearest(vectors, query, candidates) for query in queries]
    return 100 * float(np.mean([np.isin(one, own).mean() for one, own in zip(best, found, strict=True)]))


def measured(index: Index, model: Model, texts: list[str], images: Tensor) -> list[dict[str, object]]:
    """A row a way, stage and number of candidates; 100 percent is the exact search."""
    part, searcher = index.parts[0], Searcher(index)
    best = truth(index, model, texts, images)
    words, lengths = model.encode_texts(texts)
    packed = torch.cat([row[:n] for row, n in zip(words, lengths, strict=True)])
    plain = Stage(model, None)
    blocks = range(0, index.images, 2_000)
    means = [plain.of_images(_images(part, np.arange(a, min(a + 2_000, index.images)))) for a in blocks]
    ask: dict[str, Callable[..., object]] = {
        WAYS[0]: lambda query, **how: searcher.by_text(texts[query], **how),
        WAYS[1]: lambda query, **how: searcher.by_regions(images[query : query + 1], "image", **how),
    }
    rows: list[dict[str, object]] = []
    for name, stage, of_all in (
        (FITTED, searcher.stage, searcher.image_vectors),
        (plain_name := "mean", plain, torch.cat(means)),
    ):
        sides = (
            (of_all, stage.of_captions(packed, lengths.numpy())),
            (searcher.caption_vectors, stage.of_images(images)),
        )
        for way, (vectors, queries) in zip(WAYS, sides, strict=True):
            for share in SHARES:
                count = round(index.images * share / 100)
                if count < TOP:
                    continue
                row = {"images": index.images, "way": way, "stage": name, "percent": share}
                row["kept"] = kept(best[way], vectors, queries, count)
                if name != plain_name and count <= MOST_TIMED:
                    row |= timed(lambda query: ask[way](query, candidates=count), TIMED)  # noqa: B023
                rows.append(row)
                print(row, flush=True)
    for way in WAYS:
        row = {"images": index.images, "way": way, "stage": "exact", "percent": 100.0, "kept": 100.0}
        rows.append(row | timed(ask[way], 1))
        print(rows[-1], flush=True)
    return rows


def timed(ask: Callable[[int], object], queries: int) -> dict[str, float]:
    """Milliseconds a query, after one that is not counted."""
    ask(0)
    times = []
    for query in range(queries):
        started = time.perf_counter()
        ask(query)
        times.append(1000 * (time.perf_counter() - started))
    return {"median_ms": float(np.median(times)), "p95_ms": float(np.quantile(times, 0.95))}


@style.styled
def drawn(table: pd.DataFrame) -> style.Figure:
    """Kept against candidates, a panel a way; a colour a size; dashed: the plain baseline."""
    figure = style.NotebookFigure(figsize=(style.PAGE, 2.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, way in zip(axes, WAYS, strict=True):
        for (stage, images), rows in table[table["way"] == way].groupby(["stage", "images"]):
            if stage == "exact":
                continue
            colour = style.SERIES[sorted(set(table["images"])).index(images)]
            look = {"marker": "o", "label": f"{images:,} images"} if stage == FITTED else {"linestyle": "--"}
            ax.plot(rows["percent"], rows["kept"], color=colour, markersize=3, **look)
        ax.axhline(95, color=style.FAINT, linewidth=0.8, zorder=0)
        ax.set(title=way, xlabel="candidates, % of the index", xscale="log", ylim=(None, 101))
        ax.set_xticks(SHARES, [f"{share:g}" for share in SHARES])
        ax.minorticks_off()
    axes[0].set_ylabel("kept of the exact first ten, %")
    axes[1].plot([], [], color=style.INK, linestyle="--", label="mean, each size")
    style.legend(axes[1], loc="lower right")
    return figure


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--out", type=Path, default=Path("outputs/search.csv"))
    parser.add_argument("--figure", type=Path, default=Path("outputs/search.png"))
    parser.add_argument("--work", type=Path, help="folder for the indexes; default: a temporary one")
    arguments = parser.parse_args()
    run = Run.open(arguments.run)
    data, model = data_folder(run, arguments.data), load_checkpoint(run.path)
    print(machine())
    train, dev = open_split(data, "train"), open_split(data, "dev")
    of = real(model, train)
    rng = np.random.default_rng(1)
    texts = [dev.captions[place] for place in np.sort(rng.choice(len(dev.captions), QUERIES, replace=False))]
    chosen = np.sort(rng.choice(len(dev), QUERIES, replace=False))
    images = model.encode_images(torch.from_numpy(dev.regions.gather(chosen)))
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        for size in arguments.sizes:
            out = (arguments.work or Path(folder)) / f"index-{size}"
            started = time.perf_counter()
            if not (out / "parts").is_dir():
                out.mkdir(exist_ok=True)
                source = torch.cat(of.words)
                learnt = start_index(out, run.checkpoint(), model, FITTED, lambda: source)  # noqa: B023
                add_part(out, content(of, size), Stage(model, learnt), progress=True)
            built = time.perf_counter() - started
            started = time.perf_counter()
            index = Index.open(out)
            stored = sum(array.nbytes for array in (index.parts[0].stage_images, index.parts[0].images))
            print(
                f"{index}; an image {stored / size:.0f} bytes without its caption; built in {built:.0f} s, "
                f"opened in {1000 * (time.perf_counter() - started):.0f} ms",
                flush=True,
            )
            rows += measured(index, model, texts, images)
    table = pd.DataFrame(rows)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.out, index=False, float_format="%.4g")
    drawn(table).savefig(arguments.figure)


if __name__ == "__main__":
    main()
