"""`naaf index`, `naaf search`."""

import argparse
from pathlib import Path

from ..messages import say
from .arguments import add_command, given, path, show, show_json, show_table
from .explaining import show_pair

INDEX = """\
Encode a split once and store it: unit vectors in float16, memory-mapped, and one vector an image and caption
for a first stage. Called again with another split or data, the index grows; an interrupted call goes on.
A part that is damaged is made again. Where the data set has moved, --data renews its path in the index.

examples:
  naaf index outputs/mine --out outputs/mine-index
  naaf index outputs/mine --data data/more --split train --out outputs/mine-index"""

SEARCH = """\
Ask an index: a text finds pictures, a picture finds captions. Scores are the model's own.

--image takes an image of the index by name or place, or any picture file, which is described by the extractor
of the indexed data (naaf data extract). An image of the index goes first: ./NAME means the file.

With --candidates a first stage picks so many and their exact scores rank them: faster for many images, and an
answer may be missed. docs/search.md says how often.

examples:
  naaf search outputs/mine-index "a dog jumps over a log" -k 10
  naaf search outputs/mine-index --image beach.jpg
  naaf search outputs/mine-index --image ~/new.jpg --features onnx:models/resnet50.onnx"""


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's commands to the command line."""
    advice = "the same command goes on where this one stopped"
    add = add_command(
        commands, "index", "encode a split for search", INDEX, index, advice=advice
    ).add_argument
    add("run", type=path, metavar="RUN", help="run folder or checkpoint")
    add("--data", type=path, metavar="DIR", help="data set (default: the one that the run was trained on)")
    add("--split", metavar="NAME", help="default: test, else dev")
    add("--out", type=path, required=True, metavar="INDEX", help="folder of the index; one that exists grows")
    add("--stage", choices=("fitted", "mean"), default="fitted", help="the first stage of --candidates")

    add = add_command(commands, "search", "ask an index", SEARCH, search).add_argument
    add("index", type=path, metavar="INDEX", help="a folder that naaf index wrote")
    add("text", nargs="?", metavar="TEXT", help="what the pictures should show")
    add("--image", metavar="NAME_OR_FILE", help="an image of the index, by name or place, or a picture file")
    add(
        "--features", metavar="NAME", help="the extractor of a picture file, where the index knows only its "
        "base name: transformers:FOLDER or onnx:FILE",
    )  # fmt: skip
    add("-k", type=int, default=10, metavar="N", help="answers")
    add("--candidates", type=int, metavar="N", help="images or captions that the first stage keeps")
    add("--explain", action="store_true", help="the first answer to a text, word by word")
    add("--json", action="store_true", help="the answers as JSON")


def index(arguments: argparse.Namespace) -> int:
    from ..search import build_index

    how = given(arguments, "out", "split", "stage")
    show(build_index(arguments.run, arguments.data, **how, progress=True))
    return 0


def search(arguments: argparse.Namespace) -> int:
    from ..errors import UsageError
    from ..search import Searcher

    if (arguments.text is None) == (arguments.image is None):
        raise UsageError("search for a TEXT, or for the captions of an --image")
    if arguments.image is None and arguments.features is not None:
        raise UsageError("--features describes the picture file of --image")
    if arguments.explain and arguments.text is None:
        raise UsageError("--explain takes the first answer to a TEXT apart; `naaf explain` takes any pair")
    if arguments.explain and arguments.json:
        raise UsageError("--explain prints a table; `naaf explain --json` gives a pair's numbers")
    searcher = Searcher(arguments.index, arguments.features)
    how = given(arguments, "k", "candidates")
    if arguments.image is None:
        hits = searcher.by_text(arguments.text, **how)
        encoder = searcher.model.text_encoder
        unknown = [word for word in encoder.words(arguments.text) if not encoder.known(word)]
        if unknown:
            say(f"the model has not learnt: {', '.join(unknown)}")
    else:
        image = int(arguments.image) if arguments.image.isdecimal() else arguments.image
        hits = searcher.by_image(image, **how)
        if hits.query.startswith("image ") and Path(arguments.image).is_file():
            say(f"asked: the index's {arguments.image}; ./{arguments.image} means the file of that name")
    if len(hits) < arguments.k:
        say(f"the index holds only {len(hits)} {hits.kind}s")
    if arguments.json:
        show_json(hits.to_frame().to_dict("records"))
        return 0
    show_table(hits.to_frame(), digits=3)
    if arguments.explain:
        say("")
        show_pair(searcher.explain(hits))
    return 0
