"""Wrote this folder with the code of commit 93dde64: PYTHONPATH=CHECKOUT python make.py FOLDER.

What names a computer is taken out at the end: the data set's folder, the platform, TensorBoard's file names,
the lock.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np

from naaflib.cli import main

NOUNS = ("cat", "dog", "boat", "tree", "house", "lamp", "ball")
FORMS = ("A {0} near a {1} .", "{1} and {0}", "The {0} by the {1}, alone.", "One {1}. A {0}!", "a {0}, {1}")
SHARED = (
    "model.dim=7", "model.word_dim=5", "data.min_word_count=1", "model.word_init=0.5", "mining.min_words=5",
    "loss.negatives=adaptive", "loss.recall_momentum=0.3", "train.batch_size=11", "train.epochs=6",
    "train.learning_rate=0.02", "train.decay_epoch=5", "train.warmup_steps=3", "train.checkpoint_steps=3",
)  # fmt: skip
RUNS = {
    "naaf": (
        "model.lambda_softmax=15", "model.lambda_intra=4", "model.relevance_effect=false", "mining.alpha=1.5",
        "model.image_encoder=weight-norm", "mining.momentum=0.6",
    ),
    "scan": (
        "model.method=scan-t2i", "model.lambda_softmax=8", "model.pooling=lse", "model.lambda_lse=5",
        "model.freeze_words=true",
    ),
}  # fmt: skip


def write_data(folder: Path) -> None:
    rng = np.random.default_rng(1)
    looks = rng.normal(size=(len(NOUNS), 11))
    folder.mkdir()
    for split, images in {"train": 23, "dev": 7, "test": 7}.items():
        shown = np.stack([rng.choice(len(NOUNS), size=2, replace=False) for _ in range(images)])
        features = 0.1 * rng.normal(size=(images, 3, 11))
        features[:, :2] += looks[shown]
        corner = rng.integers(0, 50, size=(images, 3, 2))
        np.save(folder / f"{split}_ims.npy", features.astype("float32"))
        np.save(
            folder / f"{split}_ims_bbx.npy", np.concatenate([corner, corner + 40], axis=2).astype("float32")
        )
        np.save(folder / f"{split}_ims_size.npy", np.full((images, 2), 100))
        names = [f"{split}{image}.jpg\n" for image in range(images)]
        captions = [form.format(*(NOUNS[noun] for noun in pair)) + "\n" for pair in shown for form in FORMS]
        (folder / f"{split}_image_names.txt").write_text("".join(names))
        (folder / f"{split}_caps.txt").write_text("".join(captions))


def naaf(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def anonymous(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["data"]["folder"], config["environment"]["platform"] = "/elsewhere/data", "Linux"
    (run / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (run / ".lock").unlink()
    for number, events in enumerate(sorted((run / "tensorboard").iterdir())):
        events.rename(events.with_name(f"events.out.tfevents.{number}.computer.0.0"))


if __name__ == "__main__":
    out = Path(sys.argv[1])
    data = out / "data"
    write_data(data)
    for name, own in RUNS.items():
        run, more = out / name, out / f"{name}-continued"
        naaf("train", "--data", data, "--out", run, "--preset", "general", "--set", *SHARED, *own)
        naaf("evaluate", run, "--data", data)
        naaf("explain", run, "--data", data, "--all", "--out", out / f"{name}-words.csv")
        shutil.copytree(run, more)
        naaf("train", "--data", data, "--out", more, "--resume", "--set", "train.epochs=7")
        (more / "steps.csv").rename(out / f"{name}-continued.csv")
        shutil.rmtree(more)
        anonymous(run)
