"""Making an index, and adding a part to one: a split is encoded once; an interrupted call goes on."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data.manifest import layout_path, made_by
from ..data.splits import Split, evaluation_split, open_split, split_names
from ..data.vocabulary import SPECIAL
from ..data.writing import write_lines
from ..errors import NaafError, UsageError
from ..evaluation.evaluate import check_extractor, check_regions
from ..files import fingerprint, put, read_object, resolve, shown, write_json
from ..locking import FILE as LOCK
from ..locking import exclusive
from ..messages import progress_bar, say
from ..model.checkpoint import data_folder, load_checkpoint, one_member
from ..model.model import Model
from ..runs import Run
from .candidates import FITTED, Stage, learn
from .index import FORMAT, INDEX, PART, STAGE, Index, Part, read_learnt, read_part, read_record

BLOCK = 200  # images encoded between two marks of progress
LEARNT_FROM = 8_000  # captions whose words a first stage is made from
SEED = 0


class Content(NamedTuple):
    """What a part is made of: its texts, and blocks of encoded images and of their captions' words."""

    about: dict[str, Any]
    captions: list[str]
    names: list[str]
    lengths: np.ndarray  # words of each caption
    regions: int
    blocks: Callable[[int, int], tuple[Tensor, Tensor]]  # images from, to -> regions (N, R, D), words (W, D)


def build_index(
    source: Run | str | Path,
    data: str | Path | None = None,
    *,
    out: str | Path,
    split: str | None = None,
    stage: str = FITTED,
    progress: bool = False,
) -> Index:
    """Encode a split and add it to the index `out`, which is made where it is not there.

    source: a run, its folder or a checkpoint. data: the data set; None: the one that the run records. split:
    None: test, else dev. stage: the first stage, "fitted" or "mean". An interrupted call goes on. A part that
    is damaged is made again, and one whose data set has moved records where it is now; both are said.
    Raises NaafError for an index of another model, one that another process is writing, and for a split that
    is in it already.
    """
    path = source.path if isinstance(source, Run) else resolve(source)
    run = one_member(path) if path.is_dir() else None
    checkpoint = run.checkpoint() if run else path
    model = load_checkpoint(run.path if run else checkpoint)
    folder = data_folder(run or checkpoint, data)
    opened = open_split(folder, split or evaluation_split(folder), without_captions=True)
    check_extractor(run, opened.folder)  # first: it knows the names
    check_regions(opened, model)
    out = resolve(out)
    foreign = out.is_dir() and {entry.name for entry in out.iterdir()} - {LOCK}
    if out.is_file() or (foreign and INDEX not in foreign):
        raise NaafError(f"{shown(out)} is neither an index nor an empty folder; give --out another one")
    with exclusive(out):
        learnt = start_index(out, checkpoint, model, stage, lambda: _some_words(model, opened, run))
        add_part(out, content_of(opened, model), Stage(model, learnt), progress)
    return Index.open(out)


def start_index(
    out: Path, checkpoint: Path, model: Model, stage: str, words: Callable[[], Tensor]
) -> np.ndarray | None:
    """What the first stage of the index learnt; learnt now, from words (W, D), where the index is new."""
    now = {"fingerprint": fingerprint(checkpoint), "stage": stage}
    if (out / INDEX).is_file():
        before = read_record(out)
        if any(before[key] != now[key] for key in now):
            raise NaafError(
                f"{shown(out)} is an index of another model or first stage; give --out another folder"
            )
        return read_learnt(out, before)
    learnt = learn(stage, words, SEED)
    if learnt is not None:
        np.save(out / STAGE, learnt)
    record = {
        "format": FORMAT,
        "checkpoint": str(checkpoint.resolve()),
        **now,
        "method": model.settings.method,
        "dim": model.settings.dim,
        "learnt": None if learnt is None else fingerprint(out / STAGE),
    }
    write_json(out / INDEX, record)
    return learnt


def _some_words(model: Model, split: Split, run: Run | None) -> Tensor:
    """Words (W, D) of captions, a seeded choice: of those that the run was trained on where they are there,
    else of the split's data set; for pictures without captions, the words of the vocabulary.
    """
    folders = [*([run.data_folder] if run else []), split.folder]
    train = next((one for one in folders if one.is_dir() and "train" in split_names(one)), None)
    source = split.captions if train is None else open_split(train, "train").captions
    source = source or [word for word in model.vocabulary.words if word not in SPECIAL]
    rng = np.random.default_rng(SEED)
    chosen = np.sort(rng.choice(len(source), min(LEARNT_FROM, len(source)), replace=False))
    captions = [source[place] for place in chosen.tolist()]
    blocks = range(0, len(captions), BLOCK)
    return torch.cat([encoded_words(model, captions[start : start + BLOCK]) for start in blocks])


@torch.no_grad()
def encoded_words(model: Model, captions: list[str]) -> Tensor:
    """Words (W, D) of captions, one caption's after the other's."""
    states, lengths = model.encode_texts(captions)
    return states[torch.arange(states.shape[1]) < lengths[:, None]]


def content_of(split: Split, model: Model) -> Content:
    per_image = split.captions_per_image
    about = {
        "data": str(split.folder),
        "split": split.name,
        "captions_per_image": per_image,
        "captions": fingerprint(split.captions_path) if split.captions else None,
        "features": fingerprint(split.regions.path),
        "made_by": made_by(split.folder),
    }

    @torch.no_grad()
    def block(start: int, stop: int) -> tuple[Tensor, Tensor]:
        regions = model.encode_images(torch.from_numpy(split.regions.gather(np.arange(start, stop))))
        split.regions.release()
        own = split.captions[start * per_image : stop * per_image]
        return regions, encoded_words(model, own) if own else regions.new_empty(0, regions.shape[-1])

    lengths = np.array([len(model.text_encoder.ids(caption)) for caption in split.captions], np.int64)
    names = [split.image_name(image) for image in range(len(split))]
    return Content(about, split.captions, names, lengths, split.regions.shape[1], block)


def add_part(out: Path, content: Content, stage: Stage, progress: bool) -> None:
    """Write a part beside the others; it appears under its name when it is whole."""
    about = content.about
    place = _place(out, about)
    if place is None:
        return
    work = out / ".part"
    state = work / "state.json"
    before = read_object(state, ("about", "done")) if state.is_file() else {}
    goes_on = before.get("about") == about
    if not goes_on:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
    images, per_image, lengths = len(content.names), about["captions_per_image"], content.lengths
    ends = [0, *np.cumsum(lengths).tolist()]
    dim = stage.model.settings.dim
    wanted = {
        "images": (images, content.regions, dim),
        "words": (ends[-1], dim),
        "stage.images": (images, stage.size),
        "stage.words": (len(lengths), stage.size),
    }
    arrays = {
        name: np.lib.format.open_memmap(
            work / f"{name}.npy", mode="r+" if goes_on else "w+", dtype=np.float16, shape=shape
        )
        for name, shape in wanted.items()
    }
    first = int(before["done"]) if goes_on else 0
    with progress_bar(
        total=images, initial=first, desc="encoding", unit="image", disable=not progress
    ) as bar:
        for start in range(first, images, BLOCK):
            stop = min(start + BLOCK, images)
            regions, words = content.blocks(start, stop)
            own = slice(start * per_image, stop * per_image)
            arrays["images"][start:stop] = regions.numpy()
            arrays["words"][ends[own.start] : ends[own.stop]] = words.numpy()
            arrays["stage.images"][start:stop] = stage.of_images(regions).numpy()
            if per_image:
                arrays["stage.words"][own] = stage.of_captions(words, lengths[own]).numpy()
            for array in arrays.values():
                array.flush()
            write_json(state, {"about": about, "done": stop})
            bar.update(stop - start)
    del arrays
    np.save(work / "lengths.npy", lengths)
    write_lines(work / "captions.txt", content.captions)
    write_lines(work / "names.txt", content.names)
    state.unlink()
    files = {path.name: fingerprint(path) for path in sorted(work.iterdir())}
    write_json(work / PART, {**about, "files": files})
    place.parent.mkdir(exist_ok=True)
    if place.is_dir():
        damaged = out / ".damaged"
        shutil.rmtree(damaged, ignore_errors=True)
        put(place, damaged)
    put(work, place)
    shutil.rmtree(out / ".damaged", ignore_errors=True)


def _place(out: Path, about: dict[str, Any]) -> Path | None:
    """The folder of a part to write: a new one, or that of the damaged part; None: only its path was renewed.

    Raises UsageError for a part that is whole and whose data set is where it was.
    """
    for path in sorted(out.glob(f"parts/*/{PART}")):
        known = read_part(path)
        if any(known[key] != about[key] for key in ("captions", "features")):
            continue
        try:
            Part.open(path)
        except NaafError:
            say(f"{shown(path.parent)} is damaged and is made again")
            return path.parent
        before = layout_path(known["data"], known["split"], "features")
        if before.is_file() and fingerprint(before) == known["features"]:
            raise UsageError(
                f"{about['data']}, {about['split']} is in {shown(out)} already; another --split or --data "
                "can be added"
            )
        write_json(path, {**known, "data": about["data"], "split": about["split"]})
        say(f"{shown(out)} had {about['split']} already, from {known['data']}; it is now {about['data']}")
        return None
    number = 1 + max((int(part.name) for part in out.glob("parts/*")), default=-1)
    return out / "parts" / f"{number:04d}"
