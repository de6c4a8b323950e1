"""Data, runs and settings from a notebook's parameters; figures and tables into the run folder.

Paths are taken from the project, never from the working directory.
"""

from pathlib import Path
from typing import TypeVar

import pandas as pd
from matplotlib.figure import Figure

from .. import config
from ..config import PRESETS, Settings, nearest
from ..data import manifest, scenes
from ..errors import NaafError, UsageError
from ..evaluate import data_name
from ..project import resolve, shown
from ..runs import Run, members

Kept = TypeVar("Kept", Figure, pd.DataFrame, None)


def open_data(data: str | Path) -> Path:
    """The data set's folder; the built-in scenes are rendered where they are missing.

    Raises NaafError for another folder that is missing, with the way to it.
    """
    folder = resolve(data)
    if folder.name == "scenes":
        return scenes.ensure(folder)
    if not folder.is_dir():
        known = folder.name in manifest.names()
        way = f"naaf data fetch {folder.name}" if known else "naaf data list"
        raise NaafError(f"{shown(folder)} does not exist; `{way}` says how to get a data set there")
    return folder


def trained_runs(run: str | Path) -> list[Run]:
    """The trained members of a run folder. Raises NaafError where there is none, with what makes them."""
    folder = resolve(run)
    if not (folder / "config.json").is_file():
        raise NaafError(
            f"{shown(folder)} is not a run yet; run notebook 02_training with the same `run`, "
            f"or `naaf train --out {shown(folder)}`, which make it"
        )
    return members(folder)


def trained_run(run: str | Path, member: int = 0) -> Run:
    """One of the trained members, counted from 0 in the order of their seeds."""
    found = trained_runs(run)
    if not 0 <= member < len(found):
        names = ", ".join(f"{k}: {one.name}" for k, one in enumerate(found))
        raise NaafError(f"there is no member {member} in {shown(resolve(run))}; members: {names}")
    return found[member]


def preset_of(folder: Path) -> str:
    """The preset named like the data set: f30k for f30k_precomp. Raises UsageError where none is."""
    name = data_name(folder).removesuffix("_precomp")
    if name not in PRESETS:
        raise UsageError(
            f"no preset is named like {shown(folder)}{nearest(name, PRESETS)}; "
            f"set the parameter preset to one of {', '.join(PRESETS)}"
        )
    return name


def settings_for(
    folder: Path, preset: str = "", settings: str = "", *, seed: int = 0, epochs: int = 0
) -> Settings:
    """A preset's settings with some replaced.

    preset: "" takes the one named like the data. settings: "model.dim=64, train.batch_size=32"; they win over
    seed and epochs. epochs: 0 leaves the preset's number. Raises UsageError for a wrong name or value.
    """
    overrides: dict[str, object] = {"train.seed": seed}
    if epochs:
        overrides["train.epochs"] = epochs
    for part in filter(None, (part.strip() for part in settings.split(","))):
        name, sign, value = part.partition("=")
        if not sign:
            raise UsageError(
                f"settings takes name=value, ..., for example train.epochs=5, and {part!r} is none"
            )
        overrides[name.strip()] = value.strip()
    return config.preset(preset or preset_of(folder), overrides)


def settings_table(settings: Settings) -> pd.DataFrame:
    """Every setting of a run: a row a field, a column pair a section would be wide, so name and value."""
    rows = {
        f"{section}.{name}": "none" if value is None else str(value)
        for section, fields in settings.model_dump().items()
        for name, value in fields.items()
    }
    return pd.DataFrame({"value": rows}).rename_axis("setting")


def keep(run: Run, result: Kept, name: str) -> Kept:
    """Save a figure or a table into the run folder and hand it on to be shown; nothing for None.

    A table comes back with its index's name above the index, where it takes no line of its own.
    """
    if isinstance(result, Figure):
        run.save_figure(result, name)
        return result
    if result is None:
        return None
    run.save_table(result, name)
    return result.rename_axis(index=None, columns=result.index.name)
