"""Training as a run folder: what `naaf train`, notebook 02 and a sweep all call."""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch

from .. import checkpoint
from ..config import Settings, replace
from ..data.batches import Batches
from ..data.glove import read_glove
from ..data.manifest import data_name
from ..data.splits import Split, open_split, split_names
from ..data.vocabulary import Vocabulary
from ..errors import NaafError, UsageError
from ..evaluate import pick_device, validation_metrics
from ..explanation import matched_samples
from ..mining import Boundaries
from ..model import Model
from ..project import shown
from ..runs import Run, fingerprint, open_group, write_json
from ..train import PRECISIONS, fit

FILES = ("ims.npy", "caps.txt")


def train_run(
    data: str | Path,
    out: str | Path,
    settings: Settings,
    *,
    resume: bool = False,
    init: str | Path | None = None,
    glove: str | Path | None = None,
    vocabulary: str | Path | None = None,
    device: str = "auto",
) -> Run:
    """Train on a data set folder's train split, validated on its dev split, into the run folder `out`.

    resume: continue an unfinished run exactly (a finished one is left alone); only train.epochs may change.
    init: start from a checkpoint's weights, boundary and vocabulary. glove: word vectors to start from.
    vocabulary: a JSON to use instead of one built from the train captions.
    Raises NaafError, before anything is written, for data, settings or files that do not fit.
    """
    data, out = Path(data), Path(out)
    if resume and any(start is not None for start in (init, glove, vocabulary)):
        raise UsageError(
            "--resume goes on from the run's own checkpoint; leave out --init, --glove, --vocabulary"
        )
    train, dev = _open(data, settings)
    if resume:
        run = _resumable(out, data, settings)
    elif (out / "config.json").exists():
        raise NaafError(f"{shown(out)} already holds a run; take another --out, or --resume to continue it")
    target = pick_device(device)
    _repeatable(settings.train.seed, target)
    if resume:
        model = checkpoint.load_checkpoint(run.checkpoint("last"))
    else:
        model = _new_model(train, settings, init, glove, vocabulary)
        run = _new_run(out, data, settings, model, init, glove)
    model = model.to(target)
    batches = Batches(train, model.vocabulary, settings.train.batch_size, settings.train.seed)
    fit(
        run,
        model,
        batches,
        settings,
        validate=partial(validation_metrics, split=dev),
        observe=partial(matched_samples, split=dev),
        resume=resume,
    )
    return run


def train_members(
    data: str | Path, out: str | Path, settings: Settings, members: int, **how: object
) -> list[Run]:
    """Runs of one setting, seeds settings.train.seed, +1, ..., side by side under out/members/<seed>/.

    A finished member with these settings is reused and said so, an unfinished one resumed.
    Raises NaafError where a member was trained with other settings: nothing is retrained silently.
    """
    if members < 1:
        raise UsageError(f"members is {members}; at least 1 is trained")
    group = open_group(out)
    if group.kind != "group":
        raise NaafError(
            f"{shown(out)} is a run of kind {group.kind!r}, not a folder of members; take another run folder"
        )
    runs = []
    for seed in range(settings.train.seed, settings.train.seed + members):
        own = replace(settings, {"train.seed": seed})
        folder = group.path / "members" / str(seed)
        if not (folder / "config.json").is_file():
            say(f"member {seed}: training into {shown(folder)}")
            runs.append(train_run(data, folder, own, **how))
            continue
        run = _resumable(folder, Path(data), own)
        if is_finished(run):
            say(f"member {seed}: reused, {shown(folder)} is trained with these settings already")
            runs.append(run)
        else:
            say(f"member {seed}: resuming {shown(folder)}")
            runs.append(train_run(data, folder, own, resume=True, **how))
    return runs


def say(text: str) -> None:
    """A message to the person who waits: results go to stdout, this does not."""
    print(text, file=sys.stderr)


def is_finished(run: Run) -> bool:
    """Whether every epoch that the run's settings ask for is trained, validated and saved."""
    path = run.checkpoint("last")
    return path.is_file() and int(checkpoint.header(path)["progress"]["epoch"]) > run.settings.train.epochs


def _open(data: Path, settings: Settings) -> tuple[Split, Split]:
    present = split_names(data)
    if data.is_dir() and ("train" not in present or "dev" not in present):
        raise NaafError(
            f"{shown(data)} needs the splits train and dev to train; it has {', '.join(present) or 'none'}"
        )
    train, dev = open_split(data, "train"), open_split(data, "dev")
    if train.regions.shape[2] != dev.regions.shape[2]:
        raise NaafError(
            f"{shown(data)}: train has {train.regions.shape[2]} features a region, "
            f"dev {dev.regions.shape[2]}; "
            "take both from the same source"
        )
    if settings.data.validation_images is not None:
        dev = dev.first(settings.data.validation_images)
    if len(dev) < 2:
        raise NaafError(f"{shown(data)}: dev has {len(dev)} image; a ranking needs at least 2")
    for start in range(0, len(dev), 128):  # a bad row shows before the first epoch, not after it
        dev.regions.gather(np.arange(start, min(start + 128, len(dev))))
    return train, dev


def _repeatable(seed: int, device: torch.device) -> None:
    """The same seed gives the same run on one machine, on a GPU too."""
    torch.manual_seed(seed)
    if device.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False


def _new_model(
    train: Split,
    settings: Settings,
    init: str | Path | None,
    glove: str | Path | None,
    vocabulary: str | Path | None,
) -> Model:
    given = None if vocabulary is None else Vocabulary.read(Path(vocabulary))
    if init is not None:
        model = checkpoint.load_checkpoint(init, vocabulary)
        fits = {name: getattr(model.settings, name) for name in ("dim", "word_dim", "image_encoder")}
        other = [name for name, value in fits.items() if getattr(settings.model, name) != value]
        if other or model.region_dim != train.regions.shape[2]:
            what = f"model.{other[0]} {fits[other[0]]}" if other else f"{model.region_dim} features a region"
            raise NaafError(f"{shown(init)} has {what}; the new run's settings and data must have the same")
        if model.vocabulary is None:
            raise NaafError(f"{shown(init)} came without a vocabulary; name its JSON with --vocabulary")
        start, words = model, model.vocabulary
    else:
        start, words = None, given or Vocabulary.build(train.captions, settings.data.min_word_count)
    torch.manual_seed(settings.train.seed)
    model = Model(settings.model, train.regions.shape[2], len(words), words)
    if start is not None:
        model.load_state_dict(start.state_dict())
    if glove is not None:
        vectors = read_glove(Path(glove), words)
        model.set_vectors(vectors)
        say(f"GloVe vectors for {len(vectors.ids)} of {len(words)} words; the others start at random")
    model = model.to(PRECISIONS[settings.train.precision])
    if start is not None:
        model.boundary = start.boundary  # in float64, whatever the weights' type
    if settings.mining.fixed_boundary is not None:
        model.boundary = Boundaries(settings.mining.fixed_boundary, settings.mining.fixed_boundary)
    return model


def _new_run(
    out: Path, data: Path, settings: Settings, model: Model, init: str | Path | None, glove: str | Path | None
) -> Run:
    run = Run.create(
        out,
        "train",
        settings=settings.model_dump(),
        data=data_record(data),
        start={"init": None if init is None else str(init), "glove": None if glove is None else str(glove)},
    )
    write_json(run.path / "vocabulary.json", model.vocabulary.to_json())
    return run


def data_record(data: Path) -> dict[str, object]:
    """The folder, the manifest's name, and size and checksum of what training and validation read."""
    files = [data / f"{split}_{file}" for split in ("train", "dev") for file in FILES]
    return {
        "folder": str(data.resolve()),
        "name": data_name(data),
        "files": {path.name: fingerprint(path) for path in files},
    }


def _resumable(out: Path, data: Path, settings: Settings) -> Run:
    """The run of a folder, if these settings and data continue it. Only train.epochs may differ."""
    run = Run.open(out)
    if run.kind != "train":
        raise NaafError(
            f"{shown(out)} holds a run of kind {run.kind!r}, not a training; name one of its members"
        )
    if not run.checkpoint("last").is_file():
        raise NaafError(f"{shown(out)} stopped before its first checkpoint; remove it and run again")
    was, now = (_flat(s) for s in (run.settings, settings))
    done = int(checkpoint.header(run.checkpoint("last"))["progress"]["epoch"]) - 1
    if now["train.epochs"] < done:
        raise NaafError(
            f"{shown(out)} has {done} epochs already; train.epochs cannot become {now['train.epochs']}"
        )
    changed = [name for name in was if was[name] != now[name] and name != "train.epochs"]
    if changed:
        name = changed[0]
        raise NaafError(
            f"{shown(out)} was trained with {name} {was[name]}, and now {now[name]} is asked for; "
            "on resuming only train.epochs may change: take another folder"
        )
    recorded: Mapping[str, object] = run.config["data"]["files"]
    for name, file in data_record(data)["files"].items():
        if recorded.get(name) != file:
            raise NaafError(
                f"{shown(data / name)} is not what {shown(out)} was trained on; name the right --data"
            )
    if was["train.epochs"] != now["train.epochs"]:
        run.update(settings=settings.model_dump())
    return run


def _flat(settings: Settings) -> dict[str, object]:
    return {
        f"{part}.{name}": value
        for part, values in settings.model_dump().items()
        for name, value in values.items()
    }
