"""A split evaluated: scores, what a protocol makes of them, and where they are kept."""

import os
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.manifest import data_name, differing, made_by
from ..data.npy import open_array
from ..data.splits import Split, open_split
from ..data.vocabulary import warn_of_unknown
from ..devices import pick_device, products, say_of_tf32
from ..errors import NaafError, UsageError
from ..files import (
    fingerprint,
    read_json,
    read_object,
    resolve,
    shown,
    sweep_partials,
    write_json,
)
from ..launcher import asked_for, is_first
from ..metric.retrieval import RetrievalMetrics
from ..model.checkpoint import data_folder, load_checkpoint, one_member
from ..model.model import Model
from ..processes import joined, own_device
from ..runs import Run
from .encoding import encode_split
from .protocols import check_protocol, default_split, fold_size, protocol_metrics
from .scores import (
    MEMORY,
    check_memory,
    product_type,
    score_encoded,
    score_to_file,
    streamed_metrics,
)
from .shared import shared_metrics

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Scores of a split and what a protocol makes of them."""

    scores: np.ndarray | None  # (image, caption); None where they were not kept
    metrics: RetrievalMetrics
    protocol: str
    split: Split
    method: str
    members: tuple[str, ...] = ()
    precision: str = "float32"
    unsaved: OSError | None = None  # why scores or metrics could not be written

    @property
    def images(self) -> int:
        return len(self.split)

    @property
    def captions(self) -> int:
        return len(self.split.captions)

    @property
    def chose_best_epoch(self) -> bool:
        """Whether the checkpoint was picked by this very split: then the numbers flatter."""
        return self.split.name == "dev"

    def sentence(self) -> str:
        """The result in one line, protocol and split named."""
        i2t, t2i = self.metrics.i2t, self.metrics.t2i
        remark = "; this split chose the best epoch" if self.chose_best_epoch else ""
        remark += f"; not saved ({self.unsaved.strerror})" if self.unsaved else ""
        product = "" if self.precision == "float32" else f" ({self.precision} product)"
        return (
            f"{self.method}{product}, {data_name(self.split.folder)} {self.split.name} "
            f"({self.images} images, {self.captions} captions), protocol {self.protocol}: "
            f"i2t R@1/5/10 {i2t.at_1:.1f} {i2t.at_5:.1f} {i2t.at_10:.1f}, "
            f"t2i {t2i.at_1:.1f} {t2i.at_5:.1f} {t2i.at_10:.1f}, rsum {self.metrics.rsum:.1f}{remark}"
        )

    def __repr__(self) -> str:
        return self.sentence()

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.sentence())}</p>{self.metrics._repr_html_()}"

    def record(self) -> dict[str, object]:
        """What metrics/<split>.<protocol>.json holds."""
        return {
            **self.metrics.to_dict(),
            "protocol": self.protocol,
            "method": self.method,
            "precision": self.precision,
            "chose_best_epoch": self.chose_best_epoch,
            "members": list(self.members),
            **scored_split(self.split),
        }

    def query_table(self) -> "pd.DataFrame":
        """A pandas row a query: name or text, rank of its best right answer (from 1), top answer."""
        import pandas as pd

        split, captions = self.split, np.array(self.split.captions, dtype=object)
        names = np.array([split.image_name(image) for image in range(self.images)], dtype=object)

        def one_way(way: str, queries: np.ndarray, answers: np.ndarray, own: np.ndarray) -> pd.DataFrame:
            found = getattr(self.metrics, way)
            columns = {
                "direction": way,
                "query": range(len(queries)),
                "query_text": queries,
                "rank": found.ranks + 1,
                "top_answer": found.top1,
                "top_text": answers[found.top1],
                "own_text": own,
            }
            return pd.DataFrame(columns)

        i2t = one_way("i2t", names, captions, captions[:: split.captions_per_image])
        t2i = one_way("t2i", captions, names, names[split.image_of_caption])
        return pd.concat([i2t, t2i], ignore_index=True)


def evaluate(
    source: Run | Model | str | Path,
    data: str | Path | None = None,
    *,
    split: str | None = None,
    protocol: str = "full",
    vocabulary: str | Path | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    precision: str = "float32",
    reuse: bool = False,
    keep_scores: bool = True,
    memory: float | None = None,
    top: int = 1,
    scheduler: str | None = None,
) -> Evaluation:
    """Score a split with a trained model and measure it.

    source: a run (folder), a checkpoint of ours or a released one, or a model. data: the data set's folder;
    None: the one that the run records. split None: test, else dev (testall for the coco protocols where it
    exists). A run gets scores/<split>.npy, metrics/<split>.<protocol>.json and a table of queries; out names
    another folder for them. Where they cannot be written, the result says so (`unsaved`), without scores.
    precision: "float32" everywhere; "tf32", a GPU's shorter factors; "bf16" or "fp16" for the matrix product,
    with float32's recalls (see `rescoring`). reuse: take saved scores of the same checkpoint.
    keep_scores False: the score matrix is never held, only counted, with the same result to the last rank.
    memory: bytes for blocks of scores, at least one block; None: MEMORY. top: best answers to keep of each
    query. scheduler: the address of a Dask cluster that scores (see `cluster`); scores are not kept then.
    Several processes that torchrun started count the ranks in shares; they keep no scores.
    """
    if asked_for() > 1 and (keep_scores or scheduler is not None):
        raise UsageError("several processes keep no scores; add --no-scores, or start it without torchrun")
    if scheduler is not None and memory is not None:
        raise UsageError("a memory is for the blocks of this process; leave it out where a cluster scores")
    memory = MEMORY if memory is None else memory
    run, model, checkpoint = _opened(source, vocabulary, device)
    data = data_folder(checkpoint if run is None else run, data)
    opened = open_split(data, split or default_split(data, protocol))
    check_protocol(protocol, len(opened))
    check_extractor(run, opened.folder)
    check_regions(opened, model)
    if model.vocabulary is not None:
        warn_of_unknown(model.text_encoder.known, opened.captions, opened.captions_path)
    run = _own_place(run, opened, protocol) if out is None else _elsewhere(run, resolve(out))
    product_type(precision)  # refuses an unknown one
    if scheduler is None:
        say_of_tf32(precision, model.device)
    how = {"precision": precision, "memory": memory}
    scores = unsaved = None
    if run is not None:
        sweep_partials(run.path)
    if scheduler is not None:
        if checkpoint is None:
            raise UsageError(
                "a cluster's workers read the model from its run or checkpoint; name that, not a model"
            )
        from .cluster import Source, clustered_metrics

        shared = Source.of(checkpoint, opened, vocabulary, precision, device)
        metrics = clustered_metrics(scheduler, shared, opened, protocol=protocol, top=top)
    else:
        if keep_scores and run is not None and reuse:
            scores = saved_scores(run, opened, precision)
        with products(precision):
            if keep_scores and scores is None:
                scores, unsaved = _scored(model, opened, run, **how)
            if scores is not None:
                metrics = protocol_metrics(scores, protocol, opened.captions_per_image, top)
            else:
                metrics = _counted(model, opened, protocol=protocol, top=top, **how)
    result = Evaluation(scores, metrics, protocol, opened, model.settings.method, precision=precision)
    if run is not None and unsaved is None and is_first():
        try:
            save_evaluation(run, result)
        except OSError as error:
            unsaved = error
    return replace(result, unsaved=unsaved)


def _counted(
    model: Model, split: Split, *, protocol: str, top: int, precision: str, memory: float
) -> RetrievalMetrics:
    """What a protocol makes of scores that are counted and not kept, by as many processes as there are."""
    images, per_image = fold_size(protocol, len(split)), split.captions_per_image
    check_memory(memory, images, per_image, model.device, precision, streamed=True)
    how: dict[str, Any] = {"protocol": protocol, "top": top, "precision": precision, "memory": memory}
    with joined() as processes:
        if processes.size > 1:
            return shared_metrics(model, split, processes, **how)
        return streamed_metrics(model, encode_split(model, split), split.captions_per_image, **how)


def _opened(
    source: Run | Model | str | Path, vocabulary: str | Path | None, device: str
) -> tuple[Run | None, Model, Path | None]:
    """The run where there is one, the model on its device, and the file that it comes from."""
    run = path = None
    if not isinstance(source, Model):
        path = source.path if isinstance(source, Run) else resolve(source)
        run = one_member(path) if path.is_dir() else None
        path = run.path if run else path
        source = load_checkpoint(path, vocabulary)
    return run, source.to(own_device(pick_device(device))), path


def check_regions(split: Split, model: Model) -> None:
    if split.regions.shape[2] != model.region_dim:
        raise NaafError(
            f"{shown(split.regions.path)} has {split.regions.shape[2]} features a region and the model was "
            f"trained on {model.region_dim}; use it on the kind of features that it was trained on"
        )


def check_extractor(run: Run | None, data: Path) -> None:
    """Raises NaafError where the data record what made their features, and the run was trained on others.

    A run of an earlier version does not say whether its features had a record; it is believed.
    """
    known = run.config.get("data", {}) if run else {}
    trained, now = known.get("features"), made_by(data)
    if run and "features" in known and now and trained != now:
        which, remedy = "another program", "train a model on these"
        if trained:
            same = trained["extractor"] == now["extractor"]
            differ = differing(trained, now)
            which = f"the same extractor with another {differ}" if same else trained["extractor"]
            remedy = "extract these again as those (naaf data extract --overwrite)"
        raise NaafError(
            f"{shown(data)} has features by {now['extractor']}, and {shown(run.path)} was trained on those "
            f"by {which}; {remedy}"
        )


def _own_place(run: Run | None, split: Split, protocol: str) -> Run | None:
    """The run, unless it holds scores or results of another data set (name and captions) by these names."""
    if run is None:
        return None
    now = scored_split(split)
    for path in (run.scores_path(split.name).with_suffix(".json"), run.metrics_path(split.name, protocol)):
        was = read_object(path, ("data",)) if os.path.lexists(path) else now
        if all(was.get(key, now[key]) != now[key] for key in ("data", "captions_sha256")):
            raise NaafError(
                f"{shown(path)} holds the result of another data set, {was['data']}; give --out a folder for "
                f"that of {shown(split.folder)}"
            )
    return run


def _elsewhere(run: Run | None, out: Path) -> Run:
    """The folder to write into, which may not be another run's."""
    if run is not None and out.resolve() == run.path.resolve():
        return run
    if out.exists() and not out.is_dir():
        raise NaafError(f"{shown(out)} is a file; scores and metrics need a folder: take another --out")
    if (out / "config.json").exists():
        raise NaafError(
            f"{shown(out)} holds another run, whose scores would be overwritten; take another --out"
        )
    return Run(out, {"kind": "evaluation"})


def _scored(
    model: Model, split: Split, run: Run | None, precision: str, memory: float
) -> tuple[np.ndarray | None, OSError | None]:
    """Scores, written into the run where there is one, with what they are scores of; or why they are not."""
    if run is None:
        return score_encoded(model, encode_split(model, split), precision=precision), None
    check_memory(memory, len(split), split.captions_per_image, model.device, precision)
    encoded, path = encode_split(model, split), run.scores_path(split.name)
    try:
        scores = score_to_file(model, encoded, path, precision=precision, memory=memory)
        write_json(path.with_suffix(".json"), _origin(run, split, precision))
    except OSError as error:
        return None, error
    return scores, None


def _origin(run: Run, split: Split, precision: str) -> dict[str, object]:
    """What saved scores come from: captions, features, checkpoint, precision."""
    files = {"features": split.regions.path, "checkpoint": run.checkpoint()}
    made = {name: fingerprint(path) for name, path in files.items() if path.is_file()}
    # those of an earlier version have the rounded product's recalls
    recalls = {} if product_type(precision) is None else {"recalls": "float32"}
    return {**scored_split(split), **made, "precision": precision, **recalls}


def saved_scores(run: Run, split: Split, precision: str = "float32") -> np.ndarray | None:
    """The run's scores of the split, if its present checkpoint made them."""
    path = run.scores_path(split.name)
    about = path.with_suffix(".json")
    if not (path.is_file() and about.is_file() and run.is_trained):
        return None
    return open_array(path) if read_json(about) == _origin(run, split, precision) else None


def save_evaluation(run: Run, result: Evaluation) -> None:
    """Write metrics and the table of queries into a run."""
    write_json(run.metrics_path(result.split.name, result.protocol), result.record())
    run.save_table(result.query_table(), f"queries_{result.split.name}_{result.protocol}")


def scored_split(split: Split) -> dict[str, object]:
    """What tells whether two score matrices are of the same images and captions."""
    return {
        "data": data_name(split.folder),
        "split": split.name,
        "images": len(split),
        "captions": len(split.captions),
        "captions_per_image": split.captions_per_image,
        "captions_sha256": fingerprint(split.captions_path)["sha256"],
    }
