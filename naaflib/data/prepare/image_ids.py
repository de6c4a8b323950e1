"""Which image is meant by an id: the exact id first, then a shortened form that fits one image only."""

import re
from collections.abc import Sequence

Folders = tuple[str, ...]


def aliases(identifier: object) -> tuple[str, ...]:
    """What an image id may be called elsewhere: with or without folder, ending, COCO's prefix and zeros."""
    text = str(identifier).strip()
    base = _parts(text)[-1]
    stem = re.sub(r"\.(jpe?g|png|gif|bmp|webp)$", "", base, flags=re.IGNORECASE)
    number = re.fullmatch(r"(?:COCO_[a-z]+\d*_)?0*(\d+)", stem)
    return tuple(dict.fromkeys((text, base, stem, *((number[1],) if number else ()))))


class ImageIndex:
    """Positions of images, each known by several ids."""

    def __init__(self, ids: Sequence[Sequence[str]]) -> None:
        self.exact: dict[str, int] = {}
        self.twice: list[str] = []  # whole ids that two images share
        self._short: dict[str, list[tuple[int, Folders]]] = {}
        for position, identifiers in enumerate(ids):
            for identifier in identifiers:
                if self.exact.setdefault(identifier.strip(), position) != position:
                    self.twice.append(identifier)
                for alias in aliases(identifier):
                    self._short.setdefault(alias, []).append((position, _folders(identifier)))

    def find(self, identifier: str) -> list[int]:
        """Positions of the images that an id fits: the exact one alone, else all that a shortened form fits.

        The folders of a shortened form must agree: a/1.png is 1.png and data/a/1.png, never b/1.png.
        """
        if identifier.strip() in self.exact:
            return [self.exact[identifier.strip()]]
        own = _folders(identifier)
        for alias in aliases(identifier):
            known = self._short.get(alias, ())
            found = list(dict.fromkeys(position for position, other in known if _agree(own, other)))
            if found:
                return found
        return []


def _parts(text: str) -> list[str]:
    return text.replace("\\", "/").split("/")


def _folders(identifier: str) -> Folders:
    return tuple(part for part in _parts(identifier.strip())[:-1] if part not in ("", "."))


def _agree(one: Folders, other: Folders) -> bool:
    length = min(len(one), len(other))
    return one[len(one) - length :] == other[len(other) - length :]
