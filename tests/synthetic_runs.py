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
    from naaflib.evaluation.evaluate import scored_split
    from naaflib.files import write_json
    from naaflib.runs import Run

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


def write_history(folder: Path, rsum: float) -> Path:
    """A run's history, as of a training that ends at this rsum on a dev split of 250 images."""
    import pandas as pd

    from naaflib.runs import HISTORY, Run

    run = Run.open(folder)
    epochs = run.settings.train.epochs
    rows = pd.DataFrame({"epoch": range(1, epochs + 1), "rsum": np.linspace(0.8 * rsum, rsum, epochs)})
    rows = rows.reindex(columns=[*HISTORY]).assign(loss=13.0, batch_i2t_at_1=75.0, batch_t2i_at_1=75.0)
    run.save_log("history.csv", rows)
    run.update(sizes={"pairs_per_batch": 64, "validation_images": 250, "chance_rsum": 12.7})
    if not run.is_trained:
        run.checkpoint().parent.mkdir(exist_ok=True)
        run.checkpoint().write_bytes(b"x")
    return folder
