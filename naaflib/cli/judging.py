"""`naaf judge`."""

import argparse
from pathlib import Path

from ..errors import UsageError
from ..files import shown
from ..messages import say
from .arguments import add_command, given, path, show, show_json, show_table, show_text
from .models import PROTOCOLS

JUDGE = """\
Measure a score matrix of any model: recalls, median and mean ranks, each with a 95 % interval over images.

SCORES is images x captions or its transpose, which its shape tells: .npy, .npz, a PyTorch tensor (.pt) or
HDF5 (.h5), of any precision; .npy, .pt and .h5 may be larger than memory. No features are read. Name what the
scores are of:
  --benchmark coco-5k    the 5,000 images and 25,000 captions of COCO's test split in SCAN's order, at once
  --benchmark coco-1k    the same matrix, the mean over five folds of 1,000 images
  --benchmark f30k-1k    the 1,000 images and 5,000 captions of Flickr30K's test split
  --data DIR             a data set in the SCAN layout, of which the captions (SPLIT_caps.txt) are enough
Scores that naaf evaluate saved know it themselves.

R@K is a hit rate: the percentage of queries with a right answer among the first K. A tie with a wrong answer
is a miss. Ties and constant queries are said; a matrix that holds NaN or infinite scores is refused.

coco-5k has more: mAP@R, R-Precision and R@1 of ECCV Caption, recalls of CxC (both need the package
eccv-caption: pip install 'naaflib[benchmarks]'), and Spearman's rho with the human grades of SITS (naaf data
fetch cxc). docs/judging.md says what each number means.

examples:
  naaf judge scores.npy --benchmark coco-5k
  naaf judge outputs/first/scores/test.npy
  naaf judge scores.h5 --data data/scenes --split dev --key model/scores
  naaf judge distances.pt --benchmark f30k-1k --smaller-is-better
  naaf judge scores.npy --benchmark coco-5k --ids image_ids.txt caption_ids.txt
  naaf judge a.npy b.npy --benchmark f30k-1k --out outputs/judged
  naaf judge distances.pt --benchmark f30k-1k --smaller-is-better --save ordered.npy
  naaf compare ordered.npy b.npy --benchmark f30k-1k"""


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's command to the command line."""
    what = "recalls and ranks of a score matrix of any model"
    add = add_command(commands, "judge", what, JUDGE, judge).add_argument
    add("scores", type=path, nargs="+", metavar="SCORES", help="a file of scores; each is judged on its own")
    add_gallery(add)
    add("--transpose", action="store_true", help="rows are captions (needed for a square matrix only)")
    add("--smaller-is-better", action="store_true", help="the scores are distances")
    add(
        "--ids", type=path, nargs="+", default=[], metavar="FILE",
        help="the order of the rows and of the columns: an id a line, for each image, for each caption, or a "
        "file of each. Ids of images alone also order the captions, which follow their images",
    )  # fmt: skip
    add("--key", metavar="NAME", help="which array of a file that holds several")
    add(
        "--extended", nargs="*", choices=("eccv", "cxc", "sits"), metavar="NAME",
        help="of coco-5k: eccv, cxc, sits, or nothing for none (default: those whose data are here)",
    )  # fmt: skip
    add("--sits", type=path, metavar="FILE", help="the file of SITS (default: data/cxc/sits_test.csv)")
    add("--resamples", type=int, default=10_000, metavar="N", help="bootstraps of the images")
    add("--seed", type=int, default=0, metavar="N", help="of the resampling")
    add(
        "--out", type=path, metavar="DIR", help="write NAME.json and NAME_queries.csv (a row a query) into it"
    )
    ordered = "write one matrix as .npy: images x captions, in the benchmark's order, larger is better"
    add("--save", type=path, metavar="NPY", help=ordered)
    add("--json", action="store_true", help="the result as JSON")


def add_gallery(add) -> None:
    """The options that say what scores are of."""
    add("--benchmark", metavar="NAME", help="coco-5k, coco-1k or f30k-1k")
    add("--data", type=path, metavar="DIR", help="a data set in the SCAN layout instead")
    add("--split", metavar="NAME", help="of the data set; by default test, else dev")
    add("--protocol", choices=PROTOCOLS, help="of the data set: what is ranked together (default: full)")


def judge(arguments: argparse.Namespace) -> int:
    from ..evaluation.judging import judge as judging

    names = (
        "benchmark",
        "split",
        "protocol",
        "transpose",
        "smaller_is_better",
        "ids",
        "key",
        "resamples",
        "seed",
        "extended",
        "sits",
        "save",
    )
    _check(arguments)
    results = []
    for file, stem in zip(arguments.scores, _stems(arguments.scores), strict=True):
        result = judging.judge(file, arguments.data, **given(arguments, *names))
        results.append(result)
        if arguments.out is not None:
            judging.write_judgement(result, arguments.out, stem)
        if not arguments.json:
            show_text(f"{result.name}: {result.gallery.sentence()}")
            show_table(result.readable().rename_axis(None))
            show("")
        for note in result.notes:
            say(f"{result.name}: {note}")
    if arguments.json:
        show_json([result.record() for result in results])
    elif len(results) > 1:
        say("`naaf compare` with the same files tells whether their differences are more than chance")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.save is None:
        return
    if len(arguments.scores) > 1 or arguments.save.suffix != ".npy":
        raise UsageError("--save writes one matrix; name one file of scores, and a .npy")
    if arguments.save.resolve() == arguments.scores[0].resolve():
        raise UsageError(f"--save {shown(arguments.save)} is the file that is judged; name another one")


def _stems(files: list[Path]) -> list[str]:
    """A name for each file's results: its own, or the whole path where two are alike."""
    stems = [file.stem for file in files]
    return [
        stem if stems.count(stem) == 1 else "_".join(file.parts[1:])
        for file, stem in zip(files, stems, strict=True)
    ]
