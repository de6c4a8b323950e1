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

DIM = 128
NOISE = 0.25
_SIDE = 16  # pixels a side to which every crop is brought
_THIRDS = np.arange(3, dtype=np.float32)
_LAYER_SEED = 2022  # the random layer is the same for all scenes
_GAIN = {"colours": 2.0, "places": 1.0, "edges": 1.0, "texture": 3.0, "figure": 1.0, "extent": 2.0}


def features(
    picture: UInt8[np.ndarray, "row column 3"], boxes: Float[np.ndarray, "region 4"], rng: Generator
) -> Float32[np.ndarray, "region dim"]:
    """Description, fixed random layer, noise; of about unit length."""
    described = describe(picture, boxes)
    weight, bias = _layer(described.shape[1])
    mixed = np.einsum("rp,pd->rd", described, weight) + bias
    mixed += NOISE * rng.normal(size=mixed.shape)
    return (np.maximum(mixed, 0.1 * mixed) / np.sqrt(DIM)).astype(np.float32)


@cache
def _layer(parts: int) -> tuple[Float[np.ndarray, "part dim"], Float[np.ndarray, " dim"]]:
    rng = np.random.default_rng(_LAYER_SEED)
    return rng.normal(size=(parts, DIM)) / np.sqrt(parts), 0.3 * rng.normal(size=DIM)


def describe(
    picture: UInt8[np.ndarray, "row column 3"], boxes: Float[np.ndarray, "region 4"]
) -> Float[np.ndarray, "region part"]:
    """What is in each box, in groups of numbers that are brought to about unit spread."""
    whole = Image.fromarray(picture)
    small = [whole.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, tuple(box)) for box in boxes.tolist()]
    crop = np.stack([np.asarray(one) for one in small]).astype(np.float32) / 255
    rows, columns, _ = picture.shape
    edges, texture = _edges(crop)
    groups = {
        "colours": _colours(crop),
        "places": 3 * (_cells(crop, 4) - 0.6),
        "edges": edges,
        "texture": texture,
        "figure": 2.5 * (_cells(_figure(crop), 8) - 0.5),
        "extent": _extent(boxes / (columns, rows, columns, rows)),
    }
    return np.concatenate([_GAIN[name] * group for name, group in groups.items()], axis=1)


def _cells(crop: Float[np.ndarray, "region row column part"], cells: int) -> Float[np.ndarray, "region mean"]:
    """Means over a grid of cells."""
    count, side, _, parts = crop.shape
    step = side // cells
    rows = crop.reshape(count, cells, step, side * parts).sum(axis=2)
    return rows.reshape(count, cells, cells, step, parts).sum(axis=3).reshape(count, -1) / step**2


def _colours(crop: Float[np.ndarray, "region row column 3"]) -> Float[np.ndarray, "region bin"]:
    """How much of each of 27 colours the whole and its middle hold, shared out between neighbouring bins."""
    coarse = crop[:, ::2, ::2]
    red, green, blue = np.clip(1 - np.abs(2 * np.moveaxis(coarse, 3, 0)[..., None] - _THIRDS), 0, 1)
    pairs = (red[..., :, None] * green[..., None, :]).reshape(*coarse.shape[:3], 9)
    bins = (pairs[..., :, None] * blue[..., None, :]).reshape(*coarse.shape[:3], 27)
    side = bins.shape[1]
    middle = bins[:, side // 4 : -side // 4, side // 4 : -side // 4]
    both = np.concatenate([bins.mean(axis=(1, 2)), middle.mean(axis=(1, 2))], axis=1)
    return 3 * (np.sqrt(both) - 0.12)


def _edges(
    crop: Float[np.ndarray, "region row column 3"],
) -> tuple[Float[np.ndarray, "region bin"], Float[np.ndarray, "region part"]]:
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
        texture += [6 * np.sqrt(total) - 1.5, 3 * aligned[0] - 1, 3 * aligned[1] - 1]
    return 6 * (np.sqrt(_cells(directions, 4)) - 0.15), np.stack(texture, axis=1)


def _slopes(
    crop: Float[np.ndarray, "region row column 3"],
) -> tuple[Float[np.ndarray, "region row column"], Float[np.ndarray, "region row column"]]:
    """Change to the right and downwards in each pixel, of the channel that changes most."""
    right, down = np.zeros_like(crop), np.zeros_like(crop)
    right[:, :, 1:-1] = (crop[:, :, 2:] - crop[:, :, :-2]) / 2
    down[:, 1:-1] = (crop[:, 2:] - crop[:, :-2]) / 2
    most = np.argmax(right**2 + down**2, axis=3)[..., None]
    return np.take_along_axis(right, most, axis=3)[..., 0], np.take_along_axis(down, most, axis=3)[..., 0]


def _figure(crop: Float[np.ndarray, "region row column 3"]) -> Float[np.ndarray, "region row column 1"]:
    """How unlike the corners' colour each pixel is: the object before its ground, in a fitting box."""
    ends = np.r_[0:3, -3:0]
    ground = crop[:, ends][:, :, ends].mean(axis=(1, 2), keepdims=True)
    unlike = np.linalg.norm(crop - ground, axis=3, keepdims=True)
    return np.clip(unlike / (0.6 * unlike.max(axis=(1, 2), keepdims=True) + 0.05), 0, 1)


def _extent(boxes: Float[np.ndarray, "region 4"]) -> Float[np.ndarray, "region part"]:
    """Size and place of the box in the picture."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    x, y = ((boxes[:, 2:] + boxes[:, :2]) / 2).T
    area = np.sqrt(width * height)
    sizes = [np.exp(-(((area - size) / 0.12) ** 2)) for size in (0.15, 0.26, 0.42)]
    place = [3 * (x - 0.5), 3 * (y - 0.5)]
    return np.stack([*sizes, 4 * (width - 0.3), 4 * (height - 0.3), *place], axis=1)
