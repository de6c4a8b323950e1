"""Where the pictures of a public benchmark lie in a data set, and whether its training split holds them."""

from collections.abc import Sequence
from pathlib import Path

from ...errors import NaafError
from ...files import shown
from ..captions import read_filled
from ..manifest import layout_path
from ..prepare.image_ids import ImageIndex, aliases
from ..splits import Split
from .foils import FoilItem

Place = tuple[Split, int]  # an image of a split


def ids_path(folder: Path, split: str) -> Path:
    """The SCAN layout's own file of ids, an id an image or an id a caption."""
    return folder / f"{split}_ids.txt"


def picture_places(items: Sequence[FoilItem], splits: Sequence[Split]) -> list[Place | None]:
    """The first split that holds each item's picture, and the image there; None where none does.

    Pictures are known by {split}_image_names.txt or {split}_ids.txt; 000000085329.jpg, 85329 and
    COCO_val2014_000000085329.jpg are the same. Raises NaafError where no split has either file, and for a
    name that fits two images.
    """
    named = [(split, names, path) for split in splits for names, path in [_names(split)] if names is not None]
    if not named:
        folder = splits[0].folder
        raise NaafError(
            f"{shown(folder)} does not say which picture is which; put {ids_path(folder, 'SPLIT').name} "
            f"(an id an image) or {layout_path(folder, 'SPLIT', 'names').name} beside its features"
        )
    indices = [(split, ImageIndex(([name] for name in names), path), path) for split, names, path in named]
    places = {picture: _place(picture, indices) for picture in dict.fromkeys(item.picture for item in items)}
    return [places[item.picture] for item in items]


def _names(split: Split) -> tuple[list[str] | None, Path]:
    """What each image of a split is called, and the file that says so; None where there is none."""
    path = ids_path(split.folder, split.name)
    if split.image_names is not None or not path.is_file():
        return split.image_names, layout_path(split.folder, split.name, "names")
    ids, images = read_filled(path), len(split)
    if images and len(ids) == images * split.captions_per_image:
        ids = ids[:: split.captions_per_image]
    if len(ids) != images:
        raise NaafError(
            f"{shown(path)} holds {len(ids)} ids for {images} images; it needs an id an image or an id a "
            "caption"
        )
    return ids, path


def _place(picture: str, indices: Sequence[tuple[Split, ImageIndex, Path]]) -> Place | None:
    for split, index, path in indices:
        found = index.find(picture)
        if len(found) > 1:
            raise NaafError(
                f"{shown(path)}: {picture} fits images {found[0]} and {found[1]}; name them apart"
            )
        if found:
            return split, found[0]
    return None


def training_pictures(data: Path | None, train_ids: Path | None = None) -> frozenset[str] | None:
    """The pictures of the training split, as `shortest` names them; None where nothing says.

    train_ids: a file with an id or a picture's name a line; by default train_ids.txt of the data set, else
    its train_image_names.txt. Raises NaafError for an empty or a damaged file.
    """
    own = () if data is None else (ids_path(data, "train"), layout_path(data, "train", "names"))
    found = [train_ids] if train_ids else [path for path in own if path.is_file()]
    if not found:
        return None
    ids = read_filled(found[0])
    if not ids:
        raise NaafError(f"{shown(found[0])} is empty; it needs the id of a training picture a line")
    return frozenset(map(shortest, ids))


def shortest(name: str) -> str:
    """A picture's name without folder, ending, COCO's prefix and zeros."""
    return aliases(name)[-1]
