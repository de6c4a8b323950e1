"""Where the project lies, so that a notebook finds the same files from any working directory."""

import os
from pathlib import Path


def project_root() -> Path:
    """The folder that holds `notebooks/` and `data_manifests/`.

    Looked for in this order: the environment variable NAAF_ROOT, the folder of the installed package's
    source tree, the working directory and its parents; the working directory where none is found.
    """
    if "NAAF_ROOT" in os.environ:
        return Path(os.environ["NAAF_ROOT"]).expanduser().resolve()
    here = Path.cwd()
    for folder in (Path(__file__).resolve().parent.parent, here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "data_manifests").is_dir():
            return folder
    return here


def resolve(path: str | os.PathLike[str]) -> Path:
    """An absolute path; a relative one is taken from the project root, never from the working directory."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else project_root() / path


def shown(path: str | os.PathLike[str]) -> str:
    """The path as a message shows it: relative to the working directory where it lies below it."""
    path = Path(path)
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)
