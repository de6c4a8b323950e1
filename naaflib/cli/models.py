"""`naaf train`, `naaf evaluate`, `naaf ensemble`."""

import argparse
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from ..errors import NaafError
from ..files import shown
from ..launcher import check_launch, launch
from ..messages import say
from .arguments import (
    CONTINUES,
    add_command,
    add_tls,
    given,
    os_sentence,
    path,
    show_json,
    show_table,
    show_text,
    tls,
    warn,
)

TRAIN = """\
Train one model and write its run folder: settings, vocabulary, checkpoints, history, samples, TensorBoard.

A folder that holds a run already is refused, unless --resume continues it: exactly where it stopped, from the
middle of an epoch too (train.checkpoint_steps). It keeps its settings; only train.epochs may change then.

examples:
  naaf train --data data/scenes --out outputs/first
  naaf train --data data/flickr8k_precomp --preset flickr8k --out outputs/flickr8k
  naaf train --data data/f30k_precomp --preset f30k --glove data/glove.840B.300d.zip --out outputs/glove \\
      --set train.seed=1 loss.warmup_epochs=1
  naaf train --data data/f30k_precomp --preset f30k --bert bert-base-uncased --out outputs/bert \\
      --set model.text_encoder=bert
  naaf train --data data/f30k_precomp --preset f30k --set model.method=scan-t2i --out outputs/scan
  naaf train --data data/scenes --out outputs/first --resume --set train.epochs=12
  naaf train --data data/f30k_precomp --preset f30k --out outputs/four --processes 4
  torchrun --nproc-per-node=4 -m naaflib train --data data/f30k_precomp --preset f30k --out outputs/four

The last two are the same: several processes train what one trains, each with a GPU or cores of its own, to
the rounding of sums (docs/processes.md). They share each batch; train.batch_size stays that of the whole.

settings and their defaults: the presets in naaflib/config.py; every name that --set takes stands in a run's
config.json, as section.name"""

EVALUATE = """\
Score every image against every caption of a split and report recalls and ranks.

The split is test where there is one, else dev, and is announced; the data set is the one that the run was
trained on, unless --data names another. Protocols:
  full      the whole split at once
  f30k-1k   the same, on exactly 1000 images
  coco-1k   the mean over five folds of 1000 images, of the 5000 of testall
  coco-5k   the 5000 images of testall at once
A run folder keeps the scores (scores/SPLIT.npy) and the metrics (metrics/SPLIT.PROTOCOL.json).

A score matrix too large to keep: --no-scores counts ranks block by block, --scheduler sends blocks to a Dask
cluster; both give the same recalls and ranks, a cluster where its workers compute alike (a line says where
they do not). The workers read DIR and the run from the same paths as this command does (a file system that
all share) and have this version of naaflib installed.

examples:
  naaf evaluate outputs/first
  naaf evaluate outputs/first --split dev --json
  naaf evaluate f30k_NAAF.pth.tar --vocabulary f30k_precomp.json --data data/f30k_precomp --split test
  naaf evaluate outputs/coco --protocol coco-5k --no-scores --precision bf16
  naaf evaluate outputs/coco --protocol coco-5k --scheduler tcp://10.0.0.5:8786
  naaf evaluate outputs/coco --scheduler tls://10.0.0.5:8786 --tls-ca ca.pem --tls-cert me.pem \\
      --tls-key me.key
  torchrun --nproc-per-node=4 -m naaflib evaluate outputs/coco --protocol coco-5k --no-scores"""

ENSEMBLE = """\
Average the scores of several runs, or of score files (as `naaf judge` reads them); report recalls and ranks.

All must be of the same split, images and captions. A folder with members/ stands for its members.

examples:
  naaf ensemble outputs/demo --data data/scenes --out outputs/demo-ensemble
  naaf ensemble outputs/seed0 outputs/seed1 --data data/f30k_precomp --protocol f30k-1k
  naaf ensemble a/scores/test.npy b/scores/test.npy --data data/f30k_precomp --json"""

PROTOCOLS = ("full", "f30k-1k", "coco-1k", "coco-5k")
DEVICE = {"default": "auto", "metavar": "NAME", "help": "cpu, cuda, cuda:1, ..."}


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's commands to the command line."""
    _add_train(commands)
    _add_evaluate(commands)
    _add_ensemble(commands)


def _add_train(commands: argparse._SubParsersAction) -> None:
    parser = add_command(commands, "train", "train a model", TRAIN, train, advice=_going_on)
    parser.mistake, add = _resumed_folder, parser.add_argument
    add("--data", type=path, required=True, metavar="DIR", help="data set in the SCAN layout")
    add("--out", type=path, required=True, metavar="RUN", help="run folder to write")
    add(
        "--preset", metavar="NAME", help="scenes, flickr8k, f30k, f30k-safe, coco, coco-safe, general or "
        "general-small; by default the one named like the data, else general, for few captions general-small",
    )  # fmt: skip
    changes = "replace settings of the preset"
    add("--set", action="extend", nargs="+", default=[], metavar="NAME=VALUE", help=changes)
    kinds = "of products: float32 (default), tf32, bf16, fp16 or float64; as --set train.precision=NAME"
    add("--precision", metavar="NAME", help=kinds)
    add("--resume", action="store_true", help="continue the run in --out")
    add("--init", type=path, metavar="CHECKPOINT", help="start from these weights")
    add("--glove", type=path, metavar="FILE", help="start the words from GloVe (.txt or .zip)")
    upstream = "an upstream vocabulary; by default made from the captions"
    add("--vocabulary", type=path, metavar="JSON", help=upstream)
    bert = "start the text encoder from this text model of transformers (with model.text_encoder=bert)"
    add("--bert", metavar="NAME_OR_FOLDER", help=bert)
    add("--device", **DEVICE)
    together = "processes on this machine that train together, equal to one; one for a GPU"
    add("--processes", type=several, default=1, metavar="K", help=together)


def _going_on(arguments: argparse.Namespace) -> str:
    begun = (arguments.out / "config.json").is_file()
    return "the same command with --resume continues" if begun else CONTINUES


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    what = "recalls and ranks of a run or checkpoint"
    parser = add_command(commands, "evaluate", what, EVALUATE, evaluate)
    add, source = parser.add_argument, "a run folder, or a checkpoint (a released .pth.tar too)"
    add("source", type=path, metavar="RUN_OR_CHECKPOINT", help=source)
    add("--data", type=path, metavar="DIR", help="data set; by default the one of the run")
    add("--vocabulary", type=path, metavar="JSON", help="the vocabulary of a released checkpoint")
    add("--out", type=path, metavar="DIR", help="write scores and metrics here (a run: into itself)")
    add(
        "--precision", choices=("float32", "tf32", "bf16", "fp16"), default="float32",
        help="of the matrix product; bf16 and fp16 are faster where the device has them, and have float32's "
        "recalls: what these hang on is scored again. tf32: a GPU's, a little less exact",
    )  # fmt: skip
    add("--no-scores", action="store_true", help="count ranks and keep no score matrix")
    blocks = "for blocks of scores, beside the encoded split; at least one block (default: 1GiB)"
    add("--memory", type=memory, metavar="SIZE", help=blocks)
    cluster = "score on the Dask cluster at tcp://HOST:PORT or tls://HOST:PORT; keeps no scores"
    add("--scheduler", metavar="ADDRESS", help=cluster)
    add_tls(parser)
    _add_result(parser)


def _add_ensemble(commands: argparse._SubParsersAction) -> None:
    parser = add_command(commands, "ensemble", "join several runs", ENSEMBLE, ensemble)
    add = parser.add_argument
    add("sources", type=path, nargs="+", metavar="RUN", help="run folders or score files")
    add("--data", type=path, metavar="DIR", help="data set; needed where scores are not saved yet")
    add("--out", type=path, metavar="RUN", help="run folder for the ensemble")
    _add_result(parser)


def _add_result(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", **DEVICE)
    parser.add_argument("--split", metavar="NAME", help="train, dev, test or testall")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="full", help="what is scored against what")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def _resumed_folder(words: Sequence[str]) -> str:
    """What is said to --resume FOLDER: the command that goes on with this run."""
    folders = (after for word, after in pairwise(words) if word == "--resume" and after[:1] != "-")
    if not (folder := next(folders, "")):
        return ""
    from ..runs import Run

    data = "DIR"
    with suppress(NaafError):
        data = shown(Run.open(folder).data_folder)
    command = "naaf train " + shlex.join(["--data", data, "--out", folder, "--resume"])
    return f"--resume takes no folder, --out names it: {command}"


def several(text: str) -> int:
    """A number of processes."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes; take 1 or more")
    return int(text)


def memory(text: str) -> float:
    """Bytes of a text such as 500MB, 1.5GB or 2GiB."""
    match = re.fullmatch(r"\s*(\d+\.?\d*)\s*([KMGT]?)(i?)B?\s*", text, re.IGNORECASE)
    if match is None or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; take for example 500MB or 2GB")
    power = " KMGT".index(match[2].upper() or " ")
    return float(match[1]) * (1024 if match[3] else 1000) ** power


def train(arguments: argparse.Namespace) -> int:
    if check_launch(arguments.processes):
        return launch(arguments.processes, arguments.given)
    from ..batch import runs_table
    from ..training import train_run
    from ..verdict import verdicts

    how = given(arguments, "resume", "init", "glove", "vocabulary", "bert", "device")
    run = train_run(arguments.data, arguments.out, _settings(arguments), **how)
    show_table(runs_table(run.path).drop(columns="verdict"))
    warn(verdicts([run]))  # the last line
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    from ..evaluation import evaluate as evaluate_source

    names = ("split", "protocol", "vocabulary", "device", "out", "precision", "memory", "scheduler")
    how = given(arguments, *names) | {"keep_scores": not arguments.no_scores}
    with tls(arguments):
        result = evaluate_source(arguments.source, arguments.data, **how)
    status = _show(result, as_json=arguments.json)
    if result.unsaved is not None:
        raise NaafError(f"this result is not saved: {os_sentence(result.unsaved)} (--out names a folder)")
    return status


def ensemble(arguments: argparse.Namespace) -> int:
    from ..evaluation import ensemble as join
    from ..evaluation import ensemble_members
    from ..runs import Run
    from ..verdict import verdicts

    members = ensemble_members(arguments.sources)
    result = join(members, **given(arguments, "data", "split", "protocol", "out", "device"))
    sentences = verdicts([member for member in members if isinstance(member, Run)])
    status = _show(result, as_json=arguments.json, warnings=sentences)
    warn(sentences)
    return status


def _show(result, *, as_json: bool, **more: object) -> int:
    if as_json:
        show_json({**result.record(), **more})
    else:
        show_text(result.sentence())
        show_table(result.metrics.to_frame())
    return 0


def _settings(arguments: argparse.Namespace):
    """The preset's with --set and --precision; a run that is resumed without --preset brings its own."""
    from ..config import assignments, preset, replace
    from ..runs import Run

    precision = [] if arguments.precision is None else [f"train.precision={arguments.precision}"]
    overrides = assignments([*arguments.set, *precision], "--set")
    if arguments.resume and arguments.preset is None:
        return replace(Run.open(arguments.out).settings, overrides)
    return preset(arguments.preset or _preset_of(arguments.data), overrides)


def _preset_of(data: Path) -> str:
    from ..data.manifest import preset_of, preset_sentence

    if data.is_dir():  # else its absence is what has to be said
        say(preset_sentence(data))
    return preset_of(data)
