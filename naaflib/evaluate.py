"""All pairs of a split, scored and measured under a named protocol; ensembles.

Protocols: "full" ranks the whole split at once; "f30k-1k" is full on exactly 1000 images; "coco-5k" is full
on exactly 5000 images and "coco-1k" the mean over its five folds of 1000. They are different numbers: every
result names its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .checkpoint import load_checkpoint, one_member
from .data.captions import pad
from .data.manifest import find_manifest
from .data.splits import Split, evaluation_split, open_split
from .errors import NaafError, UsageError
from .metric import Retrieval, RetrievalMetrics, retrieval_metrics
from .model import Model
from .packing import Packing, pack
from .project import shown
from .runs import Run, atomic_path, fingerprint, read_json, write_json
from .scoring import BLOCK_WORDS, packed_scores

PROTOCOL_IMAGES: dict[str, int | None] = {"full": None, "f30k-1k": 1000, "coco-1k": 5000, "coco-5k": 5000}
PROTOCOLS = tuple(PROTOCOL_IMAGES)
FOLD = 1000
CHUNK = 128  # images encoded or scored at a time


class Encoded(NamedTuple):
    """A split's unit vectors: images (N, R, D); words on the packed axis (W, D)."""

    images: Tensor
    words: Tensor
    packing: Packing


@torch.no_grad()
def encode_split(model: Model, split: Split) -> Encoded:
    """Encode a split: every caption beside captions of its own length, so nothing is padded."""
    if model.vocabulary is None:
        raise NaafError("this checkpoint has no vocabulary; name its JSON (--vocabulary) to read captions")
    tokens, lengths = pad([model.vocabulary.encode(caption) for caption in split.captions])
    packing = pack(torch.from_numpy(lengths), most_words=BLOCK_WORDS)
    words = []
    for group in packing.groups:
        rows = packing.order[group.packed_captions]
        ids = torch.from_numpy(tokens)[rows, : group.length]
        states = model.encode_captions(ids, torch.full((group.captions,), group.length))
        words.append(states.transpose(0, 1).flatten(0, 1))
    images = []
    for start in range(0, len(split), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(split)))
        images.append(model.encode_images(torch.from_numpy(split.regions.gather(rows))))
        split.regions.release()
    return Encoded(torch.cat(images), torch.cat(words), packing.to(model.device))


@torch.no_grad()
def score_encoded(model: Model, encoded: Encoded, progress: bool = True) -> np.ndarray:
    """Scores (image, caption), float32 or the model's type, captions in the split's order."""
    images, words, packing = encoded
    scores = np.empty((len(images), len(packing.order)), dtype=_numpy_type(images))
    boundary = model.boundary.inference
    bar = tqdm(total=len(images), desc="scoring", unit="image", disable=not progress, mininterval=1.0)
    with bar:
        for start in range(0, len(images), CHUNK):
            rows = slice(start, start + CHUNK)
            part = packed_scores(images[rows], words, packing, model.measure, boundary)
            scores[rows] = packing.unpack(part).cpu().numpy()
            bar.update(len(part))
    return scores


def validation_metrics(model: Model, split: Split) -> RetrievalMetrics:
    """What training validates by: the whole given split at once, quietly."""
    return retrieval_metrics(
        score_encoded(model, encode_split(model, split), progress=False), split.captions_per_image
    )


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
            **_scored_split(self.split),
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


def protocol_metrics(scores: np.ndarray, protocol: str, captions_per_image: int = 5) -> RetrievalMetrics:
    """Metrics of scores (image, caption) under a protocol.

    coco-1k: five folds of 1000 images, each ranked on its own; recalls, mean rank and rsum equal the means
    over the folds (they are of one size), the median is over all queries.
    Raises UsageError for an unknown protocol or a number of images that it is not made for.
    """
    check_protocol(protocol, len(scores))
    if protocol != "coco-1k":
        return retrieval_metrics(scores, captions_per_image)
    captions = FOLD * captions_per_image
    folds = [
        retrieval_metrics(
            scores[f * FOLD : (f + 1) * FOLD, f * captions : (f + 1) * captions], captions_per_image
        )
        for f in range(len(scores) // FOLD)
    ]
    i2t = [Retrieval(fold.i2t.ranks, fold.i2t.top1 + f * captions) for f, fold in enumerate(folds)]
    t2i = [Retrieval(fold.t2i.ranks, fold.t2i.top1 + f * FOLD) for f, fold in enumerate(folds)]
    return RetrievalMetrics(_joined(i2t), _joined(t2i))


def check_protocol(protocol: str, images: int) -> None:
    """Raises UsageError where the protocol is unknown or not made for so many images."""
    if protocol not in PROTOCOLS:
        raise UsageError(f"there is no protocol {protocol!r}; protocols: {', '.join(PROTOCOLS)}")
    needed = PROTOCOL_IMAGES[protocol]
    if needed is not None and images != needed:
        raise UsageError(
            f"protocol {protocol} is made for {needed} images and the split holds {images}; take full"
        )


def evaluate(
    source: Run | Model | str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    protocol: str = "full",
    vocabulary: str | Path | None = None,
    device: str = "auto",
    out: str | Path | None = None,
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
    scores = score_encoded(model, encode_split(model, opened))
    metrics = protocol_metrics(scores, protocol, opened.captions_per_image)
    result = Evaluation(scores, metrics, protocol, opened, model.settings.method)
    if out is not None:
        run = Run(Path(out), {"kind": "evaluation"})
    if run is not None:
        save_evaluation(run, result)
    return result


def save_evaluation(run: Run, result: Evaluation) -> None:
    """Write scores, what they are scores of, metrics and the table of queries into a run."""
    path = run.scores_path(result.split.name)
    with atomic_path(path) as partial:
        np.save(partial, result.scores)
    write_json(path.with_suffix(".json"), _scored_split(result.split))
    write_json(run.metrics_path(result.split.name, result.protocol), result.record())
    run.save_table(result.query_table(), f"queries_{result.split.name}_{result.protocol}")


def ensemble(
    sources: Sequence[Run | str | Path],
    *,
    data: str | Path | None = None,
    split: str | None = None,
    protocol: str = "full",
    out: str | Path | None = None,
    device: str = "auto",
) -> Evaluation:
    """The mean of the members' score matrices, measured.

    sources: runs (their saved scores are used, and made where they are missing) or saved .npy files. data:
    the folder; None: the first run's. Raises NaafError for fewer than two members and for members that were
    not scored on the same split, images and captions.
    """
    if len(sources) < 2:
        raise UsageError("an ensemble needs at least two members")
    runs = [
        None if Path(getattr(s, "path", s)).suffix == ".npy" else one_member(getattr(s, "path", s))
        for s in sources
    ]
    folder = _ensemble_data(data, runs)
    opened = open_split(folder, split or default_split(folder, protocol))
    check_protocol(protocol, len(opened))
    total, methods = None, set()
    for source, run in zip(sources, runs, strict=True):
        scores = _member_scores(Path(str(source)), run, opened, device)
        total = scores.astype(np.float64) if total is None else total + scores
        methods.add(run.settings.model.method if run else "saved scores")
    mean = (total / len(sources)).astype(np.float32)
    metrics = protocol_metrics(mean, protocol, opened.captions_per_image)
    names = tuple(shown(run.path if run else source) for source, run in zip(sources, runs, strict=True))
    method = f"ensemble of {len(sources)} ({', '.join(sorted(methods))})"
    result = Evaluation(mean, metrics, protocol, opened, method, names)
    if out is not None:
        save_evaluation(_ensemble_run(Path(out), result), result)
    return result


def _ensemble_run(out: Path, result: Evaluation) -> Run:
    """A run folder of its own that names its members; one that is there must be an ensemble."""
    if (out / "config.json").is_file():
        run = Run.open(out)
        if run.kind != "ensemble":
            raise NaafError(
                f"{shown(out)} holds a run of kind {run.kind!r}; take another --out for the ensemble"
            )
        run.update(members=list(result.members))
        return run
    return Run.create(out, "ensemble", members=list(result.members), data=_scored_split(result.split))


def _ensemble_data(data: str | Path | None, runs: Sequence[Run | None]) -> Path:
    if data is not None:
        return Path(data)
    for run in runs:
        if run is not None:
            return run.data_folder
    raise UsageError("saved score files do not name their data set; add --data DIR")


def _member_scores(path: Path, run: Run | None, split: Split, device: str) -> np.ndarray:
    """A member's scores of the split, from its file; a run without one is evaluated."""
    file = path if run is None else run.scores_path(split.name)
    if run is not None and (not file.is_file() or file.stat().st_mtime < run.checkpoint().stat().st_mtime):
        return evaluate(run, split.folder, split=split.name, device=device).scores
    try:
        scores = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise NaafError(
            f"{shown(file)} holds no saved scores ({error}); `naaf evaluate` writes them"
        ) from None
    expected = _scored_split(split)
    about = read_json(file.with_suffix(".json")) if file.with_suffix(".json").is_file() else None
    if about is not None and any(about.get(key) != expected[key] for key in ("split", "captions_sha256")):
        raise NaafError(
            f"{shown(file)} holds scores of split {about.get('split')!r} of {about.get('data')!r}, not of "
            f"{split.name!r} of {shown(split.folder)}; the members of an ensemble share images and captions"
        )
    if scores.shape != (len(split), len(split.captions)):
        raise NaafError(
            f"{shown(file)} holds scores {scores.shape}; {split.name} of {shown(split.folder)} has "
            f"{len(split)} images and {len(split.captions)} captions"
        )
    return scores


def _scored_split(split: Split) -> dict[str, object]:
    return {
        "data": data_name(split.folder),
        "split": split.name,
        "images": len(split),
        "captions": len(split.captions),
        "captions_per_image": split.captions_per_image,
        "captions_sha256": fingerprint(split.folder / f"{split.name}_caps.txt")["sha256"],
    }


def default_split(data: str | Path, protocol: str) -> str:
    """test, else dev; the coco protocols are made for testall."""
    return evaluation_split(
        data, ("testall", "test", "dev") if protocol.startswith("coco") else ("test", "dev")
    )


def data_name(folder: str | Path) -> str:
    """The manifest's name for a data set, else its folder's."""
    manifest = find_manifest(Path(folder))
    return manifest.name if manifest else Path(folder).resolve().name


def pick_device(device: str) -> torch.device:
    """ "auto": a GPU where there is one. Raises UsageError for a device that torch cannot use here."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError):
        raise UsageError(f"torch cannot use the device {device!r} here; cpu always works") from None


def _joined(folds: list[Retrieval]) -> Retrieval:
    return Retrieval(np.concatenate([f.ranks for f in folds]), np.concatenate([f.top1 for f in folds]))


def _numpy_type(tensor: Tensor) -> type:
    return np.float64 if tensor.dtype == torch.float64 else np.float32
