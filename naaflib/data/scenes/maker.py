"""From a seed to the files of one split of the scenes set.

An image depends on the seed, its split and its number alone, not on the other images or how many there are.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.random import Generator, default_rng
from PIL import Image

from ..boxes import OVERLAP, overlap
from ..manifest import CAPTIONS_AN_IMAGE, SPLITS, layout_path
from ..writing import create_arrays, write_lines
from .features import DIM, features
from .foils import Foil, Swap, sample_foils
from .grammar import Caption, sample_captions
from .layout import sample_scene
from .pixels import render
from .regions import REGIONS, sample_boxes
from .world import Scene

FOILS = 2  # a caption, at most
RECORDS = ("objects", "mentions", "links", "foils")  # what only scenes have


@dataclass(frozen=True)
class Sample:
    """All that the set holds of one image; foils go with captions, one tuple each."""

    scene: Scene
    picture: UInt8[np.ndarray, "row column 3"]
    boxes: Float32[np.ndarray, "region 4"]
    regions: Float32[np.ndarray, "region dim"]
    captions: tuple[Caption, ...]
    foils: tuple[tuple[Swap, ...], ...]

    def links(self) -> list[list[list[int]]]:
        """For each caption and word, the regions that show an object of which the word speaks."""
        shown = overlap(self.boxes, [thing.box for thing in self.scene.objects]) >= OVERLAP
        return [
            [np.flatnonzero(shown[:, list(objects)].any(axis=1)).tolist() for objects in caption.objects]
            for caption in self.captions
        ]


def make_sample(seed: int, split: str, image: int) -> Sample:
    """The image of that number; each step draws from random numbers of its own."""

    def rng(step: int) -> Generator:
        return default_rng([seed, SPLITS.index(split), image, step])

    scene = sample_scene(rng(0))
    picture = render(scene, rng(1))
    boxes = sample_boxes(scene, rng(2))
    captions = sample_captions(scene, CAPTIONS_AN_IMAGE, rng(3))
    draw = rng(4)
    foils = tuple(tuple(sample_foils(caption, scene, FOILS, draw)) for caption in captions)
    return Sample(scene, picture, boxes, features(picture, boxes, rng(5)), tuple(captions), foils)


def record_path(folder: Path, split: str, what: str) -> Path:
    """The JSON of one of RECORDS."""
    return folder / f"{split}_{what}.json"


def write_split(folder: Path, split: str, images: int, seed: int, tick: Callable[[], object]) -> None:
    """Renders so many images and writes every file of the split; `tick` is called after each image."""
    arrays = create_arrays(folder, split, images, REGIONS, DIM, "<f2")
    lines: dict[str, list[str]] = {"captions": [], "names": []}
    records: dict[str, list[object]] = {what: [] for what in RECORDS}
    for image in range(images):
        sample = make_sample(seed, split, image)
        name = f"{split}_{image:05d}.jpg"
        path = layout_path(folder, split, "pictures") / name
        Image.fromarray(sample.picture).save(path, quality=85, subsampling=0)
        arrays["features"][image], arrays["boxes"][image] = sample.regions, sample.boxes
        arrays["sizes"][image] = sample.scene.width, sample.scene.height
        lines["captions"] += [caption.text for caption in sample.captions]
        lines["names"].append(name)
        records["objects"].append(asdict(sample.scene))
        records["mentions"] += [caption.objects for caption in sample.captions]
        records["links"] += sample.links()
        records["foils"] += _foil_records(sample, image)
        tick()
    for array in arrays.values():
        array.flush()
    for role, text in lines.items():
        write_lines(layout_path(folder, split, role), text)
    for what, rows in records.items():
        content = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
        write_lines(record_path(folder, split, what), [f"[{content}]"])


def _foil_records(sample: Sample, image: int) -> list[object]:
    rows: list[object] = []
    for number, (caption, swaps) in enumerate(zip(sample.captions, sample.foils, strict=True)):
        for swap in swaps:
            tokens = [word.text for word in caption.words]
            tokens[swap.word] = swap.now
            foil = Foil(
                caption=image * CAPTIONS_AN_IMAGE + number,
                image=image,
                text=" ".join(tokens),
                word=swap.word,
                was=caption.words[swap.word].text,
                now=swap.now,
                kind=str(caption.words[swap.word].kind),
            )
            rows.append(asdict(foil))
    return rows
