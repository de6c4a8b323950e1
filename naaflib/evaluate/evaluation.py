"""A split evaluated: scores, what a protocol makes of them, and where they are kept."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..checkpoint import load_checkpoint, one_member
from ..data.manifest import data_name
from ..data.npy import open_array
from ..data.splits import Split, open_split
from ..errors import NaafError
from ..metric import RetrievalMetrics
from ..model import Model
from ..project import shown
from ..runs import Run, fingerprint, read_json, write_json
from .protocols import check_protocol, default_split, protocol_metrics
from .scores import encode_split, pick_device, score_encoded, score_to_file


@dataclass(frozen=True)
class Evaluation:
    """Scores of a split and what a protocol makes of them."""

    scores: np.ndarray  # (image, caption)
    metrics: RetrievalMetrics
    protocol: str
    split: Split
    method: str
    members: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        return self.scores.shape[0]

    @property
    def captions(self) -> int:
        return self.scores.shape[1]

    @property
    def chose_best_epoch(self) -> bool:
        """Whether the checkpoint was picked by this very split: then the numbers flatter."""
        return self.split.name == "dev"

    def sentence(self) -> str:
        """The result in one line, protocol and split named."""
        i2t, t2i = self.metrics.i2t, self.metrics.t2i
        remark = "; this split chose the best epoch" if self.chose_best_epoch else ""
        return (
            f"{self.method}, {data_name(self.split.folder)} {self.split.name} ({self.images} images, "
            f"{self.captions} captions), protocol {self.protocol}: "
            f"i2t R@1/5/10 {i2t.at_1:.1f} {i2t.at_5:.1f} {i2t.at_10:.1f}, "
            f"t2i {t2i.at_1:.1f} {t2i.at_5:.1f} {t2i.at_10:.1f}, rsum {self.metrics.rsum:.1f}{remark}"
        )

    def record(self) -> dict[str, object]:
        """What metrics/<split>.<protocol>.json holds."""
        return {
            **self.metrics.to_dict(),
            "protocol": self.protocol,
            "method": self.method,
            "chose_best_epoch": self.chose_best_epoch,
            "members": list(self.members),
            **scored_split(self.split),
        }

    def query_table(self):
        """A pandas row a query: name or text, rank of its best right answer (from 1), top answer."""
        import pandas as pd

        split, metrics = self.split, self.metrics
        names = [split.image_name(image) for image in range(self.images)]
        i2t = pd.DataFrame(
            {
                "direction": "i2t",
                "query": range(self.images),
                "query_text": names,
                "rank": metrics.i2t.ranks + 1,
                "top_answer": metrics.i2t.top1,
                "top_text": [split.captions[caption] for caption in metrics.i2t.top1],
                "own_text": [split.captions[split.captions_of_image(i)[0]] for i in range(self.images)],
            }
        )
        t2i = pd.DataFrame(
            {
                "direction": "t2i",
                "query": range(self.captions),
                "query_text": split.captions,
                "rank": metrics.t2i.ranks + 1,
                "top_answer": metrics.t2i.top1,
                "top_text": [names[image] for image in metrics.t2i.top1],
                "own_text": [names[image] for image in split.image_of_caption],
            }
        )
        return pd.concat([i2t, t2i], ignore_index=True)


def evaluate(
    source: Run | Model | str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    protocol: str = "full",
    vocabulary: str | Path | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    precision: str = "float32",
    reuse: bool = False,
) -> Evaluation:
    """Score a split with a trained model and measure it.

    source: a run (folder), a checkpoint of ours or a released one, or a model. split None: test, else dev
    (testall for the coco protocols where it exists). A run gets scores/<split>.npy,
    metrics/<split>.<protocol>.json and a table of queries; out names another folder for them.
    """
    run = None
    if not isinstance(source, Model):
        path = source.path if isinstance(source, Run) else Path(source)
        run = one_member(path) if path.is_dir() else None
        source = load_checkpoint(run.path if run else path, vocabulary)
    opened = open_split(data, split or default_split(data, protocol))
    check_protocol(protocol, len(opened))
    model = source.to(pick_device(device))
    if opened.regions.shape[2] != model.region_dim:
        raise NaafError(
            f"{shown(opened.regions.path)} has {opened.regions.shape[2]} features a region and the model was "
            f"trained on {model.region_dim}; evaluate it on the kind of features that it was trained on"
        )
    if out is not None and (run is None or Path(out).resolve() != run.path.resolve()):
        if (Path(out) / "config.json").exists():
            raise NaafError(
                f"{shown(out)} holds another run, whose scores would be overwritten; take another --out"
            )
        run = Run(Path(out), {"kind": "evaluation"})
    scores = _saved_scores(run, opened, precision) if run is not None and reuse else None
    if scores is None:
        scores = _scored(model, opened, run, precision)
    metrics = protocol_metrics(scores, protocol, opened.captions_per_image)
    result = Evaluation(scores, metrics, protocol, opened, model.settings.method)
    if run is not None:
        save_evaluation(run, result)
    return result


def _scored(model: Model, split: Split, run: Run | None, precision: str) -> np.ndarray:
    """Scores, written into the run where there is one, with what they are scores of."""
    encoded = encode_split(model, split)
    if run is None:
        return score_encoded(model, encoded, precision=precision)
    scores = score_to_file(model, encoded, run.scores_path(split.name), precision=precision)
    write_json(run.scores_path(split.name).with_suffix(".json"), _origin(run, split, precision))
    return scores


def _origin(run: Run, split: Split, precision: str) -> dict[str, object]:
    """What saved scores come from: captions, features, checkpoint, precision."""
    files = {"features": split.regions.path, "checkpoint": run.checkpoint()}
    made = {name: fingerprint(path) for name, path in files.items() if path.is_file()}
    return {**scored_split(split), **made, "precision": precision}


def _saved_scores(run: Run, split: Split, precision: str) -> np.ndarray | None:
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
        "captions_sha256": fingerprint(split.folder / f"{split.name}_caps.txt")["sha256"],
    }
