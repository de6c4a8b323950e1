"""Which row of the TSV files is whose: what was found for every image of a split, and what is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import NaafError
from ...files import shown
from .caption_tables import CaptionedImage, fitting_field
from .image_ids import ImageIndex
from .tsv import RegionRow

MOST_DAMAGED = 100  # images: so many are no accident, and the rest of the file need not be read


@dataclass
class _Found:
    """The rows that came for one image. short: ids of those that have its own in a shorter or longer form."""

    called: str  # in messages
    exact: bool = False
    filled: bool = False
    short: list[str] = field(default_factory=list)
    damage: NaafError | None = None  # of its first damaged row, the one of the exact id before others
    damaged_exact: bool = False
    unclear: NaafError | None = None  # why a row that may be its own may be another's

    @property
    def problem(self) -> NaafError | None:
        """Why no row that came is surely the image's own; None where one is, or none came."""
        if self.exact:
            return None
        if self.damaged_exact:
            return self.damage
        if len(self.short) > 1:
            rows = " and ".join(self.short[:2])
            return NaafError(
                f"{self.called}: its id fits two rows, {rows}; write the whole id of the right one"
            )
        return None if self.filled else self.damage or self.unclear


class Matches:
    """The rows of a split's images, as they come by. A row of the exact id replaces one of a shortened id."""

    def __init__(self, wanted: Sequence[CaptionedImage], captions: Path, id_field: str | None) -> None:
        self.wanted, self.captions, self.id_field = wanted, captions, id_field
        self.duplicates = 0
        self._index = ImageIndex((image.ids for image in wanted), captions)
        file = shown(captions)
        self._found = [_Found(f"{file}, image {image.ids[-1]}") for image in wanted]
        self._seen: dict[str, None] = {}  # every id of the TSV files, in their order
        self._stray: NaafError | None = None  # a damaged row of an image that cannot be told
        self._exact = self._damaged = 0

    @property
    def complete(self) -> bool:
        """Whether every image has the row of its exact id: no later row can change anything."""
        return self._exact == len(self.wanted)

    def place(self, row: RegionRow) -> int | None:
        """The position of the row's image; None where nobody asks for it or its image has a row already."""
        places = self._index.find(row.image_id)
        if not row.damage:
            self._seen.setdefault(row.image_id)
        elif len(places) != 1:
            self._stray = self._stray or row.error(row.damage)
        if len(places) != 1:
            fits = " and ".join(self.wanted[place].ids[-1] for place in places[:2])
            why = f"two images are called {row.image_id} ({fits}); write the whole id at {row.place}"
            for found in (self._found[place] for place in places):
                found.unclear = NaafError(f"{found.called}: {why}")
            return None
        found, exact = self._found[places[0]], row.image_id in self._index.exact
        if not exact and row.image_id not in found.short:
            found.short.append(row.image_id)
        if found.exact or (found.filled and not exact):
            self.duplicates += 1
            return None
        return places[0]

    def filled(self, place: int, row: RegionRow) -> bool:
        """Record a row that is whole; whether its image had none before."""
        found = self._found[place]
        new, found.filled = not found.filled, True
        if row.image_id in self._index.exact:
            found.exact = True
            self._exact += 1
        return new

    def damaged(self, place: int, row: RegionRow, error: NaafError) -> None:
        """Record a row that is not: another copy may come. Raises the error where many are of the kind."""
        found, exact = self._found[place], row.image_id in self._index.exact
        if found.damage is None or (exact and not found.damaged_exact):
            found.damage, found.damaged_exact = error, exact
        self._damaged += 1
        if self._damaged >= MOST_DAMAGED:
            raise error

    def check(self, sources: Sequence[Path], split: str) -> None:
        """Raises NaafError where an image has no row, a damaged one, or one that may be another's."""
        for found in self._found:
            if found.problem:
                raise found.problem
        missing = [image for image, found in zip(self.wanted, self._found, strict=True) if not found.filled]
        if missing and self._stray:
            raise self._stray
        if missing:
            files = ", ".join(shown(source) for source in sources)
            raise NaafError(f"{files}: {self._missing(missing, split)}")

    def _missing(self, missing: Sequence[CaptionedImage], split: str) -> str:
        """What to do about missing rows: other files where some were found, other ids where none was."""
        text = f"{len(missing)} of {len(self.wanted)} images of {split} have no regions"
        seen = next(iter(self._seen), None)
        if seen is None:
            return f"{text}: no whole row is in there; name the TSV files with the region features"
        fitting = fitting_field(self.captions, self.id_field, self._seen.keys())
        if fitting:
            names = f"the captions call the first {missing[0].ids[0]}, the TSV calls its first {seen}"
            return (
                f"{text}: {names}; the TSV's ids are the field {fitting}, choose it with --id-field {fitting}"
            )
        if len(missing) == len(self.wanted):
            names = f"the captions call the first {missing[0].ids[-1]}, the TSV calls its first {seen}"
            return f"{text}: {names}; write the same ids into both, or name the TSV files of these images"
        return (
            f"{text}, the first is {missing[0].name};"
            " name the other TSV files too, or list the images that you have"
        )
