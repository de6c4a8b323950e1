"""`naaf pointing`."""

import argparse

from .arguments import add_command, path, rows, show, show_json, show_table, show_text

POINTING = """\
The pointing game: how often the region that a word attends to most is one that shows what the word speaks of.
Chance is a region picked blindly. Intervals are of 95 %, over images.

Which regions show what is known for the built-in scenes, and for Flickr30K by Flickr30k Entities: --entities
names the folder with its Sentences/ and Annotations/. There a region shows a phrase if its intersection over
union with one of the phrase's boxes is at least --overlap. Of a phrase all words count but articles,
possessives, prepositions and the like; the last word, mostly the noun, is told apart. The data set needs
boxes and sizes (_ims_bbx.npy, _ims_size.npy), and image names or ids.

  printed      --json
  phrases      phrases       phrases of this type; one of two types stands in both rows
  boxed        boxed         those that have a box (a scene, or what cannot be seen, mostly has none)
  reached      reached       those whose box a region overlaps enough; no model can point at the others
  words        words         words of the reached phrases: these are counted
  rate         rate          share of them whose most attended region is right
  low, high    low, high     its 95 % interval
  chance       chance        the same of a region picked blindly

examples:
  naaf pointing outputs/first
  naaf pointing outputs/f30k --data data/f30k_precomp --entities data/flickr30k_entities
  naaf pointing outputs/f30k --entities data/flickr30k_entities --split dev --overlap 0.7 --json
  naaf data public-forms data/scenes data/scenes_public
  naaf pointing outputs/first --entities data/scenes_public/flickr30k_entities"""

LAST = {True: "last word of its phrase", False: "other words"}
SHARES = ("rate", "low", "high", "chance")


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's command to the command line."""
    what = "how often words attend to the regions they speak of"
    add = add_command(commands, "pointing", what, POINTING, pointing).add_argument
    add("source", type=path, metavar="RUN_OR_CHECKPOINT", help="a run folder, or a checkpoint")
    add("--entities", type=path, metavar="DIR", help="Flickr30k Entities; by default the scenes' own links")
    add("--data", type=path, metavar="DIR", help="data set; by default the one of the run")
    add("--split", metavar="NAME", help="train, dev, test or testall; by default test, else dev")
    add(
        "--overlap", type=float, metavar="IOU",
        help="with --entities: the intersection over union from which a region shows a box; by default 0.5",
    )  # fmt: skip
    add("--vocabulary", type=path, metavar="JSON", help="the vocabulary of a released checkpoint")
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, ...")
    add("--json", action="store_true", help="the result as JSON")


def pointing(arguments: argparse.Namespace) -> int:
    from ..data.splits import evaluation_split, open_split
    from ..devices import pick_device
    from ..errors import UsageError
    from ..model.checkpoint import data_folder, load_checkpoint

    if arguments.overlap is not None and arguments.entities is None:
        raise UsageError("--overlap goes with --entities; the scenes' own links have an overlap of 0.5")
    data = data_folder(arguments.source, arguments.data)
    split = open_split(data, arguments.split or evaluation_split(data))
    known = _of_scenes(split) if arguments.entities is None else _of_entities(arguments, split)
    model = load_checkpoint(arguments.source, arguments.vocabulary).to(pick_device(arguments.device))
    return known(arguments, model)


def _of_scenes(split):
    from ..data.scenes.dataset import read_links
    from ..errors import NaafError
    from ..files import shown

    try:
        links = read_links(split.folder, split.name)
    except NaafError as error:
        remedy = "for Flickr30K name the folder of Flickr30k Entities with --entities"
        raise NaafError(f"{shown(split.folder)} has no links of its own ({error}); {remedy}") from None

    def play(arguments, model) -> int:
        from ..explanation import pointing_game
        from ..pages.measured import CLASSES

        game = pointing_game(model, split, links)
        table = (
            game.by_class(CLASSES).rename(columns={"count": "words"}).sort_values("words", ascending=False)
        )
        return _show(arguments, split, game, {"by_class": table}, {})

    return play


def _of_entities(arguments: argparse.Namespace, split):
    from ..data.boxes import OVERLAP
    from ..data.public.entities import entity_links

    overlap = OVERLAP if arguments.overlap is None else arguments.overlap
    entities = entity_links(arguments.entities, split, overlap)

    def play(arguments, model) -> int:
        from ..explanation import by_phrase_type, pointing_game

        game = pointing_game(model, split, entities.links)
        place = game.by_class([[LAST[last] for last in words] for words in entities.last])
        tables = {
            "by_type": by_phrase_type(game, entities),
            "by_place": place.rename(columns={"count": "words"}),
        }
        about = {"overlap": overlap, "unaligned_captions": entities.unaligned, "phrases": entities.sentence()}
        return _show(arguments, split, game, tables, about)

    return play


def _show(arguments: argparse.Namespace, split, game, tables, about) -> int:
    if arguments.json:
        low, high = game.interval
        whole = {"words": game.count, "rate": game.rate, "low": low, "high": high, "chance": game.chance}
        lists = {name: rows(table.reset_index()) for name, table in tables.items()}
        show_json({"split": split.name, **about, **whole, **lists})
        return 0
    show_text(f"{split.name}: {game.sentence()}")
    if about:
        show_text(about["phrases"])
    for table in tables.values():
        show("")
        percent = table.assign(**{name: 100 * table[name] for name in SHARES})
        show_table(percent.rename_axis(None))
    show("\nrate, low, high and chance in percent")
    return 0
