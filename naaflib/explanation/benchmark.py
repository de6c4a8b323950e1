"""Public foils judged: is the true caption told from the false one, and would a blind reader do it too?

A model's scores, or anybody's from a table, beside chance, text-only baselines, and the share of pictures
that the training saw. Items with one exchanged word also say whether a model knows which word is wrong.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.captions import read_captions
from ..data.manifest import layout_path
from ..data.public.foils import FORMS, FoilItem, read_foils
from ..data.public.pair_scores import read_pair_scores
from ..data.public.pictures import Place, picture_places, shortest, training_pictures
from ..data.splits import evaluation_split, open_split, split_names
from ..devices import pick_device
from ..errors import NaafError, UsageError, unknown
from ..files import missing, resolve, shown
from ..model.checkpoint import data_folder, load_checkpoint
from ..model.model import Model
from ..runs import Run
from .benchmark_pairs import benchmark_scores, other_places, read_blindly, read_by_model, wrong_words
from .blind import BlindModel, bare
from .judged import FoilBenchmark
from .order import order_foils

ORDER = "order"
BENCHMARKS = (*FORMS, ORDER)
MOST_CAPTIONS = 100_000  # that the text-only baseline learns from; evenly spread where there are more


def foil_benchmark(
    benchmark: str,
    source: Model | Run | str | Path | None = None,
    *,
    files: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    split: str | None = None,
    categories: Sequence[str] = (),
    scores: str | os.PathLike[str] | None = None,
    captions: str | os.PathLike[str] | None = None,
    train_ids: str | os.PathLike[str] | None = None,
    other_pictures: bool = False,
    seed: int = 0,
    device: str = "auto",
) -> FoilBenchmark:
    """Judge a model, or a table of scores, on public foils or on word order.

    benchmark: a name in `BENCHMARKS`. source: a model, a run or a checkpoint; or scores: a CSV of
    `public.pair_scores`. files: the folder of the benchmark's JSON files. data: the data set with the
    pictures' features; by default the run's. split: one of its splits; by default all, for `order` test, else
    dev. captions: what the text-only baseline learns from, a caption a line; by default the data set's
    train_caps.txt. train_ids: the training's pictures, an id a line; by default the data set's.
    other_pictures: a model scores the pairs beside another picture, too. seed: of the orders.
    Raises NaafError or UsageError, as one sentence, for what does not fit.
    """
    if (source is None) == (scores is None):
        raise UsageError("name a run or a checkpoint to judge, or a table of scores (--scores FILE)")
    folder = data_folder(source, data) if source is not None or data is not None else None
    if folder is not None and not folder.is_dir():
        raise NaafError(f"{missing(folder)}; name the data set's folder with --data DIR")
    items = benchmark_items(
        benchmark, files=files, data=folder, split=split, categories=categories, seed=seed
    )
    blind, seen = blind_model(folder, captions), training_pictures(folder, _path(train_ids))
    by_text = None if blind is None else partial(read_blindly, blind)
    if scores is not None:
        if other_pictures:
            raise UsageError("a table holds no scores beside other pictures; leave --other-pictures out")
        found, name = read_pair_scores(resolve(scores), items), shown(resolve(scores))
        blindly = by_text and wrong_words(items, by_text)
        return FoilBenchmark(benchmark, name, _judged(items, found, seen, blind), 0, None, blindly)
    model = source if isinstance(source, Model) else load_checkpoint(getattr(source, "path", source))
    model = model.to(pick_device(device))
    kept, places = _placed(items, folder, split)
    table = _judged(kept, benchmark_scores(model, kept, places), seen, blind)
    if other_pictures:
        caption, foil = benchmark_scores(model, kept, other_places(places)).T
        table = table.assign(other_picture=caption > foil)
    words, left_out = wrong_words(kept, partial(read_by_model, model, places)), len(items) - len(kept)
    blindly = by_text and wrong_words(kept, by_text)
    return FoilBenchmark(benchmark, model.settings.method, table, left_out, words, blindly)


def benchmark_items(
    benchmark: str,
    *,
    files: str | os.PathLike[str] | None = None,
    data: Path | None = None,
    split: str | None = None,
    categories: Sequence[str] = (),
    seed: int = 0,
) -> list[FoilItem]:
    """The items of a benchmark, before any picture is looked for. Takes and raises as `foil_benchmark`."""
    if benchmark not in BENCHMARKS:
        raise unknown("benchmark", benchmark, BENCHMARKS)
    if benchmark in FORMS:
        folder = resolve(files or Path("data") / benchmark.replace("-", "_"))
        return read_foils(benchmark, folder, categories)
    if files is not None:
        raise UsageError("order is made from the captions of a data set; leave --files out")
    if data is None:
        raise UsageError("order is made from the captions of a data set; name it with --data DIR")
    items = order_foils(open_split(data, split or evaluation_split(data)), rules=categories, seed=seed)
    if not items:
        raise NaafError(f"no caption of {shown(data)} can be put in another order; name other --categories")
    return items


def blind_model(data: Path | None, captions: str | os.PathLike[str] | None = None) -> BlindModel | None:
    """The text-only baseline of a file of captions, else of a data set's train split; None without either."""
    own = None if data is None else layout_path(data, "train", "captions")
    path = _path(captions) or (own if own and own.is_file() else None)
    if path is None:
        return None
    lines = read_captions(path)
    return BlindModel(lines[:: -(-len(lines) // MOST_CAPTIONS)] if lines else lines)


def _path(path: str | os.PathLike[str] | None) -> Path | None:
    return None if path is None else resolve(path)


def _placed(items: Sequence[FoilItem], folder: Path, split: str | None) -> tuple[list[FoilItem], list[Place]]:
    """The items whose pictures the data set has, and where these are."""
    if items[0].image is not None:
        own = open_split(folder, split or evaluation_split(folder))
        return list(items), [(own, item.image) for item in items]
    names = [split] if split else split_names(folder)
    if not names:
        raise NaafError(f"{shown(folder)} holds no features of pictures; name a data set with --data DIR")
    splits = [open_split(folder, name, without_captions=True) for name in names]
    found = list(zip(items, picture_places(items, splits), strict=True))
    kept = [(item, place) for item, place in found if place is not None]
    if not kept:
        raise NaafError(
            f"{shown(folder)} ({', '.join(names)}) has none of the {len(items):,} items' pictures, such as "
            f"{items[0].picture}; name a data set with features of COCO's pictures (--data DIR), or judge "
            "scores of your own (--list FILE, then --scores FILE)"
        )
    return [item for item, _ in kept], [place for _, place in kept]


def _judged(
    items: Sequence[FoilItem], scores: np.ndarray, seen: frozenset[str] | None, blind: BlindModel | None
) -> pd.DataFrame:
    """`FoilBenchmark.items`."""
    about = [{name: getattr(item, name) for name in ("category", "id", "picture")} for item in items]
    texts = dict.fromkeys(text for item in items for text in (item.caption, item.foil))
    likely = {text: blind.score(text) for text in texts} if blind else {}
    length = {text: len(bare(text)) for text in texts}
    columns = {
        "seen": [None if seen is None else shortest(item.picture) in seen for item in items],
        "was": [item.exchange and item.exchange.was for item in items],
        "now": [item.exchange and item.exchange.now for item in items],
        "score_caption": scores[:, 0],
        "score_foil": scores[:, 1],
        "right": scores[:, 0] > scores[:, 1],
        "text_only": [likely[item.caption] > likely[item.foil] if blind else None for item in items],
        "shorter": [length[item.caption] < length[item.foil] for item in items],
    }
    return pd.DataFrame(about).assign(**columns)
