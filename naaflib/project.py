"""Where the project lies, and what a relative path means: the same in Python, notebooks and commands."""

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
    """The absolute path that a path given by a person means.

    A relative path is taken from the working directory. Inside the project's folder, one whose first part is
    not there is taken from the project's folder: `outputs/demo` and `data/scenes` are the same in the project
    and in its notebooks/, where `make lab` opens. A bare new name (page.png) stays in the working directory.
    Where NAAF_ROOT names the project, the second sentence holds in every working directory.
    """
    path, here, root = Path(path).expanduser(), Path.cwd(), project_root()
    if path.is_absolute() or not path.parts or (here / path.parts[0]).exists():
        return here / path
    inside = "NAAF_ROOT" in os.environ or root in here.parents
    return (root if inside and (len(path.parts) > 1 or (root / path).exists()) else here) / path


def shown(path: str | os.PathLike[str]) -> str:
    """The path as a message shows it: relative to the working directory where it lies below it."""
    path = Path(path)
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)


def missing(path: str | os.PathLike[str]) -> str:
    """The beginning of an error: the path, with the working directory where it is shown relative to it."""
    name = shown(path)
    return f"{name} does not exist" + ("" if Path(name).is_absolute() else f" in {Path.cwd()}")
