"""The result of checking a data set: one row a check, for a terminal, a notebook or a program."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ...errors import NaafError
from ...files import shown

Content = TypeVar("Content")
REFUSED = "cannot be used"
MARKS = {True: "ok", False: "FAIL", None: "note"}


@dataclass(frozen=True)
class Check:
    """What was looked at. ok None is a note: worth knowing, nothing to repair. The remedy is a sentence."""

    split: str
    what: str
    expected: str
    found: str
    ok: bool | None
    remedy: str = ""


@dataclass
class CheckLog:
    """Collects the checks of one split (or of `all`); the path makes every remedy name its file."""

    split: str
    checks: list[Check] = field(default_factory=list)

    def add(
        self, what: str, ok: bool | None, expected: object, found: object, path: Path, remedy: str = ""
    ) -> None:
        """Record a check; its remedy is kept only where it failed or is a note."""
        sentence = "" if ok else f"{shown(path)}: {remedy}"
        self.checks.append(Check(self.split, what, str(expected), str(found), ok, sentence))

    def read(
        self, what: str, expected: str, reader: Callable[..., Content], *source: Any, found: object = REFUSED
    ) -> Content | None:
        """What the reader makes of the source; None and a failed check with its sentence where it refuses."""
        try:
            return reader(*source)
        except NaafError as error:
            self.checks.append(Check(self.split, what, expected, str(found), False, str(error)))
            return None

    @property
    def failed(self) -> bool:
        return any(check.ok is False for check in self.checks)


@dataclass
class Places:
    """How many regions (or rows) were found, and the first of them."""

    what: str = "regions"
    count: int = 0
    first: str = ""

    def add(self, mask: np.ndarray, rows: np.ndarray | None = None) -> "Places":
        """mask (row, region) or (row,): of all rows, or of a block whose row numbers are `rows`."""
        if not self.count and mask.any():
            row, *region = np.argwhere(mask)[0]
            self.first = f"row {row if rows is None else rows[row]}" + "".join(
                f", region {r}" for r in region
            )
        self.count += int(mask.sum())
        return self

    def __str__(self) -> str:
        """As a check's `found`, where there should be none."""
        return f"{self.count} {self.what} not" if self.count else "yes"


@dataclass(frozen=True)
class Report:
    """All checks of one folder."""

    folder: Path
    manifest: str
    checks: list[Check]

    @property
    def failures(self) -> list[Check]:
        return [check for check in self.checks if check.ok is False]

    @property
    def ok(self) -> bool:
        return not self.failures

    def sentence(self) -> str:
        """The verdict in one line, with the first remedy where something is wrong."""
        if self.ok:
            notes = sum(check.ok is None for check in self.checks)
            return f"{shown(self.folder)}: all {len(self.checks) - notes} checks passed, {notes} notes"
        failed = f"{len(self.failures)} of {len(self.checks)} checks failed"
        return f"{shown(self.folder)}: {failed}; first: {self.failures[0].remedy}"

    def table(self) -> str:
        """Aligned columns, with the remedies under the rows that need one."""
        rows = [("", "split", "check", "expected", "found")]
        rows += [(MARKS[c.ok], c.split, c.what, c.expected, c.found) for c in self.checks]
        width = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for row, remedy in zip(rows, ("", *(c.remedy for c in self.checks)), strict=True):
            lines.append("  ".join(map(str.ljust, row, width)).rstrip())
            if remedy:
                lines.append(f"{'':<{width[0]}}  -> {remedy}")
        title = f"{shown(self.folder)} (manifest: {self.manifest})"
        return "\n".join([title, *lines, "", self.sentence()]) + "\n"

    def to_frame(self) -> Any:
        """One row a check: split, what, expected, found, ok (True, False or None), remedy."""
        import pandas as pd

        return pd.DataFrame([asdict(check) for check in self.checks], columns=list(Check.__annotations__))

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        checks = [asdict(check) for check in self.checks]
        return {"folder": str(self.folder), "manifest": self.manifest, "ok": self.ok, "checks": checks}
