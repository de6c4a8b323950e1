"""`naaf foils`."""

import argparse

from ..errors import UsageError, unknown
from ..files import shown
from ..messages import say
from .arguments import add_command, given, path, rows, show, show_json, show_table, show_text

FOILS = """\
Does a model score the true caption of a picture above a false one, more often than a reader who sees nothing?

--benchmark
  sugar-crepe  7,511 items on COCO val2017; --files holds add_att.json ... swap_obj.json
               (github.com/RAIVNLab/sugar-crepe, data/)
  valse        foil-it, relations and plurals on COCO; --files holds foil-it.json ...
               (github.com/Heidelberg-NLP/VALSE, data/); only items that two annotators of three accept
  order        the captions of any data set, their words in another order

Printed, percent; a row a category:
  accuracy       the caption scores higher than the foil, with a 95 % interval over pictures; a tie is a miss
  chance         50
  text-only      the same of an n-gram model of the training captions, which sees no picture
  shorter        the same of the rule "the caption with fewer words"
  other picture  (--other-pictures) the model's own, beside another picture of the benchmark
  unseen         the accuracy on pictures outside the training split, and their items
  seen           the accuracy on pictures inside it
Items with one exchanged word, as captions that differ in nothing else, also say which word is wrong: AUC,
average precision, and how often the wrong word is the first suspect, by the model and by the n-gram model.

A run or checkpoint of ours needs the features of the pictures: --data DIR, where DIR names them
({split}_image_names.txt or {split}_ids.txt). Items without a picture there are left out and counted.
Anybody's model is judged by a table: --list writes it, --scores reads it, filled in (larger is the better
match).

examples:
  naaf foils outputs/flickr8k --benchmark order --other-pictures
  naaf foils outputs/coco --benchmark sugar-crepe --files data/sugar_crepe --data data/coco_precomp
  naaf foils --benchmark sugar-crepe --files data/sugar_crepe --list pairs.csv
  naaf foils --benchmark sugar-crepe --files data/sugar_crepe --scores pairs.csv --captions train_caps.txt \\
      --train-ids train_ids.txt
  naaf foils outputs/coco --benchmark valse --categories foil-it --out outputs/coco/valse --json"""


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's command to the command line."""
    what = "true captions against false ones: SugarCrepe, VALSE, word order"
    add = add_command(commands, "foils", what, FOILS, foils).add_argument
    add("source", type=path, nargs="?", metavar="RUN_OR_CHECKPOINT", help="a run folder, or a checkpoint")
    add("--benchmark", required=True, metavar="NAME", help="sugar-crepe, valse or order")
    add("--files", type=path, metavar="DIR", help="its JSON files (default: data/sugar_crepe, data/valse)")
    add("--data", type=path, metavar="DIR", help="the pictures' data set; by default the one of the run")
    add("--split", metavar="NAME", help="of it; by default every one, for order test, else dev")
    add("--categories", nargs="+", default=[], metavar="NAME", help="some of the benchmark's categories")
    add("--scores", type=path, metavar="CSV", help="judge this table of scores in the place of a run")
    add("--list", type=path, metavar="CSV", help="write the table of pairs to score, and stop")
    add(
        "--captions", type=path, metavar="FILE",
        help="what the text-only baseline learns from, a caption a line; by default train_caps.txt of --data",
    )  # fmt: skip
    add(
        "--train-ids", type=path, metavar="FILE", help="the pictures of the training, an id or a file's name "
        "a line; by default train_ids.txt of --data, else its train_image_names.txt",
    )  # fmt: skip
    add(
        "--other-pictures", action="store_true", help="score every pair beside another picture, too: what "
        "the model prefers by the text alone",
    )  # fmt: skip
    add("--out", type=path, metavar="DIR", help="write table.csv, items.csv and words.csv into it")
    add("--seed", type=int, default=0, metavar="N", help="of the word orders")
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, ...")
    add("--json", action="store_true", help="the result as JSON")


def foils(arguments: argparse.Namespace) -> int:
    from ..explanation.benchmark import BENCHMARKS

    if arguments.benchmark not in BENCHMARKS:
        raise unknown("benchmark", arguments.benchmark, BENCHMARKS)
    asked = [name for name in ("source", "scores", "list") if getattr(arguments, name) is not None]
    if len(asked) != 1:
        raise UsageError("name one of: a run or a checkpoint, --scores CSV, --list CSV")
    if arguments.seed < 0:
        raise UsageError("--seed is a whole number from 0 on")
    if arguments.benchmark != "order" and arguments.split and arguments.source is None:
        raise UsageError("--split says where a run's pictures are; leave it out without a run")
    return _list(arguments) if asked == ["list"] else _judge(arguments)


def _list(arguments: argparse.Namespace) -> int:
    from ..data.public.pair_scores import write_pairs_to_score
    from ..explanation.benchmark import benchmark_items

    for option in ("captions", "train_ids", "out"):
        if getattr(arguments, option) is not None:
            raise UsageError(
                f"--{option.replace('_', '-')} has no use with --list, which writes pairs to score"
            )
    asked = given(arguments, "files", "data", "split", "categories", "seed")
    items = benchmark_items(arguments.benchmark, **asked)
    write_pairs_to_score(arguments.list, items)
    if arguments.json:
        show_json({"file": str(arguments.list), "items": len(items)})
    else:
        show(f"{len(items):,} items: {shown(arguments.list)}; fill in score_caption and score_foil")
    return 0


def _judge(arguments: argparse.Namespace) -> int:
    from ..explanation import foil_benchmark

    asked = (
        "files",
        "data",
        "split",
        "categories",
        "scores",
        "captions",
        "train_ids",
        "other_pictures",
        "seed",
        "device",
    )
    found = foil_benchmark(arguments.benchmark, arguments.source, **given(arguments, *asked))
    if arguments.out:
        names = ", ".join(shown(file) for file in found.save(arguments.out))
        say(f"wrote {names}")
    if arguments.json:
        words = found.words_table()
        about = given(arguments, "benchmark") | {"scorer": found.scorer, "left_out": found.left_out}
        notes = {"notes": found.sentences(), "rows": rows(found.table())}
        show_json(about | notes | {"words": None if words is None else rows(words)})
        return 0
    _show(found)
    return 0


def _show(found) -> None:
    for sentence in found.sentences():
        show_text(sentence)
    show("")
    show_table(_readable(found.table()))
    words = found.words_table()
    if words is not None:
        show_text("\nWhich word is wrong, of the items with one exchanged word:")
        show_table(_readable_words(words))


def _readable(table):
    """A row a category, as a person reads it."""
    from pandas import DataFrame

    columns = {"items": _count(table, "items"), "accuracy": _interval(table, "accuracy")}
    columns |= {"chance": table["chance"].map("{:.0f}".format)}
    columns |= {"text-only": _interval(table, "text_only"), "shorter": table["shorter"].map("{:.1f}".format)}
    if "other_picture" in table:
        columns |= {"other picture": _interval(table, "other_picture")}
    for part in ("unseen", "seen"):
        columns |= {part: _interval(table, part), f"{part} items": _count(table, f"{part}_items")}
    return DataFrame(columns).set_axis(table["category"]).rename_axis(None)


def _readable_words(table):
    """A row a category and reader, as a person reads it."""
    from pandas import DataFrame

    columns = {"reader": table["reader"], "items": _count(table, "items")}
    columns |= {"accuracy": _interval(table, "accuracy"), "AUC": _interval(table, "auc")}
    for name, measure in (("AP", "average_precision"), ("first", "first")):
        chance = table[f"chance_{measure.removeprefix('average_')}"].map("{:.1f}".format)
        columns |= {name: _interval(table, measure), f"{name} by chance": chance}
    return DataFrame(columns).set_axis(table["category"]).rename_axis(None)


def _interval(table, name: str) -> list[str]:
    """A measure with its interval."""
    values = table[[name, f"{name}_low", f"{name}_high"]].itertuples(index=False)
    unknown = table.get(f"{name}_items", table[name]).isna()
    texts = [
        f"{value:.1f}" if low != low else f"{value:.1f} ({low:.1f} to {high:.1f})"
        for value, low, high in values
    ]
    return [
        "unknown" if never else "-" if value != value else text
        for never, value, text in zip(unknown, table[name], texts, strict=True)
    ]


def _count(table, name: str) -> list[str]:
    return ["unknown" if count != count else f"{count:.0f}" for count in table[name]]
