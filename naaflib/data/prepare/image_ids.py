"""Which image is meant by an id: the exact id first, then a shortened form that fits one image only."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from ...errors import NaafError
from ...files import shown


def aliases(identifier: object) -> tuple[str, ...]:
    """What an image id may be called elsewhere: with or without folder, ending, COCO's prefix and zeros."""
    text = str(identifier).strip()
    base = _path(text).name
    stem = re.sub(r"\.(jpe?g|png|gif|bmp|webp)$", "", base, flags=re.IGNORECASE)
    number = re.fullmatch(r"(?:COCO_[a-z]+\d*_)?0*(\d+)", stem)
    return tuple(dict.fromkeys((text, base, stem, *((number[1],) if number else ()))))


class ImageIndex:
    """Positions of images, each known by several ids."""

    def __init__(self, ids: Iterable[Sequence[str]], path: Path) -> None:
        """Raises NaafError, which names the file, for a whole id that two images share."""
        self.exact: dict[str, int] = {}
        self._short: dict[str, list[tuple[int, PurePosixPath]]] = {}
        for position, identifiers in enumerate(ids):
            for identifier in identifiers:
                if self.exact.setdefault(identifier.strip(), position) != position:
                    remedy = "give every image an id of its own"
                    raise NaafError(f"{shown(path)}: two images are called {identifier}; {remedy}")
                for alias in aliases(identifier):
                    self._short.setdefault(alias, []).append((position, _path(identifier)))

    def find(self, identifier: str) -> list[int]:
        """Positions of the images that an id fits: the exact one alone, else all that a shortened form fits.

        The folders of a shortened form must agree: a/1.png is 1.png and data/a/1.png, never b/1.png.
        """
        if identifier.strip() in self.exact:
            return [self.exact[identifier.strip()]]
        own = _path(identifier)
        for alias in aliases(identifier):
            known = self._short.get(alias, ())
            found = list(dict.fromkeys(position for position, other in known if _agree(own, other)))
            if found:
                return found
        return []


def _path(identifier: str) -> PurePosixPath:
    return PurePosixPath(identifier.strip().replace("\\", "/").lstrip("/"))


def _agree(one: PurePosixPath, other: PurePosixPath) -> bool:
    """Whether the folders do, from the last one on, as far as both name them."""
    return all(a == b for a, b in zip(one.parts[-2::-1], other.parts[-2::-1], strict=False))
