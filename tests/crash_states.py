"""Every folder that a power cut may leave of a training: a recorder of its operations, and what they allow.

A file system promises that what was flushed (fsync) is there. Of what was not, a file's new content may be
there, lost, shortened, torn or NULs, whatever its length; of the changes of a folder's names (new, renamed,
linked and removed files) any selection in their order, each folder for itself.

`Recorder` sees every opening, renaming, linking, removing, new folder and flush by Python's audit events, and
every change of a file's content, because it reads all files at each event: whichever library wrote, it is
recorded. At each event what was recorded has to be what lies on the disk. Left out: tensorboard/, which
nothing reads, and the lock.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice, product
from pathlib import Path

LEFT_OUT = ("tensorboard", ".lock")
MOST = 400  # states of one moment; beyond, those in which one thing differs from all or from nothing written
EVENTS = ("open", "os.rename", "os.link", "os.remove", "os.mkdir")

Tree = dict[str, bytes | None]  # content by path; None: a folder
_active: "Recorder | None" = None  # an audit hook stays as long as its process


def read_tree(root: Path) -> Tree:
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not any(part in LEFT_OUT for part in path.parts):
            found[name] = None if path.is_dir() else path.read_bytes()
    return found


def write_tree(tree: Tree, root: Path) -> Path:
    root.mkdir(parents=True)
    for name, content in tree.items():
        place = root / name
        if content is None:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    return root


class Recorder:
    """Records what happens below a folder while it is open: `operations`, from the tree `start` on."""

    def __init__(self, root: Path):
        self.root, self.operations, self.start = root, [], read_tree(root)
        self.now = dict(self.start)  # as recorded; the disk has to agree
        self.expected: tuple | None = None  # the operation that the last event announced

    def __enter__(self) -> "Recorder":
        global _active
        if not getattr(sys, "_crash_states", False):
            sys.addaudithook(lambda event, args: _active and _active.event(event, args))
            sys._crash_states = True
        self.fsync, os.fsync, _active = os.fsync, self.flushed, self
        return self

    def __exit__(self, *_) -> None:
        global _active
        _active, os.fsync = None, self.fsync
        self.look()

    def name(self, path: object) -> str | None:
        """A path below the root as recorded; None for others and for what is left out."""
        if not isinstance(path, str | os.PathLike):
            return None
        path = Path(os.path.abspath(path))
        if not path.is_relative_to(self.root) or any(part in LEFT_OUT for part in path.parts):
            return None
        return path.relative_to(self.root).as_posix()

    def event(self, event: str, args: tuple) -> None:
        """What an audit event announces; it has not happened yet."""
        global _active
        if event in EVENTS and (name := self.name(args[0])) is not None:
            _active = None  # what looking opens is no event
            try:
                self.look()
                if event in ("os.rename", "os.link"):
                    self.expected = (event.removeprefix("os."), name, self.name(args[1]))
                elif event != "open":
                    self.expected = (event.removeprefix("os."), name)
            finally:
                _active = self

    def flushed(self, handle: int) -> None:
        global _active
        if (name := self.name(os.readlink(f"/proc/self/fd/{handle}"))) is not None:
            _active = None
            self.look()
            self.operations.append(("flush", name))
            _active = self

    def look(self) -> None:
        """Record the operation that was announced, where it took place, then new files and new content."""
        there, now = read_tree(self.root), self.now
        match self.expected:
            case ("rename", source, target) if source in now and source not in there:
                now[target] = now.pop(source)
                self.operations.append(self.expected)
            case ("link", source, target) if target in there:
                now[target] = now[source]
                self.operations.append(self.expected)
            case ("remove", name) if name in now and name not in there:
                del now[name]
                self.operations.append(self.expected)
            case ("mkdir", name) if name in there and name not in now:
                now[name] = None
                self.operations.append(self.expected)
        self.expected = None
        for name, content in there.items():
            if name not in now:
                assert content is not None, f"the folder {name} was not announced"
                now[name] = b""
                self.operations.append(("create", name))
            if content != now[name]:
                now[name] = content
                self.operations.append(("write", name, content))
        assert now == there, f"{set(now) ^ set(there)} changed without an event"


@dataclass
class _File:
    flushed: bytes = b""
    now: bytes = b""

    def contents(self) -> list[bytes]:
        """What may be found after a power cut, as it is now and as it was flushed first."""
        if self.now == self.flushed:
            return [self.now]
        kept = self.flushed if self.now.startswith(self.flushed) else b""
        half = kept + self.now[len(kept) : (len(kept) + len(self.now)) // 2]
        torn = [half, half.ljust(len(self.now), b"\0"), kept.ljust(len(self.now), b"\0"), kept]
        return list(dict.fromkeys([self.now, self.flushed, *torn]))


@dataclass
class _Folder:
    flushed: dict[str, object] = field(default_factory=dict)
    now: dict[str, object] = field(default_factory=dict)
    changes: list[tuple] = field(default_factory=list)  # not flushed

    def change(self, *change) -> None:
        _apply(self.now, change)
        self.changes.append(change)

    def entries(self) -> list[dict[str, object]]:
        """The names that may be found, as they are now and as they were flushed first."""
        found = [self.now, self.flushed]
        for some in _subsequences(self.changes):
            entries = dict(self.flushed)
            if all(_apply(entries, change) for change in some) and entries not in found:
                found.append(entries)
        return found if self.now != self.flushed else found[:1] + found[2:]


def _subsequences(changes: list[tuple]) -> Iterator[Sequence[tuple]]:
    """Selections in their order; of many changes, the first ones with none or one left out."""
    if len(changes) <= 6:
        for count in range(1, len(changes)):
            yield from combinations(changes, count)
        return
    for end in range(1, len(changes) + 1):
        first = changes[:end]
        yield from (first, *(first[:out] + first[out + 1 :] for out in range(end)))


def _apply(entries: dict[str, object], change: tuple) -> bool:
    """Make a change of names; whether it can be made."""
    match change:
        case ("add", name, node):
            entries[name] = node
        case ("move", source, target, node):
            if entries.get(source) is not node:
                return False
            entries[target] = entries.pop(source)
        case ("remove", name):
            return entries.pop(name, None) is not None
    return True


class Disk:
    """Folders and files as they are, and as they were flushed."""

    def __init__(self, start: Tree):
        self.root = _Folder()
        for name, content in start.items():
            folder, last = self._place(name)
            folder.now[last] = folder.flushed[last] = (
                _Folder() if content is None else _File(content, content)
            )

    def _place(self, name: str) -> tuple[_Folder, str]:
        *folders, last = name.split("/")
        folder = self.root
        for one in folders:
            folder = folder.now[one]
        return folder, last

    def do(self, operation: tuple) -> None:
        match operation:
            case ("flush", name):
                folder, last = (self.root, ".") if name == "." else self._place(name)
                node = self.root if name == "." else folder.now[last]
                node.flushed = dict(node.now) if isinstance(node, _Folder) else node.now
                if isinstance(node, _Folder):
                    node.changes = []
            case ("write", name, content):
                folder, last = self._place(name)
                folder.now[last].now = content
            case ("create" | "mkdir" as kind, name):
                folder, last = self._place(name)
                folder.change("add", last, _File() if kind == "create" else _Folder())
            case ("remove", name):
                folder, last = self._place(name)
                folder.change("remove", last)
            case ("rename" | "link" as kind, source, target):
                (folder, first), (other, last) = self._place(source), self._place(target)
                assert folder is other, "files of a training are renamed inside their folder"
                if kind == "rename":
                    folder.change("move", first, last, folder.now[first])
                else:
                    folder.change("add", last, folder.now[first])

    def states(self) -> Iterator[Tree]:
        """What a power cut may leave now."""
        nodes = list(self._nodes(self.root))
        choices = [node.entries() if isinstance(node, _Folder) else node.contents() for node in nodes]
        for picked in _selections([len(choice) for choice in choices]):
            taken = {
                id(node): choice[pick] for node, choice, pick in zip(nodes, choices, picked, strict=True)
            }
            tree: Tree = {}
            self._collect(self.root, "", taken, tree)
            yield tree

    def _nodes(self, folder: _Folder, seen: set[int] | None = None) -> Iterator[object]:
        seen = set() if seen is None else seen
        yield folder
        for entries in (folder.now, folder.flushed, *({"": c[-1]} for c in folder.changes)):
            for node in entries.values():
                if isinstance(node, _File | _Folder) and id(node) not in seen:
                    seen.add(id(node))
                    yield from self._nodes(node, seen) if isinstance(node, _Folder) else [node]

    def _collect(self, folder: _Folder, prefix: str, taken: dict, tree: Tree) -> None:
        for name, node in taken[id(folder)].items():
            if isinstance(node, _Folder):
                tree[prefix + name] = None
                self._collect(node, f"{prefix}{name}/", taken, tree)
            else:
                tree[prefix + name] = taken[id(node)]


def _selections(sizes: list[int]) -> Iterator[tuple[int, ...]]:
    """Which choice of each: every combination, or where there are too many those that differ in one."""
    total = 1
    for size in sizes:
        total *= size
    if total <= MOST:
        yield from product(*map(range, sizes))
        return
    for base in ((0,) * len(sizes), tuple(min(1, size - 1) for size in sizes)):
        yield base
        for place, size in enumerate(sizes):
            for pick in range(size):
                yield (*base[:place], pick, *base[place + 1 :])


def crash_states(recorder: Recorder) -> list[Tree]:
    """Every different state that a power cut may leave at any moment of what was recorded."""
    disk, found = Disk(recorder.start), {}
    for moment in range(len(recorder.operations) + 1):
        for tree in disk.states():
            found.setdefault(frozenset(tree.items()), tree)
        for operation in islice(recorder.operations, moment, moment + 1):
            disk.do(operation)
    return list(found.values())
