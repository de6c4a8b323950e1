"""Recalls beside chance, members beside their ensemble, queries on contact sheets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..data.manifest import data_name
from ..data.splits import Split, open_split
from ..errors import NaafError, UsageError
from ..evaluation import FOLD, Evaluation, ensemble, evaluate, protocol_metrics
from ..evaluation.protocols import fold_size
from ..metric.detection import image_interval
from ..metric.published import published_rows
from ..metric.ranks import captions_of, cut
from ..metric.retrieval import MEASURES, Retrieval, RetrievalMetrics, best_row, chance_recalls
from ..runs import Run
from ..verdict import equal_scores_loss, pairs_a_batch
from ..viz import style
from ..viz.curves import training_figure
from ..viz.pictures import read_picture, retrieved_captions, retrieved_pictures
from ..viz.ranks import DIRECTIONS, recall_bars
from ..viz.style import Figure

ANSWERS = 5  # on a contact sheet


def recall_table(results: Mapping[str, RetrievalMetrics], result: Evaluation) -> pd.DataFrame:
    """A row a model, then chance, then published rows of the same data and protocol where there are any."""
    images = fold_size(result.protocol, result.images)
    rows = {name: metrics.measures() for name, metrics in results.items()}
    rows["chance"] = chance_recalls(images, result.split.captions_per_image)
    published = published_rows(data_name(result.split.folder), result.protocol, result.split.name)
    for _, row in published.iterrows() if result.images >= FOLD else ():  # a part of a split is easier
        rows[f"published: {row['text']}, {row['model']}"] = row[list(rows["chance"])].to_dict()
    return pd.DataFrame(rows).T.astype(float).rename_axis("model").round(2)


def recall_page(table: pd.DataFrame) -> Figure:
    """The first row of a recall table as bars, with marks for chance and the first published row."""
    published = [name for name in table.index if str(name).startswith("published")]
    figure, axes = style.panels(height=2.6)
    recall_bars(
        axes[0, 0],
        table.iloc[0].to_dict(),
        chance=table.loc["chance"].to_dict(),
        published=table.loc[published[0]].to_dict() if published else None,
    )
    return figure


def measured_recalls(result: Evaluation, member: str = "") -> pd.DataFrame:
    """R@1 of both directions with a 95 % interval over images, beside chance; percent.

    member: the model's name in its run.
    """
    table = recall_table({}, result)
    images = {"i2t": np.arange(result.images), "t2i": result.split.image_of_caption}
    rows = []
    for way, name in DIRECTIONS.items():
        ranks = getattr(result.metrics, way).ranks
        low, high = image_interval(pd.Series(ranks == 0), pd.Series(images[way]))
        rows.append(
            {
                "measure": f"{name} R@1",
                "member": member,
                "split": result.split.name,
                "value": 100 * float(np.mean(ranks == 0)),
                "low": 100 * low,
                "high": 100 * high,
                "chance": table.loc["chance", f"{way}_at_1"],
            }
        )
    return pd.DataFrame(rows).set_index("measure").round(2)


def best_epochs(runs: Sequence[Run], folder: Path) -> pd.DataFrame:
    """The epoch that each run kept, with its recalls on the dev split; chance in the last row."""
    dev = open_split(folder, "dev")
    rows = {}
    for run in runs:
        history = run.history()
        best = best_row(history)
        rows[run.name] = {
            "epoch": f"{best['epoch']:.0f} of {history['epoch'].max():.0f}",
            **{name: best[name] for name in MEASURES},
            "minutes": history["seconds"].sum() / 60,
        }
    shown_images = run.settings.data.validation_images or len(dev)
    chance = chance_recalls(len(dev.first(shown_images)), dev.captions_per_image)
    rows["chance"] = {"epoch": "", **chance, "minutes": np.nan}
    return pd.DataFrame(rows).T.rename_axis("member").infer_objects().round(1)


def training_page(run: Run) -> Figure:
    """A run's training as curves, with the loss that equal scores would have."""
    history = run.history()
    pairs = pairs_a_batch(run)
    level = [equal_scores_loss(run.settings, pairs, int(epoch)) for epoch in history["epoch"]]
    return training_figure(history, run.steps(), title=run.name, equal_scores=level)


class Joined(NamedTuple):
    """The metrics of each member by its name, and of their ensemble; one evaluation; what it comes to."""

    metrics: dict[str, RetrievalMetrics]
    ensemble: list[str]  # the ensemble's name among them; empty where there is one member only
    evaluation: Evaluation
    sentence: str


def join_members(
    runs: Sequence[Run], folder: Path, *, split: str | None = None, protocol: str = "full", out: Path
) -> Joined:
    """Each member measured and, where there are several, their ensemble, written into the folder `out`.

    Scores that members saved are used again. One member alone is no error: the sentence says so.
    """
    if len(runs) == 1:
        result = evaluate(runs[0], folder, split=split, protocol=protocol, reuse=True)
        return Joined({runs[0].name: result.metrics}, [], result, _alone(runs[0]))
    result = ensemble(runs, data=folder, split=split, protocol=protocol, out=out)
    name, per_image = f"ensemble of {len(runs)}", result.split.captions_per_image
    scores = {run.name: np.load(run.scores_path(result.split.name), mmap_mode="r") for run in runs}
    each = {member: protocol_metrics(scores[member], protocol, per_image) for member in scores}
    rsums = [metrics.rsum for metrics in each.values()]
    sentence = (
        f"{result.sentence()}:\n{result.metrics.rsum - max(rsums):+.1f} against the best member and "
        f"{result.metrics.rsum - float(np.mean(rsums)):+.1f} against their mean"
    )
    return Joined({**each, name: result.metrics}, [name], result, sentence)


def _alone(run: Run) -> str:
    """Why there is no ensemble, and how there would be one."""
    if run.path.parent.name == "members":
        way = "set members to 2 or more in notebook 02_training; the trained one is kept and others join it"
    else:
        way = "train another seed into a folder of its own and join them with `naaf ensemble RUN RUN`"
    return f"{run.name} stands alone, so there is nothing to join:\n{way}."


def margins(result: Evaluation) -> dict[str, np.ndarray]:
    """Score of each query's best right answer less that of its hardest wrong one, by direction.

    Raises NaafError for an evaluation that kept no scores.
    """
    scores, per_image = _scores(result), result.split.captions_per_image
    i2t, t2i = np.empty(result.images), np.empty(result.captions)
    for fold in cut(slice(0, result.images), fold_size(result.protocol, result.images)):
        columns = captions_of(fold, per_image)
        wrong = np.full(columns.stop - columns.start, -np.inf)
        for image in range(fold.start, fold.stop):
            row = np.array(scores[image, columns])
            own = captions_of(slice(image - fold.start, image - fold.start + 1), per_image)
            right = row[own].copy()
            row[own] = -np.inf
            i2t[image] = right.max() - row.max()
            t2i[captions_of(slice(image, image + 1), per_image)] = right
            np.maximum(wrong, row, out=wrong)
        t2i[columns] -= wrong
    return {"i2t": i2t, "t2i": t2i}


def query_sheet(result: Evaluation, direction: str, which: str, count: int = 3) -> Figure:
    """Contact sheet of the surest ("best") or the farthest missed ("worst") queries, one an image.

    Images with a picture file come first. Raises UsageError for another direction or kind, NaafError for an
    evaluation that kept no scores.
    """
    if direction not in DIRECTIONS or which not in ("best", "worst"):
        raise UsageError(f"a sheet shows i2t or t2i, best or worst, not {direction!r}, {which!r}")
    found: Retrieval = getattr(result.metrics, direction)
    split, scores = result.split, _scores(result)
    queries = _chosen(split, found.ranks, margins(result)[direction], which, count)
    rows = []
    for query in queries:
        if direction == "t2i":
            image = int(split.image_of_caption[query])
            rows.append(_answers(scores[:, query], _fold(result, image), [image]))
        else:
            pool = captions_of(_fold(result, query), split.captions_per_image)
            rows.append(_answers(scores[query], pool, list(split.captions_of_image(query))))
    right, score, place = ([row[name].tolist() for row in rows] for name in ("right", "score", "place"))
    kind = "surest right" if which == "best" else "farthest missed"
    how = {
        "places": found.ranks[queries] + 1,
        "answer_places": place,
        "title": f"{DIRECTIONS[direction]}: {kind}",
    }
    if direction == "t2i":
        texts = [split.captions[query] for query in queries]
        pictures = [[read_picture(split.image_path(image)) for image in row.index] for row in rows]
        names = [[in_words(split, image) for image in row.index] for row in rows]
        return retrieved_pictures(texts, pictures, right, score, names=names, **how)
    pictures = [read_picture(split.image_path(image)) for image in queries]
    texts = [[split.captions[caption] for caption in row.index] for row in rows]
    return retrieved_captions(
        pictures, texts, right, score, names=[in_words(split, image) for image in queries], **how
    )


def _chosen(split: Split, ranks: np.ndarray, margin: np.ndarray, which: str, count: int) -> list[int]:
    """Queries by rank and margin, each of another image and text, those with a picture first."""
    is_caption = len(ranks) > len(split)
    order = np.lexsort((-margin, ranks) if which == "best" else (margin, -ranks)).tolist()
    images, texts = dict[int, int](), set[str]()
    for query in order:
        image = int(split.image_of_caption[query]) if is_caption else query
        text = split.captions[query] if is_caption else str(query)
        if image not in images and text not in texts:
            images[image] = query
            texts.add(text)
    seen = [image for image in images if split.image_path(image)]
    chosen = seen if len(seen) >= count else list(images)
    return [images[image] for image in chosen[:count]]


def _answers(scores: np.ndarray, pool: slice, right: list[int]) -> pd.DataFrame:
    """The first answers of a query, and after them the first right one where it is not among them."""
    order = pool.start + np.argsort(-np.asarray(scores[pool]), kind="stable")
    is_right = np.isin(order, right)
    shown = sorted({*range(min(ANSWERS, len(order))), int(is_right.argmax())})
    chosen = order[shown]
    columns = {"score": scores[chosen], "place": np.array(shown) + 1, "right": is_right[shown]}
    return pd.DataFrame(columns, index=chosen)


def in_words(split: Split, image: int) -> str:
    """What stands for an image where it has no picture file: the first of its captions."""
    return f"“{split.captions[split.captions_of_image(image)[0]]}”"


def _scores(result: Evaluation) -> np.ndarray:
    if result.scores is None:
        raise NaafError(
            f"this evaluation of {result.split.name} kept no scores, which margins and contact sheets need; "
            "evaluate with keep_scores=True"
        )
    return result.scores


def _fold(result: Evaluation, image: int) -> slice:
    """The images that are ranked together with this one."""
    size = fold_size(result.protocol, result.images)
    return slice(image // size * size, image // size * size + size)
