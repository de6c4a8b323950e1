"""A scene's picture: a soft background and shaded, anti-aliased objects with a faint shadow.

Colours are float32 arrays (row, column, channel) from 0 to 255, masks (row, column) from 0 to 1.
"""

import math

import numpy as np
from jaxtyping import Float, UInt8
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from .layout import turned
from .world import COLOURS, Scene, SceneObject

Plane = Float[np.ndarray, "row column"]
Picture = Float[np.ndarray, "row column 3"]
GROUNDS = {  # colour at the top and at the bottom of the picture
    "sky": ((140, 188, 232), (212, 231, 243)),
    "water": ((136, 194, 206), (88, 154, 180)),
    "grass": ((178, 208, 144), (136, 182, 110)),
    "sand": ((241, 226, 192), (225, 202, 158)),
    "snow": ((224, 232, 243), (245, 248, 252)),
    "table": ((208, 172, 130), (188, 148, 106)),
    "paper": ((252, 247, 232), (246, 238, 216)),
    "night": ((34, 38, 80), (76, 68, 116)),
}
_FINE = 4  # masks are drawn this many times larger, then reduced
_PAD = 10  # pixels around an object for its shadow


def render(scene: Scene, rng: Generator) -> UInt8[np.ndarray, "row column 3"]:
    """The picture; larger objects first, so that what lies inside is seen."""
    picture = _background(scene, rng)
    for thing in sorted(scene.objects, key=_area, reverse=True):
        _draw(picture, thing, rng)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _area(thing: SceneObject) -> int:
    x1, y1, x2, y2 = thing.box
    return (x2 - x1) * (y2 - y1)


def _draw(picture: Picture, thing: SceneObject, rng: Generator) -> None:
    """Blends shadow and object into the picture, in place."""
    x1, y1, x2, y2 = thing.box
    top, left = max(y1 - _PAD, 0), max(x1 - _PAD, 0)
    part = picture[top : y2 + _PAD, left : x2 + _PAD]
    inside = np.s_[top - y1 + _PAD :, left - x1 + _PAD :]  # of what is drawn, where the picture begins
    rows, columns, _ = part.shape
    mask = _mask(thing)
    shadow = np.roll(_blurred(mask, 2.5), (3, 2), axis=(0, 1))[inside][:rows, :columns, None]
    part *= 1 - 0.32 * shadow
    paint = _paint(thing, mask, rng)[inside][:rows, :columns]
    part += mask[inside][:rows, :columns, None] * (paint - part)


def _mask(thing: SceneObject) -> Plane:
    """How much of each pixel of the padded box the shape covers."""
    x1, y1, x2, y2 = thing.box
    border, *holes = turned(thing.shape, thing.angle)
    low, high = border.min(axis=0), border.max(axis=0)
    scale = np.array([x2 - x1, y2 - y1]) / (high - low)
    canvas = Image.new("L", ((x2 - x1 + 2 * _PAD) * _FINE, (y2 - y1 + 2 * _PAD) * _FINE))
    brush = ImageDraw.Draw(canvas)
    for polygon, ink in [(border, 255), *((hole, 0) for hole in holes)]:
        points = ((polygon - low) * scale + _PAD) * _FINE
        brush.polygon([(x, y) for x, y in points.tolist()], fill=ink)
    return np.asarray(canvas.reduce(_FINE), np.float32) / 255


def _blurred(mask: Plane, radius: float) -> Plane:
    picture = Image.fromarray(np.rint(mask * 255).astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255


def _paint(thing: SceneObject, mask: Plane, rng: Generator) -> Picture:
    """The object's colour with its texture, lit from the upper left, darker towards its rim."""
    base = np.array(COLOURS[thing.colour], np.float32) + rng.normal(0, 6) + rng.normal(0, 3, 3)
    base = np.clip(base, 22, 252).astype(np.float32)
    light = base.mean() > 170
    second = base * 0.72 if light else base + 0.5 * (255 - base)
    rows, columns = mask.shape
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    u, v = x - columns / 2, y - rows / 2
    radius = max(rows, columns) / 2 - _PAD
    share = _texture(thing.texture, u, v, radius, rng)[..., None]
    paint = base + share * (second - base)
    glow = 1.03 - 0.09 * (u + v) / (2 * radius)
    rim = 0.80 + 0.20 * _blurred(mask, max(1.0, 0.06 * radius)) ** 1.5
    return np.clip(paint * (glow * rim)[..., None], 0, 255)


def _texture(texture: str, u: Plane, v: Plane, radius: float, rng: Generator) -> Plane:
    """The second colour's share in each pixel, for coordinates from the object's middle."""
    angle = rng.uniform(0, math.pi)
    period = max(6.0, 0.42 * radius) * rng.uniform(0.9, 1.1)
    across = (u * math.cos(angle) + v * math.sin(angle)) / period
    along = (v * math.cos(angle) - u * math.sin(angle)) / period
    if texture == "striped":
        return _edge(np.sin(2 * math.pi * across), period / 5)
    if texture == "checkered":
        return _edge(np.sin(math.pi * 1.3 * across) * np.sin(math.pi * 1.3 * along), period / 2.5)
    if texture == "dotted":
        across, along = across * 1.1, along * 1.1
        distance = np.hypot(across - np.rint(across), along - np.rint(along))
        return _edge(0.3 - distance, period)
    return np.zeros_like(u)


def _edge(wave: Plane, sharpness: float) -> Plane:
    """A step at 0 that is about one pixel wide."""
    return np.clip(0.5 + wave * sharpness, 0, 1)


def _background(scene: Scene, rng: Generator) -> Picture:
    top, bottom = (np.array(colour, np.float32) for colour in GROUNDS[scene.background])
    tint = rng.normal(0, 4, 3).astype(np.float32)
    height, width = scene.height, scene.width
    y, x = np.mgrid[:height, :width].astype(np.float32)
    rows = top + (y[:, :1, None] / height) * (bottom - top) + tint
    light = rng.uniform(-14, 14) * (x[:1] / width - 0.5)  # from the side
    return rows + (_pattern(scene.background, y, x, rng) + light)[..., None]


def _pattern(name: str, y: Plane, x: Plane, rng: Generator) -> Plane:
    """What tells one ground from another: added brightness."""
    size = y.shape
    if name == "sky":  # clouds
        return 46 * np.clip(_cloud(rng, size, (5, 4)) + 0.5 * _cloud(rng, size, (11, 8)) - 0.35, 0, 1)
    if name == "water":  # ripples
        bend = 9 * _cloud(rng, size, (4, 4))
        return 9 * np.sin((y + bend) * rng.uniform(0.30, 0.42)) * np.sin(x * 0.045 + bend)
    if name == "grass":  # blades
        return 11 * _cloud(rng, size, (70, 14)) + 7 * _cloud(rng, size, (5, 5))
    if name == "sand":  # dunes and grain
        bend = 10 * _cloud(rng, size, (4, 3))
        return 4 * np.sin((y + 0.35 * x + bend) * 0.16) + 3.2 * rng.standard_normal(size, np.float32)
    if name == "snow":  # drifts
        return 9 * _cloud(rng, size, (4, 5))
    if name == "table":  # planks
        seam = np.exp(-(((y + rng.uniform(0, 40)) % 44 - 2) ** 2) / 3)
        return 9 * _cloud(rng, size, (5, 44)) - 26 * seam
    if name == "paper":  # a squared page
        step, shift = 20, rng.integers(0, 20, 2)
        return -13.0 * np.maximum((y + shift[0]) % step < 1, (x + shift[1]) % step < 1).astype(np.float32)
    return _stars(rng, size) + 7 * _cloud(rng, size, (4, 4))


def _cloud(rng: Generator, size: tuple[int, int], cells: tuple[int, int]) -> Plane:
    """Smooth noise of about unit spread with so many bumps (across, down)."""
    coarse = Image.fromarray(rng.normal(size=cells[::-1]).astype(np.float32))
    return np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC), np.float32)


def _stars(rng: Generator, size: tuple[int, int]) -> Plane:
    """Points of light, too small to pass for an object."""
    points = np.zeros(size, np.float32)
    rows, columns = rng.integers(0, size[0], 40), rng.integers(0, size[1], 40)
    points[rows, columns] = rng.uniform(40, 150, 40)
    return points
