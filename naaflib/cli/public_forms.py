"""`naaf data public-forms`."""

import argparse

from ..files import shown
from .arguments import add_command, path, show

PUBLIC_FORMS = """\
Write a split of the built-in scenes in the forms of public benchmarks, to try what reads them, with known
answers: SugarCrepe (sugar_crepe/replace_obj.json, replace_att.json, replace_rel.json), VALSE
(valse/foil-it.json, relations.json) and Flickr30k Entities (flickr30k_entities/Sentences/, Annotations/).
The types of phrases are shapes. The pictures stay in the scenes' folder, under the same names.

examples:
  naaf data public-forms data/scenes data/scenes_public
  naaf data public-forms data/scenes data/scenes_dev --split dev"""


def add_action(actions: argparse._SubParsersAction) -> None:
    """Add the action to `naaf data`."""
    what = "write scenes as public benchmarks"
    add = add_command(actions, "public-forms", what, PUBLIC_FORMS, public_forms).add_argument
    add("folder", type=path, metavar="DIR", help="a folder that naaf data build scenes made")
    add("out", type=path, metavar="OUT", help="folder to write; new or empty")
    add("--split", metavar="NAME", help="train, dev or test; by default test")


def public_forms(arguments: argparse.Namespace) -> int:
    from ..data.scenes.public_forms import write_public_forms

    show(shown(write_public_forms(arguments.folder, arguments.out, arguments.split)))
    return 0
