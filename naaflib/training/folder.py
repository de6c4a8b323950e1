"""Training as a run folder: what `naaf train`, notebook 02 and a sweep all call."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ..config import SEED, Settings, changed, flat, replace
from ..data.batches import Batches
from ..data.glove import read_glove
from ..data.manifest import data_name, layout_path, made_by
from ..data.splits import Split, evaluation_split, open_split, split_names
from ..data.vocabulary import SPECIAL, Vocabulary, warn_of_unknown
from ..devices import check_precision, pick_device, precision_of, product_kinds
from ..errors import NaafError, UsageError
from ..evaluation import validation_metrics
from ..explanation import matched_samples
from ..files import fingerprint, named, resolve, shown, write_json
from ..locking import exclusive
from ..messages import say
from ..metric.retrieval import chance_recalls
from ..model import checkpoint
from ..model.bert import BertEncoder, Pretrained
from ..model.model import Model
from ..processes import ALONE, Processes, joined, own_device
from ..runs import FINISHED, NEWEST, TRAIN, VARIANT, Run, check_free, open_group
from ..similarity.boundary import Boundaries
from ..verdict import verdicts
from .loop import fit
from .mending import mend

Source = str | Path | None
STARTS = ("init", "glove", "vocabulary", "bert")  # what a training may start from
READ = ("features", "captions")  # files of a split that training reads
PATIENCE = 60.0  # seconds for a killed process to let go of a run that is resumed


def train_run(
    data: str | Path,
    out: str | Path,
    settings: Settings,
    *,
    resume: bool = False,
    restart: bool = False,
    init: Source = None,
    glove: Source = None,
    vocabulary: Source = None,
    bert: Source = None,
    device: str = "auto",
) -> Run:
    """Train on a data set folder's train split, validated on its dev split, into the run folder `out`.

    resume: continue an unfinished run exactly (a finished one is left alone); only train.epochs may change.
    restart: train anew what stopped before its first checkpoint, as is done without it where nothing runs.
    init: start from a checkpoint's weights, boundary and vocabulary. glove: word vectors to start from.
    vocabulary: a JSON to use instead of one built from the train captions. bert: the pretrained text model of
    model.text_encoder bert, by its name on the hub or its folder.
    Of several processes that torchrun started, each calls this; together they train the run that one trains.
    Raises NaafError, before anything is written, for data, settings or files that do not fit, and where
    another process trains into the folder.
    """
    target = own_device(pick_device(device))
    data, out = resolve(data), resolve(out)
    start = {"init": init, "glove": glove, "vocabulary": vocabulary, "bert": bert}
    with joined() as processes:
        if processes.is_first:
            return _train(data, out, settings, start, target, processes, resume=resume, restart=restart)
        return _train_with_first(data, out, target, processes)


def _train(
    data: Path,
    out: Path,
    settings: Settings,
    start: dict[str, Source],
    target: torch.device,
    processes: Processes,
    *,
    resume: bool,
    restart: bool,
) -> Run:
    """`train_run` of the first process: it reads, checks and writes."""
    if resume and any(source is not None for source in start.values()):
        raise UsageError(
            "--resume goes on from the run's own checkpoint; leave out --init, --glove, --vocabulary, --bert"
        )
    if not restart and (dead := _died_early(out)):
        say(f"{shown(out)} stopped before its first checkpoint; training anew")
        if resume:
            start = {name: (dead.config.get("start") or {}).get(name) for name in STARTS}
        resume, restart = False, True
    check_precision(settings.train.precision, target)
    train, dev = open_splits(data, settings)
    if not (resume or restart):
        check_free(out)
    check_shares(min(settings.train.batch_size, len(train.captions)), settings, processes.size)
    torch.manual_seed(settings.train.seed)
    if resume:
        Run.open(out)  # or there is nothing to lock
    else:
        model = _new_model(train, settings, **start)
        for split in (train, dev):
            warn_of_unknown(model.text_encoder.known, split.captions, split.captions_path)
    with exclusive(out, patience=PATIENCE if resume or restart else 0.0):
        if resume:
            run = _resumable(out, data, settings)
            model = checkpoint.load_checkpoint(run.checkpoint("last"))
        else:
            record = start_record(start, target, settings.train.precision, processes)
            run = _new_run(out, data, settings, model, record, restart)
        model = model.to(target)
        batches = _batches(train, model, settings, processes)
        if not resume:  # what `verdict` measures the run's numbers by
            chance = chance_recalls(len(dev), dev.captions_per_image)["rsum"]
            pairs = min(batches.batch_size, len(batches.tokens))
            run.update(sizes={"pairs_per_batch": pairs, "validation_images": len(dev), "chance_rsum": chance})
        fit(
            run,
            model,
            batches,
            settings,
            validate=partial(validation_metrics, split=dev, processes=processes),
            observe=partial(matched_samples, split=dev),
            resume=resume,
            processes=processes,
        )
        run.checkpoint("previous").unlink(missing_ok=True)  # as large as the last one, and of no more use
    return run


def _train_with_first(data: Path, out: Path, target: torch.device, processes: Processes) -> Run:
    """`train_run` of another process: it starts from the checkpoint that the first one wrote or resumed."""
    processes.wait()  # until it is there
    run = Run.open(out)
    settings = run.settings
    torch.manual_seed(settings.train.seed)
    train, dev = open_splits(data, settings)
    model = checkpoint.load_checkpoint(run.checkpoint("last")).to(target)
    fit(
        run,
        model,
        _batches(train, model, settings, processes),
        settings,
        validate=partial(validation_metrics, split=dev, processes=processes),
        observe=partial(matched_samples, split=dev),
        resume=True,
        processes=processes,
    )
    return run


def _batches(train: Split, model: Model, settings: Settings, processes: Processes) -> Batches:
    ids, how = model.text_encoder.ids, settings.train
    on_gpu = model.device.type == "cuda"  # it is done with a batch before one thread has read the next
    reading = {"readers": 2, "pinned": True} if on_gpu else {}
    return Batches(train, ids, how.batch_size, how.seed, processes, **reading)


def check_shares(pairs: int, settings: Settings, processes: int) -> None:
    """Raises UsageError where several processes cannot share a batch of so many pairs."""
    if pairs < processes:
        raise UsageError(
            f"{processes} processes cannot share a batch of {pairs} pairs; start at most {pairs}, or "
            "raise train.batch_size"
        )
    if processes > 1 and settings.mining.mode == "sequential":
        raise UsageError(
            f"mining.mode sequential goes from caption to caption in one process, and {processes} are asked "
            "for; take one, or set mining.mode=batch"
        )


def _died_early(out: Path) -> Run | None:
    """The training of a folder that stopped before its first checkpoint, so that nothing is lost with it."""
    if not (out / "config.json").is_file():
        return None
    run = Run.open(out)
    return run if run.kind == TRAIN and not _has_checkpoint(out) else None


def _has_checkpoint(out: Path) -> bool:
    return any(Run(out, {}).checkpoint(which).is_file() for which in ("best", *NEWEST))


def train_members(
    data: str | Path, out: str | Path, settings: Settings, members: int, **how: object
) -> list[Run]:
    """Runs of one setting, seeds settings.train.seed, +1, ..., side by side under out/members/<seed>/.

    A finished member with these settings is reused and said so, an unfinished one resumed.
    A folder that is one run, or named as a member (members/<seed>), stands for itself where one is wanted.
    Raises NaafError where a member was trained with other settings: nothing is retrained silently.
    """
    if members < 1:
        raise UsageError(f"members is {members}; at least 1 is trained")
    data, out = resolve(data), resolve(out)
    if members == 1 and _is_one_run(out):
        return [_train_member(data, out, settings, how)]
    group = open_group(out)
    if group.kind != "group":
        raise NaafError(
            f"{shown(out)} is a run of kind {group.kind!r}, not a folder of members; take another run folder"
        )
    seeds = range(settings.train.seed, settings.train.seed + members)
    folders = {seed: group.path / "members" / str(seed) for seed in seeds}
    trained = [
        _train_member(data, folder, replace(settings, {SEED: seed}), how) for seed, folder in folders.items()
    ]
    for sentence in verdicts(trained):
        say(f"warning: {sentence}")
    return trained


def _is_one_run(out: Path) -> bool:
    if (out / "config.json").is_file():
        return Run.open(out).kind in (TRAIN, VARIANT)
    return out.parent.name == "members"


def _train_member(data: Path, folder: Path, settings: Settings, how: Mapping[str, object]) -> Run:
    """One run: reused where it is finished with these settings, resumed where it is not, else trained."""
    name, start = f"member {settings.train.seed}", {key: how.get(key) for key in STARTS}
    restart = (folder / "config.json").is_file()
    if restart:
        run = same_run(folder, data, settings)
        _check_start(run, start)
        if run.state() == FINISHED and run.settings == settings:
            say(f"{name}: reused, {shown(folder)} is trained with these settings already")
            return run
        if run.resumable():
            say(f"{name}: resuming {shown(folder)}")
            again = {key: value for key, value in how.items() if key not in STARTS}
            return train_run(data, folder, settings, resume=True, **again)
    say(f"{name}: training into {shown(folder)}")
    return train_run(data, folder, settings, restart=restart, **how)


def open_splits(data: Path, settings: Settings) -> tuple[Split, Split]:
    present = split_names(data)
    if data.is_dir() and not present:
        evaluation_split(data)  # says what is missing
    if data.is_dir() and ("train" not in present or "dev" not in present):
        raise NaafError(
            f"{shown(data)} needs the splits train and dev to train; it has {', '.join(present) or 'none'}"
        )
    train, dev = open_split(data, "train"), open_split(data, "dev")
    if train.regions.shape[2] != dev.regions.shape[2]:
        raise NaafError(
            f"{shown(data)}: train has {train.regions.shape[2]} features a region, "
            f"dev {dev.regions.shape[2]}; take both from the same source"
        )
    if settings.data.validation_images is not None:
        dev = dev.first(settings.data.validation_images)
    if len(dev) < 2:
        raise NaafError(f"{shown(data)}: dev has {len(dev)} image; a ranking needs at least 2")
    for start in range(0, len(dev), 128):  # a bad row shows before the first epoch, not after it
        dev.regions.gather(np.arange(start, min(start + 128, len(dev))))
    return train, dev


def _new_model(
    train: Split, settings: Settings, init: Source, glove: Source, vocabulary: Source, bert: Source
) -> Model:
    start, words = None, None if vocabulary is None else Vocabulary.read(Path(vocabulary))
    if init is not None:
        model = checkpoint.load_checkpoint(init, vocabulary)
        fits = {
            name: getattr(model.settings, name)
            for name in ("dim", "word_dim", "image_encoder", "text_encoder")
        }
        other = [name for name, value in fits.items() if getattr(settings.model, name) != value]
        if other or model.region_dim != train.regions.shape[2]:
            what = f"model.{other[0]} {fits[other[0]]}" if other else f"{model.region_dim} features a region"
            raise NaafError(f"{shown(init)} has {what}; the new run's settings and data must have the same")
        if model.vocabulary is None:
            raise NaafError(f"{shown(init)} came without a vocabulary; name its JSON with --vocabulary")
        start, words = model, model.vocabulary
    words = words or _words_of(train, settings.data.min_word_count)
    pretrained = None if bert is None else Pretrained.load(bert)
    if bert is None and start is not None and isinstance(start.text_encoder, BertEncoder):
        pretrained = start.text_encoder.pretrained
    torch.manual_seed(settings.train.seed)
    model = Model(settings.model, train.regions.shape[2], len(words), words, pretrained)
    if start is not None:
        model.load_state_dict(start.state_dict())
    if glove is not None:
        vectors = read_glove(Path(glove), words)
        model.set_vectors(vectors)
        say(f"GloVe vectors for {len(vectors.ids)} of {len(words)} words; the others start at random")
    model = model.to(precision_of(settings.train.precision).weights)
    model.boundary = (start or model).boundary  # in float64, whatever the weights' type
    if settings.mining.fixed_boundary is not None:
        model.boundary = Boundaries(settings.mining.fixed_boundary, settings.mining.fixed_boundary)
    return model


def _words_of(train: Split, min_count: int) -> Vocabulary:
    """The vocabulary of the train captions. Raises NaafError where no word is frequent enough."""
    words = Vocabulary.build(train.captions, min_count)
    if len(words) == len(SPECIAL):
        raise NaafError(
            f"{shown(train.captions_path)}: no word occurs {min_count} times (data.min_word_count), so there "
            "is none to learn; a small data set needs --set data.min_word_count=1, and captions without "
            "blanks between the words, as in Chinese, need them: a word segmenter puts them in"
        )
    return words


def _new_run(
    out: Path, data: Path, settings: Settings, model: Model, start: Mapping[str, object], restart: bool
) -> Run:
    """The run's record. restart: in the place of one without a checkpoint, with which nothing is lost."""
    record = data_record(data)
    anew = restart and not _has_checkpoint(out)
    run = Run.create(out, TRAIN, anew=anew, settings=settings.model_dump(), data=record, start=start)
    write_json(run.path / "vocabulary.json", model.vocabulary.to_json())
    return run


def start_record(
    start: Mapping[str, Source], device: torch.device, precision: str, processes: Processes = ALONE
) -> dict[str, object]:
    """What a training started from, and what a repetition needs beside settings and data."""
    several = {"processes": processes.size} if processes.size > 1 else {}
    return {
        **{name: None if path is None else named(path) for name, path in start.items()},
        "files": {name: start_fingerprint(name, path) for name, path in start.items() if path is not None},
        "device": str(device),
        "float32_products": product_kinds(device, precision),
        "threads": torch.get_num_threads(),
        **several,
    }


def start_fingerprint(name: str, path: str | Path) -> dict[str, object]:
    """Of what training starts from: of a run folder, the checkpoint that is taken; of BERT, its weights."""
    if name == "bert":
        return {"sha256": Pretrained.load(path).digest()}
    path = Path(path)
    return fingerprint(checkpoint.one_member(path).checkpoint("best") if path.is_dir() else path)


def data_record(data: Path) -> dict[str, object]:
    """The folder, the manifest's name, and size and checksum of what training and validation read."""
    files = [layout_path(data, split, role) for split in ("train", "dev") for role in READ]
    missing = next((path for path in files if not path.is_file()), None)
    if missing:
        raise NaafError(
            f"{shown(missing)} is missing, and training reads it; name a data set's folder (`naaf data list`)"
        )
    return {
        "folder": str(data.resolve()),
        "name": data_name(data),
        "features": made_by(data),
        "files": {path.name: fingerprint(path) for path in files},
    }


def _check_start(run: Run, start: Mapping[str, Source]) -> None:
    """Raises NaafError where a run did not start from these files."""
    recorded = (run.config.get("start") or {}).get("files") or {}
    asked = {name: start_fingerprint(name, path) for name, path in start.items() if path is not None}
    other = next((name for name in STARTS if recorded.get(name) != asked.get(name)), None)
    if other:
        was, now = ((record or {}).get(other) or "none" for record in (run.config.get("start"), start))
        raise NaafError(
            f"{shown(run.path)} started from {other} {was}, and now {now} is asked for; take another folder"
        )


def _resumable(out: Path, data: Path, settings: Settings) -> Run:
    """The run of a folder, if these settings and data continue it. Only train.epochs may differ."""
    run = Run.open(out)
    if run.kind != TRAIN:
        raise NaafError(
            f"{shown(out)} holds a run of kind {run.kind!r}, not a training; name one of its members"
        )
    if not any(run.checkpoint(which).is_file() for which in NEWEST):
        raise NaafError(
            f"{shown(out)} has no checkpoints/last to go on from; to train anew take another folder"
        )
    run = same_run(out, data, settings)
    mend(run)
    if settings.train.epochs < run.epochs_done:
        raise NaafError(
            f"{shown(out)} has {run.epochs_done} epochs already; "
            f"train.epochs cannot become {settings.train.epochs}"
        )
    if run.settings.train.epochs != settings.train.epochs:
        run.update(settings=settings.model_dump())
    return run


def same_run(out: Path, data: Path, settings: Settings) -> Run:
    """The run of a folder, of these settings and data. Only train.epochs may differ, and not of a variant."""
    run = Run.open(out)
    free = ("train.epochs",) if run.kind == TRAIN else ()
    was, now = flat(run.settings), flat(settings)
    name = next((name for name in changed(run.settings, settings) if name not in free), None)
    if name:
        raise NaafError(
            f"{shown(out)} was trained with {name} {was.get(name)}, and now {now[name]} is asked for; "
            "on resuming only train.epochs may change: take another folder"
        )
    check_data(run, data)
    return run


def check_data(run: Run, data: Path) -> None:
    """Raises NaafError where a folder's files are not those that a run was trained on."""
    recorded: Mapping[str, object] = run.config["data"]["files"]
    for name, file in data_record(data)["files"].items():
        if recorded.get(name) != file:
            raise NaafError(
                f"{shown(data / name)} is not what {shown(run.path)} was trained on; name the right --data"
            )
