"""Features of regions, as a network would see them, computed from the pixels in the box.

A fixed description (which colours, where, which edges, which figure before its ground, and the extent of the
box) is mixed by a fixed random layer; noise makes regions confusable. Crops: (region, row, column, channel),
from 0 to 1. Nothing here is a BLAS product, so that the bytes do not depend on the number of threads.
"""

from functools import cache

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy.random import Generator
from PIL import Image

from .layout import sample_scene
from .pixels import render
from .regions import sample_boxes

Picture = UInt8[np.ndarray, "row column 3"]
Boxes = Float[np.ndarray, "region 4"]
Crop = Float[np.ndarray, "region row column 3"]
Plane = Float[np.ndarray, "region row column"]
Parts = Float[np.ndarray, "region part"]
Group = Float[np.ndarray, "region _"]
DIM = 128
NOISE = 0.25  # the signal spreads by 0.57
_SIDE = 16  # pixels a side to which every crop is brought
_THIRDS = np.arange(3, dtype=np.float32)
_SEED = 2022  # of the layer and of the scenes on which it is centred: the same for every data set
_REFERENCE = 32  # scenes
_SHARE = {"colours": 2.0, "places": 0.3, "edges": 1.0, "texture": 1.0, "figure": 1.0, "extent": 0.3}


def features(picture: Picture, boxes: Boxes, rng: Generator) -> Float32[np.ndarray, "region dim"]:
    """Description, fixed random layer, noise; of about unit length."""
    mean, gain, weight = _layer()
    mixed = np.tanh(np.einsum("rp,pd->rd", (_joined(describe(picture, boxes)) - mean) * gain, weight))
    mixed += NOISE * rng.normal(size=mixed.shape)
    return (mixed / np.sqrt(DIM)).astype(np.float32)


@cache
def _layer() -> tuple[Float[np.ndarray, " part"], Float[np.ndarray, " part"], Float[np.ndarray, "part dim"]]:
    """Mean and gain of each part of a description, on reference scenes, and the random weights."""
    groups: list[dict[str, Group]] = []
    for number in range(_REFERENCE):
        rng = np.random.default_rng([_SEED, number])
        scene = sample_scene(rng)
        groups.append(describe(render(scene, rng), sample_boxes(scene, rng)))
    described = np.concatenate([_joined(one) for one in groups])
    sizes = {name: part.shape[1] for name, part in groups[0].items()}
    share = np.concatenate([np.full(size, _SHARE[name] / size) for name, size in sizes.items()])
    gain = np.sqrt(share / share.sum()) / (described.std(axis=0) + 0.02)
    return described.mean(axis=0), gain, np.random.default_rng(_SEED).normal(size=(len(gain), DIM))


def _joined(groups: dict[str, Group]) -> Parts:
    return np.concatenate(list(groups.values()), axis=1).astype(np.float64)


def describe(picture: Picture, boxes: Boxes) -> dict[str, Group]:
    """What is in each box, by groups."""
    whole = Image.fromarray(picture)
    small = [whole.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, tuple(box)) for box in boxes.tolist()]
    crop = np.stack([np.asarray(one) for one in small]).astype(np.float32) / 255
    rows, columns, _ = picture.shape
    edges, texture = _edges(crop)
    return {
        "colours": _colours(crop),
        "places": _cells(crop, 4),
        "edges": edges,
        "texture": texture,
        "figure": _cells(_figure(crop), 8),
        "extent": _extent(boxes / (columns, rows, columns, rows)),
    }


def _cells(crop: Float[np.ndarray, "region row column part"], cells: int) -> Float[np.ndarray, "region mean"]:
    """Means over a grid of cells."""
    count, side, _, parts = crop.shape
    step = side // cells
    rows = crop.reshape(count, cells, step, side * parts).sum(axis=2)
    return rows.reshape(count, cells, cells, step, parts).sum(axis=3).reshape(count, -1) / step**2


def _colours(crop: Crop) -> Float[np.ndarray, "region bin"]:
    """How much of each of 27 colours the whole and its middle hold, shared out between neighbouring bins."""
    coarse = crop[:, ::2, ::2]
    red, green, blue = np.clip(1 - np.abs(2 * np.moveaxis(coarse, 3, 0)[..., None] - _THIRDS), 0, 1)
    pairs = (red[..., :, None] * green[..., None, :]).reshape(*coarse.shape[:3], 9)
    bins = (pairs[..., :, None] * blue[..., None, :]).reshape(*coarse.shape[:3], 27)
    side = bins.shape[1]
    middle = bins[:, side // 4 : -side // 4, side // 4 : -side // 4]
    both = np.concatenate([bins.mean(axis=(1, 2)), middle.mean(axis=(1, 2))], axis=1)
    return np.sqrt(both)


def _edges(crop: Crop) -> tuple[Float[np.ndarray, "region bin"], Parts]:
    """Which directions the edges have in sixteen cells; how strong and aligned they are, however turned."""
    right, down = _slopes(crop)
    strength = np.hypot(right, down)
    # the angle doubled, since an edge has no sign; then doubled again, for the two directions of a chequer
    cos, sin = (right**2 - down**2) / (strength + 1e-6), 2 * right * down / (strength + 1e-6)
    cos4, sin4 = (cos**2 - sin**2) / (strength + 1e-6), 2 * cos * sin / (strength + 1e-6)
    way = np.pi / 3 * np.arange(6, dtype=np.float32)  # six directions
    directions = np.stack([np.maximum(cos * np.cos(one) + sin * np.sin(one), 0) for one in way], axis=3)
    kinds = np.stack([strength, cos, sin, cos4, sin4], axis=3)
    texture = []
    for part in (kinds, kinds[:, _SIDE // 4 : -_SIDE // 4, _SIDE // 4 : -_SIDE // 4]):
        total, *sums = part.mean(axis=(1, 2)).T
        aligned = [np.hypot(*pair) / (total + 0.01) for pair in (sums[:2], sums[2:])]
        texture += [np.sqrt(total), *aligned]
    return np.sqrt(_cells(directions, 4)), np.stack(texture, axis=1)


def _slopes(crop: Crop) -> tuple[Plane, Plane]:
    """Change to the right and downwards in each pixel, of the channel that changes most."""
    right, down = np.zeros_like(crop), np.zeros_like(crop)
    right[:, :, 1:-1] = (crop[:, :, 2:] - crop[:, :, :-2]) / 2
    down[:, 1:-1] = (crop[:, 2:] - crop[:, :-2]) / 2
    most = np.argmax(right**2 + down**2, axis=3)[..., None]
    return np.take_along_axis(right, most, axis=3)[..., 0], np.take_along_axis(down, most, axis=3)[..., 0]


def _figure(crop: Crop) -> Float[np.ndarray, "region row column 1"]:
    """How unlike the corners' colour each pixel is: the object before its ground, in a fitting box."""
    ends = np.r_[0:3, -3:0]
    ground = crop[:, ends][:, :, ends].mean(axis=(1, 2), keepdims=True)
    unlike = np.linalg.norm(crop - ground, axis=3, keepdims=True)
    return np.clip(unlike / (0.6 * unlike.max(axis=(1, 2), keepdims=True) + 0.05), 0, 1)


def _extent(boxes: Boxes) -> Parts:
    """Size and place of the box in the picture."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    x, y = ((boxes[:, 2:] + boxes[:, :2]) / 2).T
    area = np.sqrt(width * height)
    sizes = [np.exp(-(((area - size) / 0.12) ** 2)) for size in (0.15, 0.26, 0.42)]
    return np.stack([*sizes, width, height, x, y], axis=1)
