"""Attention and mismatch measured, of one model or of two side by side: tables, figures, sentences."""

from dataclasses import dataclass
from textwrap import fill

import pandas as pd

from ..data.scenes import dataset as scenes
from ..data.scenes.words import ANY_SHAPE, LEXICON
from ..data.splits import Split
from ..explanation import FoilDetection, PointingGame, foil_detection, pointing_game, swapped_foils
from ..model.model import Model
from ..runs import Run
from ..viz.measures import rates_figure
from ..viz.style import Figure
from .pairs import known

CLASSES = {
    form: kind
    for (kind, _), values in LEXICON.items()
    if kind in ("shape", "colour", "size", "texture", "number")
    for forms in values.values()
    for form in forms
} | {word: "any shape" for words in ANY_SHAPE.values() for word in words}
FOUND = {  # columns of `FoilDetection.found` that a reader sees, and their short names
    **{f"auc{end}": f"auc{end}" for end in ("", "_low", "_high")},
    **{f"average_precision{end}": f"ap{end}" for end in ("", "_low", "_high")},
    **{name: name for name in ("first", "paired", "auc_before")},
}
EVIDENCE = ("negative_effect", "effect", "best_cosine")  # of a word's numbers, those told by kind
PANELS = (  # of the figure of foils: title, the word's number, its measure
    ("True caption beats foil", "effect", "accuracy"),
    ("AUC, negative effect", "negative_effect", "auc"),
    ("AUC, largest cosine", "best_cosine", "auc"),
)


@dataclass(frozen=True)
class Measured:
    """One model's pointing game and foil detection; None where the data do not allow it."""

    name: str
    pointing: PointingGame | None
    foils: FoilDetection | None


@dataclass(frozen=True)
class MeasuredWords:
    """What was measured on a split; the second model's, if there is one, stands beside the first's."""

    split: Split
    models: tuple[Measured, ...]

    @property
    def pointing(self) -> PointingGame | None:
        return self.models[0].pointing

    @property
    def foils(self) -> FoilDetection | None:
        return self.models[0].foils

    @property
    def swapped(self) -> bool:
        """Whether the foils are captions of the data with a word swapped, not the data set's own."""
        return not known(self.split, "foils")

    def sentence(self) -> str:
        lines = [_source(self)]
        for one in self.models:
            lead = f"{one.name}. " if len(self.models) > 1 else ""
            if one.pointing is not None:
                lines.append(f"{lead}Attention: {one.pointing.sentence()}.")
            if one.foils is not None:
                lines.append(f"{lead}Foils: {one.foils.sentence()}.")
        return "\n".join(fill(line, 100) for line in lines)

    def table(self, member: str = "") -> pd.DataFrame | None:
        """The first model's results, a row a measure: value, 95 % interval, chance; percent.

        member: the model's name in its run.
        """
        rows: dict[str, tuple[float, ...]] = {}
        if self.pointing is not None:
            game = self.pointing
            rows["pointing game: attended region is right"] = (game.rate, *game.interval, game.chance)
        if self.foils is not None:
            rows |= _foil_rows(self.foils)
        if not rows:
            return None
        table = pd.DataFrame(rows, index=["value", "low", "high", "chance"]).T.rename_axis("measure") * 100
        table.insert(0, "split", self.split.name)
        table.insert(0, "member", member)
        return table.round(2)

    def evidence(self) -> pd.DataFrame | None:
        """What finds the wrong word: a row a model and a number that each word has, chance last; percent."""
        if self.foils is None:
            return None
        by_chance = (0.5, self.foils.chance_precision, self.foils.chance_first, 0.5)
        tables = {one.name: one.foils.found[[*FOUND]].rename(columns=FOUND) for one in self.models}
        tables[""] = pd.DataFrame([by_chance], index=["chance"], columns=["auc", "ap", "first", "paired"])
        return _labelled(tables, "a word's")

    def classes(self) -> pd.DataFrame | None:
        """The pointing game by class of word, a row a model and class; percent."""
        if self.pointing is None:
            return None
        tables = {one.name: one.pointing.by_class(CLASSES) for one in self.models}
        ordered = {name: table.sort_values("count", ascending=False) for name, table in tables.items()}
        return _labelled(ordered, "word")

    def kinds(self) -> pd.DataFrame | None:
        """Foils by kind of the wrong word, a row a model, kind and evidence; percent."""
        if self.foils is None:
            return None
        rows = [
            one.foils.kinds(evidence).assign(model=one.name, evidence=evidence)
            for one in self.models
            for evidence in EVIDENCE
            if evidence in one.foils.found.index
        ]
        table = pd.concat(rows).drop(columns=["paired_low", "paired_high"])
        table = table.set_index(["model", "kind", "evidence"])
        counts = ["count", "images"]
        return table[counts].join((100 * table.drop(columns=counts)).round(2)).reset_index()

    def save(self, run: Run) -> str:
        """Write the tables by kind and by class into the run; a line that names their files."""
        tables = {"05_kinds": self.kinds(), "05_classes": self.classes()}
        files = [run.save_table(table, name) for name, table in tables.items() if table is not None]
        return ", ".join(f"tables/{file.name}" for file in files) or "none: nothing could be measured"

    def pointing_figure(self) -> Figure | None:
        """The pointing game by class of word."""
        if self.pointing is None:
            return None
        tables = {
            one.name: one.pointing.by_class(CLASSES).rename(columns={"rate": "value"}) for one in self.models
        }
        order = tables[self.models[0].name].sort_values("value", ascending=False).index
        shown = ["value", "low", "high", "chance"]
        panel = {name: 100 * table.reindex(order)[shown] for name, table in tables.items()}
        return rates_figure({"Attended region is right": panel}, width=4.6)

    def foils_figure(self) -> Figure | None:
        """By kind of the wrong word: foils told apart, and the word found by two of its numbers."""
        if self.foils is None:
            return None
        order = list(self.foils.by_kind["kind"])
        panels: dict[str, dict[str, pd.DataFrame]] = {}
        for title, evidence, measure in PANELS:
            for one in self.models:
                if evidence in one.foils.found.index:
                    table = one.foils.kinds(evidence).set_index("kind").reindex(order)
                    panel = table[[measure, f"{measure}_low", f"{measure}_high"]].assign(chance=0.5) * 100
                    panel.columns = ["value", "low", "high", "chance"]
                    panels.setdefault(title, {})[one.name] = panel
        return rates_figure(panels)


def _source(measured: MeasuredWords) -> str:
    name = measured.split.folder.name
    if not measured.swapped:
        return f"{name} says which regions a word speaks of, and has foils of its own."
    said = f"{name} does not say which region a word speaks of, so no pointing game (the built-in scenes do)."
    if measured.foils is None:
        return f"{said} It has no captions in which a colour, number, animal or person could be swapped."
    return f"{said} Its foils are its own captions with a colour, number, animal or person swapped."


def _foil_rows(foils: FoilDetection) -> dict[str, tuple[float, ...]]:
    found, evidence = foils.found.loc[foils.evidence], foils.evidence
    return {
        "foils: true caption scores higher": (foils.accuracy, *foils.interval, 0.5),
        f"foils: wrong word has the lowest {evidence}": (
            *found[["first", "first_low", "first_high"]], foils.chance_first
        ),
        f"foils: AUC of {evidence} at the wrong word": (*found[["auc", "auc_low", "auc_high"]], 0.5),
        f"foils: average precision of {evidence}": (
            *found[["average_precision", "average_precision_low", "average_precision_high"]],
            foils.chance_precision,
        ),
    }  # fmt: skip


def _labelled(tables: dict[str, pd.DataFrame], axis: str) -> pd.DataFrame:
    """Tables one under the other, with the model's name before a row's where there are several; percent."""
    several = len(tables.keys() - {""}) > 1
    whole = pd.concat(
        table.rename(index=lambda row, name=name: f"{name}: {row}" if several and name else row)
        for name, table in tables.items()
    )
    shares = [name for name in whole if name != "count"]
    return whole.assign(**(100 * whole[shares]).round(2)).rename_axis(axis)


def measure_words(model: Model, split: Split, other: Model | None = None, seed: int = 0) -> MeasuredWords:
    """Pointing game and foils on a split, of one model or of two.

    Scenes know both; of other data foils are made by swapping words, for both models the same, by the seed.
    """
    models = [model] if other is None else [model, other]
    links = scenes.read_links(split.folder, split.name) if known(split, "links") else None
    foils = scenes.read_foils(split.folder, split.name) if known(split, "foils") else None
    if foils is None:
        words = set.intersection(*(set(one.vocabulary.words) for one in models))
        foils = swapped_foils(split, words, seed=seed)
    names = [one.settings.method for one in models]
    if len(set(names)) < len(names):
        names = [f"{name} ({k})" for k, name in enumerate(names, start=1)]
    measured = (
        Measured(
            name,
            None if links is None else pointing_game(one, split, links),
            foil_detection(one, split, foils) if foils else None,
        )
        for name, one in zip(names, models, strict=True)
    )
    return MeasuredWords(split, tuple(measured))
