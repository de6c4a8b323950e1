"""Data, runs and settings from a notebook's parameters; figures and tables into the run folder.

Relative paths follow the rule of `files.resolve`.
"""

import html
import struct
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

from .. import config
from ..config import Settings
from ..data import manifest
from ..data.manifest import preset_of, preset_sentence
from ..data.scenes import dataset as scenes
from ..errors import NaafError
from ..files import missing, named, resolve, shown
from ..messages import say
from ..metric.retrieval import RECALLS
from ..runs import BEST_MEMBER, Run, best_member, members
from ..verdict import setting, verdicts
from ..viz.style import Figure

SCENES = "scenes"  # a data set of this name is the built-in one
SHOWN = 0.5  # files have 200 points an inch, a notebook shows 100
HEADINGS = {  # of the columns that figures and files know by other names
    **{name: name.replace("_at_", " R@") for name in RECALLS},
    "mean_matched": "μ₊",
    "std_matched": "σ₊",
    "mean_mismatched": "μ₋",
    "std_mismatched": "σ₋",
    "boundary": "t",
    "three_sigma": "μ₊ − 3σ₊",
    "taken_as_matched": "E₁",
    "taken_as_mismatched": "E₂",
    "auc": "AUC",
    "feature_effect": "feature",
    "relevance_effect": "relevance",
    "negative_effect": "negative",
    "best_cosine": "best cosine",
    "best_region": "best region",
    "average_precision": "average precision",
}


def open_data(data: str | Path) -> Path:
    """The data set's folder; the built-in scenes are rendered where they are missing.

    Raises NaafError for another folder that is missing, with the way to it.
    """
    folder = resolve(data)
    check_data(folder)
    return scenes.ensure(folder) if folder.name == SCENES else folder


def check_data(folder: Path) -> None:
    """Raises NaafError for a missing data set, with the way to it; missing scenes will be rendered."""
    if folder.name == SCENES or folder.is_dir():
        return
    if folder.exists():
        raise NaafError(f"{shown(folder)} is a file; a data set is a folder")
    known = folder.name in manifest.names()
    way = f"naaf data fetch {folder.name}" if known else "naaf data list"
    raise NaafError(f"{missing(folder)}; `{way}` says how to get a data set there")


def trained_runs(run: str | Path) -> list[Run]:
    """The trained members of a run folder. Raises NaafError where there is none, with what makes them."""
    folder = resolve(run)
    if not (folder / "config.json").is_file():
        raise NaafError(
            f"{shown(folder)} is not a run yet; run notebook 02_training with the same `run`, "
            f"or `naaf train --out {shown(folder)}`, which make it"
        )
    return members(folder)


def trained_run(run: str | Path, member: int = BEST_MEMBER) -> Run:
    """One of the trained members, counted from 0 in the order of their seeds; -1: the best on dev."""
    found = trained_runs(run)
    best = found[best_member(found)]
    if member not in range(BEST_MEMBER, len(found)):
        names = ", ".join(f"{k}: {one.name}" for k, one in enumerate(found))
        raise NaafError(f"there is no member {member} in {shown(resolve(run))}; members: {names}")
    chosen = best if member == BEST_MEMBER else found[member]
    if chosen is not best:
        print(
            f"{chosen.name}, as the parameter member asks: rsum {chosen.best_rsum:.1f} on dev; "
            f"the best of {len(found)} members is {best.name} with {best.best_rsum:.1f}"
        )
    elif member == BEST_MEMBER and len(found) > 1:
        print(
            f"{best.name}: of {len(found)} members the best on dev, rsum {best.best_rsum:.1f}; "
            "the parameter member takes another, counted from 0"
        )
    return chosen


def alike(run: str | Path, asked: Sequence[Run]) -> list[Run]:
    """The trained members of a run folder that differ from those asked for in their seed alone.

    Says which were there before, and which are of other settings or data and left out.
    """
    group, names = trained_runs(run), [one.name for one in asked]
    same = [one for one in group if setting(one) == setting(asked[0])]
    before = [one.name for one in same if one.name not in names]
    other = [one.name for one in group if one not in same]
    if before:
        print(f"asked for now: {', '.join(names)}; from earlier, with the same settings: {', '.join(before)}")
    if other:
        print(f"left out, of other settings or data: {', '.join(other)}")
    return same


class Warned:
    """What the verdicts on some runs say, as a plain box in a notebook; empty where all is well."""

    def __init__(self, sentences: Sequence[str]):
        self.sentences = tuple(sentences)

    def __repr__(self) -> str:
        return "\n".join(f"Warning: {sentence}." for sentence in self.sentences)

    def _repr_html_(self) -> str:
        style = (
            "border: 1px solid; border-left-width: 6px; padding: .5em 1em; margin: .5em 0; max-width: 60em"
        )
        lines = "".join(f"<p>{html.escape(sentence)}.</p>" for sentence in self.sentences)
        return f'<div role="alert" style="{style}"><b>Look at this first</b>{lines}</div>' if lines else ""


def warning(*runs: str | Path) -> Warned | None:
    """A box that names the members of runs that have not learnt; None, which shows nothing, if all have.

    runs: run folders; "" is none.
    """
    sentences = [sentence for run in runs if run for sentence in verdicts(trained_runs(run))]
    return Warned(sentences) if sentences else None


def word_threshold(folder: Path) -> int:
    """How often a word has to occur to be known, as the data set's preset says."""
    return config.preset(preset_of(folder)).data.min_word_count


def settings_for(
    folder: Path, preset: str = "", settings: str = "", *, seed: int = 0, epochs: int = 0
) -> Settings:
    """A preset's settings with some replaced.

    preset: "" takes the one named like the data, else one for any other data, and says so. settings:
    "model.dim=64, train.batch_size=32"; they win over seed and epochs. epochs: 0 leaves the preset's number.
    Raises UsageError for a wrong name or value.
    """
    overrides: dict[str, object] = {config.SEED: seed}
    if epochs:
        overrides["train.epochs"] = epochs
    overrides |= config.assignments(filter(None, map(str.strip, settings.split(","))), "settings")
    if not preset and preset_of(folder) in (config.OTHER_DATA, config.SMALL_DATA):
        say(preset_sentence(folder))
    return config.preset(preset or preset_of(folder), overrides)


def words_from(settings: Settings, *, glove: str = "", bert: str = "") -> dict[str, str]:
    """What of two starts of the words `train_members` is given: the one that the text encoder takes.

    glove: a file of word vectors. bert: a text model of transformers, by its name on the hub or its folder.
    """
    given = {"bert": bert} if settings.model.text_encoder == "bert" else {"glove": glove}
    return {name: named(value) for name, value in given.items() if value}


def settings_table(settings: Settings) -> pd.DataFrame:
    """Every setting of a run, a row a section."""
    rows = {
        section: ",  ".join(f"{name} {value}" for name, value in fields.items())
        for section, fields in settings.model_dump().items()
    }
    return pd.DataFrame({"settings": rows}).rename_axis("section")


class KeptFigure:
    """A figure as its file has it, so that a notebook shows what the run folder holds."""

    def __init__(self, path: Path):
        self.path = path

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        content = self.path.read_bytes()
        width, height = struct.unpack(">II", content[16:24])  # of a PNG's header
        return content, {"width": round(width * SHOWN), "height": round(height * SHOWN)}


def keep(
    run: Run, result: Figure | pd.DataFrame | None, name: str, digits: int = 2
) -> KeptFigure | Styler | None:
    """Save a figure or a table into the run folder and hand it on to be shown; nothing for None.

    A table is shown with headings for the reader, so many digits and whole texts; its file keeps the names
    that programs know.
    """
    if result is None:
        return None
    if isinstance(result, Figure):
        return KeptFigure(run.save_figure(result, name))
    run.save_table(result, name)
    return readable(result, digits)


def readable(table: pd.DataFrame | None, digits: int = 2) -> Styler | None:
    """A table for the eye: headings, rounded numbers, a dash for nothing, texts whole and to the left."""
    if table is None:
        return None
    head = table.index.name and html.escape(str(table.index.name))  # the one label that Styler never escapes
    shown = table.rename(columns=HEADINGS).rename_axis(index=None, columns=head)
    left = [{"selector": "", "props": "text-align: left; white-space: normal; max-width: 40em"}]
    texts = {name: left for name in shown.columns if not pd.api.types.is_numeric_dtype(shown[name])}
    heads = {"selector": "th.row_heading, th.index_name", "props": "text-align: left"}
    styler = Styler(shown, precision=digits, na_rep="–", cell_ids=False, thousands=",", escape="html")
    for axis in ("index", "columns"):  # Styler's own option escapes cells alone
        styler = styler.format_index(escape="html", axis=axis)
    return styler.set_table_styles([heads]).set_table_styles(texts, overwrite=False)
