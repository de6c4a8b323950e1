"""Attention and mismatch measured where the truth is known; the two samples of similarities."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..checkpoint import load_checkpoint
from ..data import scenes
from ..data.scene_words import LEXICON
from ..data.splits import Split, open_split
from ..explanation import FoilDetection, PointingGame, foil_detection, matched_samples, pointing_game
from ..mining import optimal_boundary
from ..model import Model
from ..runs import Run
from ..viz import style
from ..viz.distributions import boundary_by_alpha, cumulative
from ..viz.measures import rates_figure
from ..viz.separation import separation

KINDS = {
    form: kind
    for (kind, _), values in LEXICON.items()
    if kind in ("shape", "colour", "size", "texture")
    for forms in values.values()
    for form in forms
}


@dataclass(frozen=True)
class MeasuredWords:
    """The pointing game and foil detection of a split; None where the data set does not know the truth."""

    split: Split
    pointing: PointingGame | None = None
    foils: FoilDetection | None = None

    def sentence(self) -> str:
        if self.pointing is None or self.foils is None:
            return (
                f"{self.split.folder.name} does not say which region a word speaks of, so nothing is "
                "measured here; the built-in scenes do (data = data/scenes)."
            )
        return f"Attention: {self.pointing.sentence()}.\nFoils: {self.foils.sentence()}."

    def table(self) -> pd.DataFrame | None:
        """A row a measure: value, 95 % interval where there is one, chance; percent."""
        if self.pointing is None or self.foils is None:
            return None
        found = self.foils.found.loc[self.foils.evidence]
        wrong = f"wrong word by {self.foils.evidence}"
        rows = {
            "pointing game: attended region is right": (
                self.pointing.rate, *self.pointing.interval, self.pointing.chance
            ),
            "true caption beats its foil": (self.foils.accuracy, *self.foils.interval, 0.5),
            f"{wrong}: lowest of its caption": (found["first"], np.nan, np.nan, self.foils.chance_first),
            f"{wrong}: AUC x 100": (found["auc"], np.nan, np.nan, 0.5),
            f"{wrong}: average precision": (
                found["average_precision"], np.nan, np.nan, self.foils.chance_precision
            ),
        }  # fmt: skip
        table = pd.DataFrame(rows, index=["value", "low", "high", "chance"]).T.rename_axis("measure") * 100
        table.insert(0, "split", self.split.name)
        return table.round(2)

    def figure(self) -> Figure | None:
        """Pointing game by class of word and foil detection by class of the wrong word."""
        if self.pointing is None or self.foils is None:
            return None
        words = self.pointing.words
        kind = words["word"].map(KINDS).fillna("other")
        pointed = words.groupby(kind)[["hit", "chance"]].mean().rename(columns={"hit": "value"})
        foils = self.foils.by_kind.set_index("kind")
        lengths = self.foils.words.groupby("foil").size()
        first = (1 / lengths).groupby(self.foils.foils["kind"].to_numpy()).mean()
        found = pd.DataFrame({"value": foils["first"], "chance": first})
        beaten = pd.DataFrame({"value": foils["accuracy"], "chance": 0.5})
        tables = {
            "Attended region is right": pointed,
            "True caption beats its foil": beaten,
            "Wrong word is found": found,
        }
        return rates_figure(
            {name: (100 * t).sort_values("value", ascending=False) for name, t in tables.items()}
        )


def measure_words(model: Model, split: Split) -> MeasuredWords:
    """Both measures on a split of scenes; on other data nothing, and the sentence says why."""
    if not (split.folder / f"{split.name}_links.json").is_file():
        return MeasuredWords(split)
    return MeasuredWords(
        split,
        pointing_game(model, split, scenes.read_links(split.folder, split.name)),
        foil_detection(model, split, scenes.read_foils(split.folder, split.name)),
    )


def sample_panels(run: Run, folder: Path, split: str = "") -> dict[str, Mapping[str, np.ndarray]]:
    """Samples before training and at the best epoch, both of dev as training kept them, by their titles.

    split: another split, sampled now from the best checkpoint as a third panel; "" for none.
    """
    kept, history = run.samples(), run.history()
    best = int(history.loc[history["rsum"].idxmax(), "epoch"])
    panels = {"Before training": kept[0], f"After epoch {best}, the best": kept[best]}
    panels["Before training"] = {key: kept[0][key] for key in ("matched", "mismatched")}  # no boundary yet
    if split:
        panels[f"The same model on {split}"] = matched_samples(
            load_checkpoint(run.path), open_split(folder, split)
        )
    return panels


def boundary_page(samples: Mapping[str, np.ndarray], alpha: float) -> Figure:
    """Cumulative shares of both samples, and the boundary that their fits give as a function of alpha."""
    figure, axes = style.panels(1, 2, height=2.9)
    boundary = float(samples["boundary"])
    cumulative(axes[0, 0], samples["matched"], samples["mismatched"], boundary=boundary)
    axes[0, 0].set_title("Shares at or below a similarity")
    fit = separation(samples["matched"], samples["mismatched"])
    alphas = np.geomspace(0.25, 16, 97)
    moments = (fit.mean_matched, fit.std_matched, fit.mean_mismatched, fit.std_mismatched)
    boundaries = [optimal_boundary(*moments, alpha=value) for value in alphas.tolist()]
    boundary_by_alpha(axes[0, 1], alphas, boundaries, alpha=alpha, inference_boundary=fit.three_sigma)
    axes[0, 1].set_title("The boundary's price")
    return figure
