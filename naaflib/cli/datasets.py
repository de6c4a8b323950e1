"""`naaf data ...`: build, verify, list, fetch, convert, import and extract data sets."""

import argparse

from ..files import shown
from ..messages import say
from . import public_forms
from .arguments import add_command, given, path, show, show_json, show_text

DATA = """\
Data sets in the SCAN layout: {split}_ims.npy (images, regions, dim), {split}_caps.txt (five lines an image),
and, where they exist, boxes, sizes, image names and images/. A manifest in data_manifests/ says what each
known data set consists of. Benchmarks are files that go with another data set's pictures.

examples:
  naaf data build scenes data/scenes
  naaf data verify data/f30k_precomp
  naaf data list
  naaf data fetch f30k_precomp
  naaf data fetch sugar_crepe"""

BUILD = """\
Render the built-in data set from a seed: pictures of coloured shapes, 36 regions an image, five captions
each, the regions that a word speaks of, and captions with exactly one wrong word. Same seed, same bytes.

examples:
  naaf data build scenes data/scenes
  naaf data build scenes data/small --train 300 --dev 100 --test 100 --seed 1"""

VERIFY = """\
Check a data set folder: files, shapes, counts, finite values, boxes, names, checksums where they are known;
of a benchmark that each file is there, whole and the published one.
Every check is one row, with what to do where it failed. Exit status 1 where one failed.

examples:
  naaf data verify data/f30k_precomp
  naaf data verify data/coco_precomp --quick --json"""

LIST = "List the known data sets: what they hold, where they come from, their licence."

FETCH = """\
Download what a manifest gives a direct address for, checked, and print the exact steps for everything else.
Files that are there and right are not downloaded again.

examples:
  naaf data fetch f30k_precomp
  naaf data fetch f30k_precomp ../big-disk/f30k_precomp
  naaf data fetch cxc"""

CONVERT = """\
Turn bottom-up-attention TSV files (image_id, image_w, image_h, num_boxes, boxes, features) and captions into
one split of the layout: features, boxes, sizes, image names, captions, in the order of the captions. A folder
with an .npz an image (x, bbox, image_w, image_h) is read, too.

Captions: Karpathy's dataset_*.json, or a table with a line a caption (image, tab or comma, caption); a first
line may name the columns in any order (image, number, caption). A row belongs to the image whose id it has
exactly, else to the one that a shortened form of its id fits. Numbers are little-endian float32.
Nothing is overwritten unless --overwrite asks for it; the files appear only when all of them are whole.

examples:
  naaf data convert boxes_36.tsv --captions dataset_flickr30k.json --split test --out data/mine_precomp
  naaf data convert a.tsv b.tsv --captions captions.tsv --split dev --images dev.txt --out data/mine_precomp
  naaf data convert features/ --captions c.tsv --split train --regions 100 --pad --out data/mine_precomp
  naaf data convert coco_36.tsv --captions dataset_coco.json --id-field cocoid --split train \\
      --source-splits train restval --dtype float16 --out data/mine_precomp

own features need no TSV: write {split}_ims.npy (images, regions, dim), {split}_caps.txt (five lines an image;
another number: a manifest.yaml in the folder, {name: mine, captions_per_image: 1})
and check them with naaf data verify"""


IMPORT = """\
A folder of your own pictures and a file of captions become a data set: splits, captions, image names and
pictures. Features are made afterwards: naaf data extract.

The captions file: a table (csv, tsv; image and caption, a first line may name the columns), JSON or JSON
lines of records, Karpathy's dataset_*.json, Flickr8k's *.token, COCO's captions_*.json. What is left out is
told with its reason, and listed in left_out.csv. Pictures are linked where possible; what is not an upright
8-bit JPEG or PNG is stored as one. Copies of a picture never stand in two splits.

Without --captions every picture goes into the split test: naaf data extract and naaf index make it searchable
with a model that is trained already.

examples:
  naaf data import --images photos --captions captions.csv --out data/mine
  naaf data import --images photos --captions captions.jsonl --splits fold --out data/mine
  naaf data import --images Images --captions dataset_flickr8k.json --out data/mine --captions-per-image 5
  naaf data import --images photos --out data/photos

then:
  naaf data extract data/mine --features pixels
  naaf train --data data/mine --out outputs/mine"""

EXTRACT = """\
Describe the pictures of a data set: region features, boxes and sizes of every split, in the layout. An
interrupted call goes on where it stopped, and describes changed pictures again. The manifest records
extractor, revision, checksum of the weights and preprocessing; a model refuses features of another one.

features:
  pixels                     colours, edges and texture of 36 boxes, 128 numbers each; needs nothing
  transformers:NAME          a vision model of the hub (ViT, DINOv2, CLIP, SigLIP, Swin, ConvNeXt, ...) or a
                             detector (DETR, YOLOS); NAME may be a local folder
  timm:NAME                  a vision model of timm; NAME may be a local folder
  onnx:FILE                  any ONNX model with a map or tokens as its output

examples:
  naaf data extract data/mine --features pixels
  naaf data extract data/mine --features transformers:facebook/dinov2-small --grid 6
  naaf data extract data/mine --features transformers:hustvl/yolos-tiny --grid 8 --min-score 0.3
  naaf data extract data/mine --features timm:vit_small_patch16_224.dino"""


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's commands to the command line."""
    data = add_command(commands, "data", "data sets: built, imported, converted, checked", DATA)
    actions = data.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    add = add_command(actions, "build", "render the built-in data set", BUILD, build).add_argument
    add("name", choices=("scenes",), metavar="scenes", help="the data set; scenes is the built-in one")
    add("folder", type=path, metavar="DIR", help="folder to write; one that holds a data set is refused")
    add("--seed", type=int, default=0, metavar="N", help="same seed, same bytes")
    for split, images in (("train", 1500), ("dev", 250), ("test", 250)):
        add(f"--{split}", type=int, default=images, metavar="N", help=f"{split} images")

    add = add_command(actions, "verify", "check a data set folder", VERIFY, verify).add_argument
    add("folder", type=path, metavar="DIR", help="the folder")
    add("--quick", action="store_true", help="look at a sample of the features, skip checksums")
    add("--json", action="store_true", help="the report as JSON")

    add = add_command(actions, "list", "the known data sets", LIST, list_known).add_argument
    add("--json", action="store_true", help="the list as JSON")

    advice = "the same command gets the files that are missing"
    add = add_command(
        actions, "fetch", "download a data set, or say how", FETCH, fetch, advice=advice
    ).add_argument
    add("name", metavar="NAME", help="one of `naaf data list`")
    add("folder", type=path, nargs="?", metavar="DIR", help="where to (by default data/NAME of the project)")
    _add_convert(actions)
    _add_import(actions)
    _add_extract(actions)
    public_forms.add_action(actions)


def _add_convert(actions: argparse._SubParsersAction) -> None:
    what = "bottom-up TSV files into the layout"
    add = add_command(actions, "convert", what, CONVERT, convert).add_argument
    add("tsv", type=path, nargs="+", metavar="TSV", help="files, or folders of .npz, with region features")
    add("--captions", type=path, required=True, metavar="FILE", help="captions, by image")
    add("--out", type=path, required=True, metavar="DIR", help="folder of the data set")
    add("--split", required=True, metavar="NAME", help="train, dev, test or testall: the split to write")
    add("--images", type=path, metavar="FILE", help="image names, one a line: which ones, in which order")
    add("--source-splits", nargs="+", metavar="NAME", help="splits of Karpathy's file, if named differently")
    add("--id-field", metavar="NAME", help="field of Karpathy's file that holds the TSV's image_id")
    add("--captions-per-image", type=int, default=5, metavar="N", help="captions of every image")
    add("--regions", type=int, metavar="N", help="keep the first N regions; by default every image has 36")
    add(
        "--pad",
        action="store_true",
        help="fill images with fewer than N regions with zeros, which take no part",
    )
    add("--dtype", choices=("float32", "float16"), default="float32", help="how the features are stored")
    add("--overwrite", action="store_true", help="replace a split that is there")


def _add_import(actions: argparse._SubParsersAction) -> None:
    add = add_command(actions, "import", "your own pictures and captions", IMPORT, import_own).add_argument
    add(
        "--images", type=path, required=True, metavar="DIR", help="folder of the pictures, searched below too"
    )
    add("--captions", type=path, metavar="FILE", help="captions, by image; without them: only to be searched")
    add("--out", type=path, required=True, metavar="DIR", help="folder to write; new or empty")
    add(
        "--splits",
        metavar="HOW",
        help="ratio of train, dev and test (80/10/10), or a file with an image and its split a line, or the "
        "column of the captions file that names the split (default: split, partition or subset where it is "
        "there, else 80/10/10)",
    )
    add("--captions-per-image", type=int, metavar="N", help="default: the number that keeps most captions")
    add("--seed", type=int, default=0, metavar="N", help="of the shuffling under a ratio")


def _add_extract(actions: argparse._SubParsersAction) -> None:
    what, advice = "region features of your own pictures", "the same command goes on where this one stopped"
    add = add_command(actions, "extract", what, EXTRACT, extract_features, advice=advice).add_argument
    add("folder", type=path, metavar="DIR", help="the data set, as naaf data import writes it")
    add("--features", required=True, metavar="NAME", help="pixels, or KIND:MODEL as above")
    add(
        "--grid",
        type=int,
        default=6,
        metavar="N",
        help="N x N regions an image; of a detector at most so many",
    )
    add(
        "--min-score",
        type=float,
        metavar="P",
        help="of a detector's regions those with a probability of at least P; the surest is always kept",
    )
    add("--dtype", choices=("float16", "float32"), default="float16", help="how the features are stored")
    add("--batch", type=int, default=16, metavar="N", help="pictures at a time")
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--overwrite", action="store_true", help="replace features that are there")


def build(arguments: argparse.Namespace) -> int:
    from ..data.scenes import dataset as scenes

    scenes.build(arguments.folder, **given(arguments, "seed", "train", "dev", "test"))
    show(shown(arguments.folder))
    return 0


def verify(arguments: argparse.Namespace) -> int:
    from ..data.prepare.verify import verify as check

    report = check(arguments.folder, quick=arguments.quick, progress=not arguments.json)
    if arguments.json:
        show_json(report.to_dict())
    else:
        show(report.table(), end="")
    return 0 if report.ok else 1


def fetch(arguments: argparse.Namespace) -> int:
    from ..data.prepare.fetch import fetch as download

    show(download(arguments.name, arguments.folder), end="")
    return 0


def convert(arguments: argparse.Namespace) -> int:
    from ..data.prepare.convert import convert_tsv

    files = (arguments.tsv, arguments.captions, arguments.out, arguments.split)
    names = (
        "captions_per_image",
        "regions",
        "pad",
        "dtype",
        "images",
        "source_splits",
        "id_field",
        "overwrite",
    )
    show(convert_tsv(*files, **given(arguments, *names), progress=True))
    return 0


def list_known(arguments: argparse.Namespace) -> int:
    from ..data.manifest import load, names

    manifests = [load(name) for name in names()]
    if arguments.json:
        show_json([manifest.model_dump() for manifest in manifests])
        return 0
    for manifest in manifests:
        show_text(
            f"{manifest.name}: {manifest.title or manifest.name}\n"
            f"    {manifest.contents()}\n"
            f"    licence: {manifest.licence or 'not stated'}"
        )
    say("how to get one: naaf data fetch NAME")
    return 0


def import_own(arguments: argparse.Namespace) -> int:
    from ..data.prepare.own_pictures import import_pictures

    how = given(arguments, "splits", "captions_per_image", "seed")
    show(import_pictures(arguments.images, arguments.captions, arguments.out, **how, progress=True))
    say(f"next: naaf data extract {shown(arguments.out)} --features pixels")
    return 0


def extract_features(arguments: argparse.Namespace) -> int:
    from ..data.extract.writing import extract

    how = given(arguments, "grid", "dtype", "batch", "device", "min_score", "overwrite")
    show(extract(arguments.folder, arguments.features, **how, progress=True))
    return 0
