"""The built-in data set "scenes": rendered from a seed, in the layout of the real sets.

Beside that layout it knows what no public set does: which regions each word speaks of, which objects are in
each picture, and foils, captions with exactly one word made wrong. An image depends on the seed, its split
and its number only: the same seed gives the same bytes, whatever the sizes of the splits.

    {split}_ims.npy (image, 36, 128) float16      {split}_ims_bbx.npy (image, 36, 4) x1, y1, x2, y2 in pixels
    {split}_caps.txt five lines an image          {split}_ims_size.npy (image, 2) width, height
    {split}_image_names.txt, images/*.jpg         {split}_links.json, mentions, objects, foils
"""

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from ...errors import NaafError, UsageError
from ...files import put, read_json, read_yaml, shown
from ...messages import progress_bar, say
from ..manifest import CAPTIONS_AN_IMAGE, LAYOUT, OWN_MANIFEST, layout_path
from ..writing import temporary_folder
from .features import DIM
from .foils import Foil
from .maker import RECORDS, record_path, write_split
from .regions import REGIONS
from .world import Scene, SceneObject

SIZES = {"train": 1500, "dev": 250, "test": 250}  # images of the default set
VERSION = 1  # of the generator: another version may give other bytes


def build(
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    train: int = SIZES["train"],
    dev: int = SIZES["dev"],
    test: int = SIZES["test"],
) -> Path:
    """Renders the data set into the folder, with so many images a split; the same settings again do nothing.

    The folder appears when it is whole. Raises NaafError where it already holds something else.
    """
    folder, sizes = Path(folder), {"train": train, "dev": dev, "test": test}
    if seed < 0 or min(sizes.values()) < 1:
        raise UsageError(
            f"scenes need a seed of at least 0 and at least one image a split, not {seed}, {sizes}"
        )
    manifest = _manifest(seed, sizes)
    if _is_built(folder, manifest):
        say(f"{shown(folder)} already holds these scenes; nothing to do")
        return folder
    images = sum(sizes.values())
    with (
        temporary_folder(folder.parent, folder) as room,
        progress_bar(total=images, desc="rendering scenes", unit=" images", mininterval=0.5) as progress,
    ):
        partial = room / folder.name
        layout_path(partial, "", "pictures").mkdir(parents=True)
        for split, images in sizes.items():
            write_split(partial, split, images, seed, progress.update)
        text = yaml.safe_dump(manifest, sort_keys=False, width=110)
        (partial / OWN_MANIFEST).write_text(text, encoding="utf-8")
        try:
            put(partial, folder)
        except OSError:  # meanwhile somebody else put something there: fine if it is the same set
            if not _is_built(folder, manifest):
                raise
    return folder


def ensure(folder: str | os.PathLike[str]) -> Path:
    """The folder; where it is missing or empty, the default set is built first."""
    folder = Path(folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        say(f"{shown(folder)} is missing: rendering the built-in data set (about 20 seconds)")
        build(folder)
    return folder


def is_default(folder: str | os.PathLike[str]) -> bool:
    """Whether the folder holds the set that `ensure` renders."""
    try:
        return _is_built(Path(folder), _manifest(0, SIZES))
    except NaafError:
        return False


def read_links(folder: str | os.PathLike[str], split: str) -> list[list[list[int]]]:
    """For each caption and each of its tokens, the regions that show what the word speaks of.

    A region counts if it overlaps the true box of such an object with an intersection over union of at least
    0.5. Nouns and adjectives speak of every object that makes the caption true in their place; all other
    words, relations and backgrounds among them, have no region. Tokens are those of `captions.tokenize`.
    """
    return _words_lists(folder, split, "links")


def read_mentions(folder: str | os.PathLike[str], split: str) -> list[list[list[int]]]:
    """As `read_links`, but the numbers of the objects (in `read_scenes`) that each word speaks of."""
    return _words_lists(folder, split, "mentions")


def read_scenes(folder: str | os.PathLike[str], split: str) -> list[Scene]:
    """What each picture shows: size, background, objects with their attributes and true boxes."""
    return _valid(list[Scene], folder, split, "objects")


def read_objects(folder: str | os.PathLike[str], split: str) -> list[tuple[SceneObject, ...]]:
    """The objects of each image."""
    return [scene.objects for scene in read_scenes(folder, split)]


def read_foils(folder: str | os.PathLike[str], split: str) -> list[Foil]:
    """The split's captions with one word made wrong; false of their image even for a lenient viewer."""
    return _valid(list[Foil], folder, split, "foils")


def _words_lists(folder: str | os.PathLike[str], split: str, what: str) -> list[list[list[int]]]:
    return _valid(list[list[list[int]]], folder, split, what)


def _valid(kind: Any, folder: str | os.PathLike[str], split: str, what: str) -> Any:
    """The record as that type. Raises NaafError for another content, with its place."""
    try:
        return TypeAdapter(kind).validate_python(_read(folder, split, what))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "its top"
        raise NaafError(
            f"{shown(record_path(Path(folder), split, what))}: {place}: {first['msg']}; "
            f"delete {shown(folder)} and build it again"
        ) from None


def _read(folder: str | os.PathLike[str], split: str, what: str) -> Any:
    return read_json(
        record_path(Path(folder), split, what),
        f"only the scenes set has {what}: `naaf data build scenes {shown(folder)}` makes it",
        f"delete {shown(folder)} and build it again",
    )


def _manifest(seed: int, sizes: dict[str, int]) -> dict[str, Any]:
    shapes: dict[str, tuple[str, list[object]]] = {f.role: (f.path, [*f.shape]) for f in LAYOUT}
    pictures = shapes.pop("pictures")
    own = {what: record_path(Path(), "{split}", what).name for what in RECORDS}
    shapes |= {"links": (own["links"], ["captions"]), "foils": (own["foils"], []), "pictures": pictures}
    files = [{"path": path, "role": role, "required": True, "shape": s} for role, (path, s) in shapes.items()]
    files += [{"path": own[what], "required": True} for what in ("objects", "mentions")]
    return {
        "name": "scenes",
        "title": "Scenes, the built-in data set, rendered on your machine from a seed",
        "captions_per_image": CAPTIONS_AN_IMAGE,
        "regions": REGIONS,
        "dim": DIM,
        "dtype": "float16",
        "seed": seed,
        "licence": "Rendered by naaflib, under the project's licence (Apache-2.0): yours to use and pass on.",
        "source": f"naaf data build scenes, generator version {VERSION}.",
        "splits": {split: {"images": images} for split, images in sizes.items()},
        "files": files,
    }


def _is_built(folder: Path, manifest: dict[str, Any]) -> bool:
    """Whether the folder holds this very set; False where there is room for it, else a NaafError."""
    if folder.exists() and not folder.is_dir():
        raise NaafError(f"{shown(folder)} is a file, not a folder; name another place")
    if not folder.exists() or not any(folder.iterdir()):
        return False
    try:
        found = read_yaml(folder / OWN_MANIFEST)
    except NaafError:
        found = None
    if found != manifest:
        scenes = isinstance(found, dict) and found.get("name") == manifest["name"]
        other = "scenes of other settings" if scenes else "other files"
        raise NaafError(f"{shown(folder)} already holds {other}; delete it or build into another folder")
    names = [file["path"].format(split=split) for file in manifest["files"] for split in manifest["splits"]]
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise NaafError(f"{shown(folder)} lacks {missing[0]}; delete the folder and build it again")
    return True
