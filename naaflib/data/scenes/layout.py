"""Where a scene's objects stand: the outlines of the shapes, and a random arrangement.

No two boxes overlap, except where one object lies inside another.
"""

import math
from functools import cache

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from .world import COLOURS, CONTAINERS, HIDDEN_ON, RADII, SHAPES, TEXTURES, Box, Scene, SceneObject, alike

Points = Float[np.ndarray, "_ 2"]
_TURNS = {"circle": 0, "ring": 0, "heart": 15, "diamond": 10, "square": 12, "triangle": 20, "hexagon": 30}
_MARGIN, _GAP = 4, 3  # pixels to the picture's edge, and between boxes


def sample_scene(rng: Generator) -> Scene:
    """A picture's size, background and two to five objects, each where it does not hide another."""
    width, height = int(rng.integers(184, 225)), int(rng.integers(168, 209))
    background = str(rng.choice(list(HIDDEN_ON)))
    wanted = int(rng.choice([2, 3, 4, 5], p=[0.2, 0.3, 0.3, 0.2]))
    objects: list[SceneObject] = []
    if rng.random() < 0.4:
        objects = _nested_pair(rng, width, height, background)
    while len(objects) < wanted:
        shape, colour = _look(rng, background, objects)
        full = sum(thing.size == "large" for thing in objects) > 1  # a third large one could leave no room
        size = str(rng.choice(list(RADII), p=[0.5, 0.5, 0.0] if full else [0.35, 0.35, 0.3]))
        found = _place(rng, shape, colour, size, width, height, [thing.box for thing in objects])
        if found is not None:
            objects.append(found)
    order = rng.permutation(len(objects))
    return Scene(width, height, background, tuple(objects[i] for i in order))


def _look(rng: Generator, background: str, others: list[SceneObject]) -> tuple[str, str]:
    """A shape and a colour; each is often that of another object, so that one word alone seldom decides."""
    shape = str(rng.choice(SHAPES))
    colour = str(rng.choice([name for name in COLOURS if name not in HIDDEN_ON[background]]))
    if others and rng.random() < 0.22:
        shape = others[int(rng.integers(len(others)))].shape
    if others and rng.random() < 0.22:
        colour = others[int(rng.integers(len(others)))].colour
    return shape, colour


def _texture(rng: Generator) -> str:
    return str(rng.choice(TEXTURES, p=[0.46, 0.18, 0.18, 0.18]))


def _nested_pair(rng: Generator, width: int, height: int, background: str) -> list[SceneObject]:
    """A large object and a small one inside it, of clearly another colour."""
    _, colour = _look(rng, background, [])
    shape = str(rng.choice(CONTAINERS))
    outer = _place(rng, shape, colour, "large", width, height, [])
    if outer is None:
        return []
    inks = [name for name in COLOURS if not alike(name, colour)]
    if shape == "ring":  # what lies in its hole is seen against the background
        inks = [name for name in inks if name not in HIDDEN_ON[background]]
    x, y = outer.centre
    spot = (x + rng.uniform(-4, 4), y + rng.uniform(-4, 4) - (3 if shape == "heart" else 0))
    turn, radius = _turn(rng, inner_shape := str(rng.choice(SHAPES))), rng.uniform(13, 16)
    box = box_around(inner_shape, turn, spot, radius)
    return [outer, SceneObject(inner_shape, str(rng.choice(inks)), "small", _texture(rng), turn, box)]


def _place(
    rng: Generator, shape: str, colour: str, size: str, width: int, height: int, taken: list[Box]
) -> SceneObject | None:
    """The object at a free spot, or None after thirty tries."""
    turn, radius, texture = _turn(rng, shape), rng.uniform(*RADII[size]), _texture(rng)
    room = radius + _MARGIN
    for _ in range(30):
        spot = (rng.uniform(room, width - room), rng.uniform(room, height - room))
        box = box_around(shape, turn, spot, radius)
        if all(_apart(box, other) for other in taken):
            return SceneObject(shape, colour, size, texture, turn, box)
    return None


def _turn(rng: Generator, shape: str) -> int:
    """Degrees: small for shapes that a turn would make another (a square on its corner is a diamond)."""
    most = _TURNS.get(shape, 25)
    return int(rng.integers(-most, most + 1))


def _apart(a: Box, b: Box) -> bool:
    return a[2] + _GAP <= b[0] or b[2] + _GAP <= a[0] or a[3] + _GAP <= b[1] or b[3] + _GAP <= a[1]


def box_around(shape: str, angle: int, centre: tuple[float, float], radius: float) -> Box:
    """The box of the turned shape whose longer side is twice the radius, in whole pixels."""
    border = turned(shape, angle)[0]
    half = (border.max(axis=0) - border.min(axis=0)) / 2
    half = half * radius / half.max()
    x1, y1 = (round(centre[k] - half[k]) for k in (0, 1))
    return x1, y1, x1 + round(2 * half[0]), y1 + round(2 * half[1])


def turned(shape: str, angle: float) -> tuple[Points, ...]:
    """The shape's outline, turned by `angle` degrees."""
    sin, cos = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    return tuple(points @ np.array([[cos, sin], [-sin, cos]]) for points in outline(shape))


@cache
def outline(shape: str) -> tuple[Points, ...]:
    """The shape's rounded border around (0, 0), radius about 1; a second polygon is a hole."""
    if shape == "ring":
        return _polygon(64), 0.55 * _polygon(64)
    if shape == "moon":
        far, near = math.acos(0.6875), math.atan2(0.726, 0.1875)  # where the circles cross
        arcs = (far, 2 * math.pi - far), (2 * math.pi - near, near)
        outer, inner = (_on_circle(np.linspace(*ends, 48)) for ends in arcs)
        return (np.concatenate([outer, 0.75 * inner + (0.5, 0)]),)
    if shape == "heart":
        t = np.linspace(0, 2 * math.pi, 64, endpoint=False)
        y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return (np.stack([np.sin(t) ** 3, -(y + 2.5) / 16], axis=1),)
    if shape == "cross":
        corner = [(0.36, -1), (0.36, -0.36), (1, -0.36)]
        arms = [[(x, y), (-y, x), (-x, -y), (y, -x)][k] for k in range(4) for x, y in corner]
        return (_rounded(np.array(arms)),)
    sides = {"triangle": 3, "square": 4, "diamond": 4, "hexagon": 6, "star": 10, "circle": 64}[shape]
    turn = {"square": 45, "hexagon": 30}.get(shape, 0)
    points = _polygon(sides, turn)
    if shape == "star":
        points[1::2] *= 0.48
    if shape == "diamond":
        points = points * (0.68, 1.0)
    return (_rounded(points) if sides < 64 else points,)


def _polygon(sides: int, turn: float = 0.0) -> Points:
    return _on_circle(2 * math.pi * np.arange(sides) / sides - math.pi / 2 + math.radians(turn))


def _on_circle(angle: Float[np.ndarray, " _"]) -> Points:
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _rounded(points: Float[np.ndarray, "corner 2"]) -> Points:
    """Each corner replaced by a parabola that begins a sixth of the side before it."""
    t = np.linspace(0, 1, 7)[:, None]
    before, after = (points + (np.roll(points, k, axis=0) - points) / 6 for k in (1, -1))
    curves = [
        (1 - t) ** 2 * a + 2 * t * (1 - t) * p + t**2 * b
        for a, p, b in zip(before, points, after, strict=True)
    ]
    return np.concatenate(curves)
