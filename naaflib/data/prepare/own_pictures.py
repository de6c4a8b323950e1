"""A folder of pictures and a file of captions -> a data set without features (`naaf data extract` adds them).
Without a file of captions: a split of pictures that can be searched.

Every image of the captions file ends in one split or in left_out.csv with its reason.
"""

import csv
import hashlib
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from ...errors import NaafError, UsageError
from ...files import missing, put, read_text, shown
from ...messages import progress_bar
from ...spreadsheets import marked
from ..manifest import OWN_MANIFEST, layout_path
from ..pictures import is_plain, large_pictures, read_upright
from ..writing import write_lines
from .image_captions import ImageCaptions, read_image_captions

SPLIT_NAMES = {"train": "train", "restval": "train", "dev": "dev", "val": "dev", "valid": "dev"}
SPLIT_NAMES |= {"validation": "dev", "test": "test"}
KEPT_FIRST = ("test", "dev", "train")  # a picture that stands in two splits stays where it is measured
RATIOS = "80/10/10"
LARGE = 25_000_000  # pixels; a larger picture is stored smaller, to fit LONGEST
LONGEST = 2048
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
LEFT_OUT = "left_out.csv"


@dataclass(frozen=True)
class Candidate:
    """An image of the captions file: its picture, what is known of it, and why it is left out, if it is."""

    name: str
    captions: tuple[str, ...]
    split: str | None
    path: Path | None = None
    digest: str = ""
    size: tuple[int, int] = (0, 0)  # width, height, upright
    reason: str = ""
    detail: str = ""

    def out(self, reason: str, detail: str = "") -> "Candidate":
        return self if self.reason else replace(self, reason=reason, detail=detail)


@dataclass(frozen=True)
class Imported:
    """What was written, and what was left out and why."""

    folder: Path
    captions_per_image: int
    splits: dict[str, int]  # images
    left_out: dict[str, int]  # images by reason
    more_captions: int
    without_captions: int  # pictures
    repeated: int

    def __str__(self) -> str:
        sizes = ", ".join(f"{split} {images}" for split, images in self.splits.items())
        each = f"{self.captions_per_image or 'no'} captions an image"
        lines = [f"{shown(self.folder)}: images: {sizes}; {each}"]
        if self.more_captions:
            lines.append(
                f"left out: {self.more_captions} captions beyond {self.captions_per_image} of an image"
            )
        lines += [f"left out: {count} images: {reason}" for reason, count in self.left_out.items()]
        if self.left_out:
            lines.append(f"each of them: {shown(self.folder / LEFT_OUT)}")
        if self.without_captions:
            lines.append(f"left out: {self.without_captions} pictures that the captions file does not name")
        if self.repeated:
            lines.append(
                f"note: {self.repeated} pictures are copies of another one of their split and count as images"
            )
        return "\n".join(lines)


def import_pictures(
    images: Path,
    captions: Path | None,
    out: Path,
    *,
    splits: str | None = None,
    captions_per_image: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Imported:
    """Write captions, image names, sizes and pictures of each split, and a manifest.

    captions: any file that `read_image_captions` reads; None: every picture, without a caption, goes into the
    split test. splits: a ratio such as "80/10/10" (train, dev, test), a file with an image and its split a
    line, or the column or field of the captions file that names the split; None: split, partition or subset
    where the file has it, else 80/10/10. Under a ratio the seed shuffles. captions_per_image: images with
    fewer are left out, of more the first are kept; None: the number that keeps most captions.

    A picture that stands in the file under several names (the same bytes) is in one split only: under a
    ratio its copies go together, else those in train give way to dev, and those to test. Pictures are linked
    where the file system can, else copied; what not every reader shows alike (turned by EXIF, CMYK, 16 bits,
    transparent, animated, other formats, above 25 megapixels) is stored as an upright RGB PNG.
    Raises NaafError, and then nothing is written.
    """
    if not images.is_dir():
        what = f"{shown(images)} is a file" if images.exists() else missing(images)
        raise NaafError(f"{what}; --images names the folder with the pictures")
    if captions_per_image is not None and captions_per_image < 1:
        raise UsageError("captions an image must be at least 1")
    if captions is None and (splits or captions_per_image):
        raise UsageError("without --captions there are no splits and no captions an image; leave both out")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise NaafError(f"{shown(out)} is not an empty folder; give --out a new one")
    ratio = _ratio(splits)
    is_file = splits is not None and ratio is None and Path(splits).is_file()
    field = None if ratio or is_file else splits
    pictures = sorted(path for path in images.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    if captions is None:
        known = [ImageCaptions(path.relative_to(images).as_posix(), (), "test") for path in pictures]
    else:
        known = read_image_captions(captions, field)
    if is_file:
        known = _split_by_file(known, Path(str(splits)))
    found = _found(known, images)
    counts = [len(one.captions) for one in found if not one.reason]
    number = captions_per_image or (0 if captions is None else _best_number(counts))
    found = [
        one
        if len(one.captions) >= number
        else one.out(f"fewer than {number} captions", str(len(one.captions)))
        for one in found
    ]
    found = _examined(found, progress)
    if ratio or all(one.split is None for one in known):
        found = _shared_out(found, ratio or _numbers(RATIOS), seed)
    else:
        found = _one_split_each([_named_split(one) for one in found])
    chosen = {
        split: [one for one in found if not one.reason and one.split == split] for split in KEPT_FIRST[::-1]
    }
    chosen = {split: some for split, some in chosen.items() if some}
    if not chosen:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in _reasons(found).items())
        raise NaafError(
            f"{shown(captions or images)}: no image is left ({reasons or 'it has no pictures'}); check "
            "--images and the names in the file"
        )
    _write(out, chosen, number, [one for one in found if one.reason], progress)
    kept = [one for some in chosen.values() for one in some]
    return Imported(
        folder=out,
        captions_per_image=number,
        splits={split: len(some) for split, some in chosen.items()},
        left_out=_reasons(found),
        without_captions=len({*pictures} - {one.path for one in found}),
        more_captions=sum(len(one.captions) - number for one in kept),
        repeated=len(kept) - len({one.digest for one in kept}),
    )


def _ratio(splits: str | None) -> tuple[float, ...] | None:
    return _numbers(splits) if splits and re.fullmatch(r"[\d.]+(/[\d.]+){1,2}", splits) else None


def _numbers(ratio: str) -> tuple[float, ...]:
    parts = tuple(float(part) for part in ratio.split("/"))
    if not all(part > 0 for part in parts[:2]):
        raise UsageError(
            f"the ratio {ratio} leaves train or dev without an image; write 80/10/10, for example"
        )
    return parts


def _split_by_file(known: Sequence[ImageCaptions], path: Path) -> list[ImageCaptions]:
    """The images with the splits of a file: image, tab or comma, split; a first line may be a header."""
    splits: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip():
            name, split = (part.strip() for part in (*re.split(r"[\t,]", line, maxsplit=1), "")[:2])
            if not name or not split:
                raise NaafError(f"{shown(path)}, line {number}: write image, tab, split")
            if splits.setdefault(name, split) != split:
                raise NaafError(
                    f"{shown(path)}, line {number}: {name} is also in {splits[name]}; list it once"
                )
    return [one._replace(split=splits.get(one.name, "")) for one in known]


def _found(known: Sequence[ImageCaptions], images: Path) -> list[Candidate]:
    """Each image with its picture: by its path below the folder, else by its name, else without an ending.

    A path that leads out of the folder is not followed.
    """
    paths = [path for path in sorted(images.rglob("*")) if path.is_file()]
    by_name: dict[str, list[Path]] = {}
    for path in paths:
        by_name.setdefault(path.name, []).append(path)
        if path.suffix.lower() in ENDINGS:
            by_name.setdefault(path.stem, []).append(path)
    result = []
    for one in known:
        image = Candidate(one.name, one.captions, one.split)
        exact = Path(os.path.abspath(images / one.name))
        inside = exact.is_relative_to(os.path.abspath(images)) and exact.is_file()
        places = (
            [images / exact.relative_to(os.path.abspath(images))]
            if inside
            else by_name.get(one.name.replace("\\", "/").rsplit("/", 1)[-1], [])
        )
        if len(places) == 1:
            result.append(replace(image, path=places[0]))
        elif places:
            result.append(image.out("several pictures have this name", " and ".join(map(shown, places[:2]))))
        else:
            result.append(image.out("no picture"))
    return result


def _best_number(counts: Sequence[int]) -> int:
    """So many captions an image that most captions are kept."""
    most = max(counts, default=1)
    return max(range(1, most + 1), default=1, key=lambda n: n * sum(count >= n for count in counts))


def _examined(found: list[Candidate], progress: bool) -> list[Candidate]:
    """Every picture decoded once; one that cannot be is left out."""

    def examine(one: Candidate) -> Candidate:
        if one.reason or one.path is None:
            return one
        try:
            size = read_upright(one.path).size
            return replace(one, size=size, digest=hashlib.sha256(one.path.read_bytes()).hexdigest())
        except ValueError as error:
            return one.out("the picture cannot be read", str(error))

    with large_pictures(), ThreadPoolExecutor() as pool:
        bar = progress_bar(
            pool.map(examine, found), desc="pictures", total=len(found), unit="image", disable=not progress
        )
        return list(bar)


def _shared_out(found: list[Candidate], ratio: tuple[float, ...], seed: int) -> list[Candidate]:
    """Splits by ratio: groups of equal pictures, shuffled, go to the split that lacks most of its share."""
    groups: dict[str, int] = Counter(one.digest for one in found if not one.reason)
    names = ("train", "dev", "test")[: len(ratio)]
    wanted = {name: sum(groups.values()) * part / sum(ratio) for name, part in zip(names, ratio, strict=True)}
    order = np.random.default_rng(seed).permutation(len(groups))
    digests, split_of = list(groups), {}
    for place in sorted(
        order, key=lambda place: -groups[digests[place]]
    ):  # large groups first: they fit worst
        split = max(wanted, key=lambda name: wanted[name])
        split_of[digests[place]] = split
        wanted[split] -= groups[digests[place]]
    return [replace(one, split=None if one.reason else split_of[one.digest]) for one in found]


def _named_split(one: Candidate) -> Candidate:
    split = SPLIT_NAMES.get((one.split or "").lower())
    if split is None:
        return one.out(
            "no split" if not one.split else "a split that is not train, dev or test", one.split or ""
        )
    return replace(one, split=split)


def _one_split_each(found: list[Candidate]) -> list[Candidate]:
    """Copies of a picture that stand in two splits stay in one of them."""
    best: dict[str, int] = {}
    for one in found:
        if not one.reason:
            place = KEPT_FIRST.index(str(one.split))
            best[one.digest] = min(best.get(one.digest, place), place)
    return [
        one.out("the same picture is in another split", KEPT_FIRST[best[one.digest]])
        if not one.reason and KEPT_FIRST[best[one.digest]] != one.split
        else one
        for one in found
    ]


def _reasons(found: Sequence[Candidate]) -> dict[str, int]:
    return dict(Counter(one.reason for one in found if one.reason).most_common())


def _write(
    out: Path, chosen: dict[str, list[Candidate]], number: int, left_out: list[Candidate], progress: bool
) -> None:
    """All of it in a folder beside, which then takes the wanted name."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        folder = Path(temporary) / "data"
        folder.mkdir()
        stored = _stored(folder / "images", [one for some in chosen.values() for one in some], progress)
        for split, some in chosen.items():
            lines = {
                "captions": [caption for one in some for caption in one.captions[:number]],
                "names": [stored[one.name][0] for one in some],
            }
            for role, texts in lines.items():
                if texts:
                    write_lines(layout_path(folder, split, role), texts)
            sizes = np.array([stored[one.name][1] for one in some], np.int32)
            np.save(layout_path(folder, split, "sizes"), sizes)
        manifest = {"name": out.resolve().name, "captions_per_image": number}
        (folder / OWN_MANIFEST).write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")
        if left_out:
            with (folder / LEFT_OUT).open("w", encoding="utf-8", newline="") as file:
                rows = csv.writer(file)
                rows.writerow(("image", "reason", "detail"))
                rows.writerows(map(marked, (one.name, one.reason, one.detail)) for one in left_out)
        if out.exists():
            out.rmdir()  # empty: looked at before
        put(folder, out)


def _stored(folder: Path, chosen: list[Candidate], progress: bool) -> dict[str, tuple[str, tuple[int, int]]]:
    """The pictures in images/: name and size of each there, by the name that the captions file has for it."""
    stored: dict[str, tuple[str, tuple[int, int]]] = {}
    taken: set[str] = set()
    with large_pictures():
        for one in progress_bar(chosen, desc="storing", unit="image", disable=not progress):
            assert one.path is not None
            plain = one.size[0] * one.size[1] <= LARGE and is_plain(one.path)
            name = Path(one.name.replace("\\", "/"))
            ending = one.path.suffix if plain else ".png"
            name = (
                name.with_suffix(ending) if name.suffix.lower() in (*ENDINGS, "") else Path(f"{name}{ending}")
            )
            name = Path(*(part for part in name.parts if part not in ("..", name.anchor)))
            while str(name) in taken:
                name = name.with_stem(f"{name.stem}-2")
            taken.add(str(name))
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            size = one.size
            if plain:
                _linked(one.path, target)
            else:
                picture = read_upright(one.path)
                if picture.width * picture.height > LARGE:
                    picture.thumbnail((LONGEST, LONGEST))
                picture.save(target)
                size = picture.size
            stored[one.name] = (name.as_posix(), size)
    return stored


def _linked(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)
