"""Regions of a picture, as a detector would propose them: boxes (x1, y1, x2, y2) in pixels."""

import numpy as np
from jaxtyping import Float, Float32
from numpy.random import Generator

from ..boxes import intersection
from .world import Scene

Boxes = Float[np.ndarray, "_ 4"]
Frame = Float[np.ndarray, "4"]
REGIONS = 36


def sample_boxes(scene: Scene, rng: Generator) -> Float32[np.ndarray, "36 4"]:
    """Boxes of objects, parts, pairs, background and the whole, in random order, in whole pixels."""
    things = np.array([thing.box for thing in scene.objects], float)
    frame = np.array([scene.width, scene.height] * 2, float)
    close = np.concatenate([_jittered(things, 0.05, rng), _jittered(things, 0.09, rng)])
    parts = np.concatenate([_shifted(things, rng), _shifted(things, rng)])
    first, second = (rng.integers(len(things), size=4) for _ in range(2))
    low = np.minimum(things[first, :2], things[second, :2])
    high = np.maximum(things[first, 2:], things[second, 2:])
    pairs = np.concatenate([low, high], axis=1)[first != second]
    found = np.concatenate([frame[None] * (0, 0, 1, 1), close, parts, _jittered(pairs, 0.02, rng)])
    rest = _background_boxes(things, frame, REGIONS - len(found), rng)
    boxes = _clipped(np.concatenate([found, rest]), frame)
    return rng.permutation(boxes, axis=0).astype(np.float32)


def _jittered(boxes: Boxes, spread: float, rng: Generator) -> Boxes:
    """Each side moved by about `spread` of the box, and at most by twice that.

    At a spread of 0.05 the intersection over union with the first box stays above one half.
    """
    side = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return boxes + side * spread * np.clip(rng.normal(size=boxes.shape), -2, 2)


def _shifted(boxes: Boxes, rng: Generator) -> Boxes:
    """Crops that hold a part of the object: moved by half its side or more, and resized."""
    side = boxes[:, 2:] - boxes[:, :2]
    angle = rng.uniform(0, 2 * np.pi, len(boxes))
    away = np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(0.45, 0.75, (len(boxes), 1))
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + away * side
    half = side / 2 * rng.uniform(0.7, 1.3, side.shape)
    return np.concatenate([centre - half, centre + half], axis=1)


def _background_boxes(things: Boxes, frame: Frame, count: int, rng: Generator) -> Boxes:
    """Of eight random boxes each, the one that objects cover least."""
    side = rng.uniform(22, 90, (count, 8, 2))
    corner = rng.uniform(0, 1, (count, 8, 2)) * (frame[:2] - side)
    boxes = np.concatenate([corner, corner + side], axis=2)
    covered = intersection(boxes.reshape(-1, 4), things).sum(axis=1).reshape(count, 8) / side.prod(axis=2)
    return boxes[np.arange(count), covered.argmin(axis=1)]


def _clipped(boxes: Boxes, frame: Frame) -> Boxes:
    """Whole pixels inside the picture, at least eight a side."""
    boxes = np.rint(boxes)
    low = np.clip(boxes[:, :2], 0, frame[:2] - 8)
    return np.concatenate([low, np.clip(boxes[:, 2:], low + 8, frame[:2])], axis=1)
