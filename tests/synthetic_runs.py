"""Run folders that hold scores and nothing else, as good as asked."""

from pathlib import Path

import numpy as np
import seeds

SPLIT = "dev"


def write_run(
    folder: Path, data: Path, *, seed: int = 0, skill: float = 2.0, split: str = SPLIT, **settings
) -> Path:
    """A run with saved scores of a split: noise, `skill` added where image and caption belong together."""
    from naaflib import open_split
    from naaflib.config import preset
    from naaflib.evaluate.evaluation import scored_split
    from naaflib.runs import Run, write_json

    opened = open_split(data, split)
    asked = {"train.seed": seed} | {name.replace("__", "."): value for name, value in settings.items()}
    content = {"settings": preset("scenes", asked).model_dump(), "data": {"folder": str(data)}}
    run = Run.create(folder, "train", **content)
    rng = seeds.rng(seed, round(1000 * skill))
    own = np.arange(len(opened))[:, None] == opened.image_of_caption
    scores = rng.normal(size=own.shape) + skill * own
    path = run.scores_path(split)
    path.parent.mkdir(parents=True)
    np.save(path, scores.astype(np.float32))
    write_json(path.with_suffix(".json"), scored_split(opened))
    return folder


def write_group(folder: Path, data: Path, seeds: int = 3, **options) -> Path:
    """A folder of members that differ in their seed alone."""
    for seed in range(seeds):
        write_run(folder / "members" / str(seed), data, seed=seed, **options)
    return folder
