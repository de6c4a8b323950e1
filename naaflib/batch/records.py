"""What a batch of notebooks did, notebook by notebook: `pipeline.json` of a run folder.

papermill's own metadata say "completed" for a cell that ran out of time, so the record is kept here.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..errors import NaafError
from ..files import leaves, read_json, shown

FILE = "pipeline.json"
Status = Literal["waiting", "running", "done", "failed", "interrupted"]


@dataclass(frozen=True)
class Failure:
    """Where and why a notebook stopped. cell counts every cell of the executed notebook from 1."""

    kind: str
    message: str
    cell: int | None = None
    execution_count: int | None = None

    def place(self) -> str:
        """'cell 9 (In [5])', or 'its start' where no cell ran."""
        if self.cell is None:
            return "its start"
        return f"cell {self.cell}" + (f" (In [{self.execution_count}])" if self.execution_count else "")


@dataclass(frozen=True)
class NotebookRecord:
    """One notebook of a batch. file: the executed notebook, relative to the run folder."""

    name: str
    status: Status = "waiting"
    seconds: float = 0.0
    parameters: Mapping[str, object] = field(default_factory=dict)
    file: str | None = None
    error: Failure | None = None

    def sentence(self) -> str:
        """Where and why it stopped."""
        return f"{self.name} stopped at {self.error.place()}: {self.error.kind}: {self.error.message}"


@dataclass(frozen=True)
class Record:
    """All notebooks that were run into one folder, and which of them the latest batch selected."""

    out: Path
    notebooks: tuple[NotebookRecord, ...]
    selected: tuple[str, ...]

    @property
    def failed(self) -> NotebookRecord | None:
        """The notebook at which the latest batch stopped."""
        return next((n for n in self.notebooks if n.name in self.selected and n.status == "failed"), None)

    @property
    def seconds(self) -> float:
        """Time of the latest batch's notebooks."""
        return sum(n.seconds for n in self.notebooks if n.name in self.selected)

    def entry(self, name: str) -> NotebookRecord:
        """The entry of one notebook."""
        return next(n for n in self.notebooks if n.name == name)

    def with_notebook(self, notebook: NotebookRecord) -> "Record":
        """The record with one notebook's entry put in or replaced, in the order of the names."""
        others = [n for n in self.notebooks if n.name != notebook.name]
        return replace(self, notebooks=tuple(sorted([*others, notebook], key=lambda n: n.name)))

    def sentence(self) -> str:
        """What came of the latest batch."""
        failed = self.failed
        if failed is None:
            plural = "s" if len(self.selected) != 1 else ""
            return f"{len(self.selected)} notebook{plural} ran in {self.seconds:.0f} s"
        kept = f"; {shown(self.out / failed.file)} holds what ran" if failed.file else ""
        return f"{failed.sentence()}{kept}"

    def to_dict(self) -> dict[str, object]:
        """The record as `pipeline.json` holds it; the folder's own place is left out, so that it can move."""
        return {
            "selected": list(self.selected),
            "notebooks": {
                n.name: {k: v for k, v in asdict(n).items() if k != "name"} for n in self.notebooks
            },
        }


def read_record(out: Path) -> Record:
    """The record of a run folder; an empty one where no batch ran. Raises NaafError for a damaged file."""
    path = out / FILE
    if not path.exists():
        return Record(out, (), ())
    try:
        content = read_json(path)
        notebooks = [_notebook(name, entry) for name, entry in content["notebooks"].items()]
        return Record(out, tuple(notebooks), tuple(content["selected"]))
    except (NaafError, KeyError, TypeError, AttributeError):
        raise NaafError(f"{shown(path)} is not a record of a batch: move it away and run again") from None


def _notebook(name: str, entry: Mapping[str, object]) -> NotebookRecord:
    error, file = entry.get("error"), entry.get("file")
    if Path(name).name != name or (file and leaves(file)):
        raise KeyError(name)
    return NotebookRecord(name, **{**entry, "error": Failure(**error) if error else None})
