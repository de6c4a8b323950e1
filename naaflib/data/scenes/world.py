"""What a scene is: a background and two to five objects, and what can truly be said of them.

Boxes are (x1, y1, x2, y2) in pixels, y downwards. Truth is asked in two ways. Strictly: what a careful
writer states. Generously: what a lenient viewer might still accept (a turquoise star is nearly a blue one).
A caption of a scene is strictly true; a foil is not even generously true.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

COLOURS = {
    "red": (214, 52, 54),
    "orange": (243, 139, 44),
    "yellow": (249, 209, 66),
    "green": (70, 160, 84),
    "turquoise": (58, 188, 186),
    "blue": (52, 101, 201),
    "purple": (134, 82, 181),
    "pink": (243, 143, 180),
    "brown": (133, 88, 58),
    "grey": (143, 148, 155),
    "white": (250, 249, 246),
    "black": (46, 46, 54),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "diamond", "hexagon", "ring", "moon")
RADII = {"small": (13, 17), "medium": (22, 28), "large": (37, 46)}  # pixels; medium is never put into words
TEXTURES = ("plain", "striped", "dotted", "checkered")
HIDDEN_ON = {  # colours that the eye would lose on a background
    "sky": ("blue", "turquoise", "white"),
    "water": ("blue", "turquoise"),
    "grass": ("green",),
    "sand": ("yellow", "brown", "white"),
    "snow": ("white", "grey"),
    "table": ("brown", "orange"),
    "paper": ("white", "yellow"),
    "night": ("black", "purple", "blue"),
}
ATTRIBUTES = ("shape", "colour", "size", "texture")
CONTAINERS = ("circle", "square", "hexagon", "ring", "heart")
_PAIRS = (  # what one viewer calls this, another may call that
    "red/orange red/pink orange/yellow orange/brown brown/black green/turquoise turquoise/blue blue/purple "
    "purple/pink grey/white grey/black circle/ring circle/hexagon square/diamond small/medium medium/large"
)
_ALIKE = [set(pair.split("/")) for pair in _PAIRS.split()]

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class SceneObject:
    """One object as it was drawn; `box` is its true extent, `angle` its turn in degrees."""

    shape: str
    colour: str
    size: str
    texture: str
    angle: int
    box: Box

    @property
    def centre(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


@dataclass(frozen=True)
class Scene:
    width: int
    height: int
    background: str
    objects: tuple[SceneObject, ...]


@dataclass(frozen=True)
class Description:
    """What a noun phrase says of one object, or of `count` objects; None = not said."""

    shape: str | None = None
    colour: str | None = None
    size: str | None = None
    texture: str | None = None
    count: int | None = None


@dataclass(frozen=True)
class Claim:
    """What a caption says: the described objects exist, and stand so to each other.

    relations: (name, i, j) between descriptions i and j. positions: (name, i), where description i stands in
    the picture. total: the exact number of all objects.
    """

    descriptions: tuple[Description, ...] = ()
    relations: tuple[tuple[str, int, int], ...] = ()
    positions: tuple[tuple[str, int], ...] = ()
    background: str | None = None
    total: int | None = None


def alike(said: str | None, true: str) -> bool:
    return said is None or said == true or {said, true} in _ALIKE


def matches(description: Description, thing: SceneObject, *, generous: bool = False) -> bool:
    """Whether the attributes that are said are the object's."""
    pairs = [(getattr(description, kind), getattr(thing, kind)) for kind in ATTRIBUTES]
    return all(alike(said, true) if generous else said in (None, true) for said, true in pairs)


def contains(outer: SceneObject, inner: SceneObject, *, generous: bool = False) -> bool:
    """Whether the inner box lies within the outer one; generously, whether its centre does."""
    x1, y1, x2, y2 = (*inner.centre, *inner.centre) if generous else inner.box
    smaller = inner.box[2] - inner.box[0] < outer.box[2] - outer.box[0]
    return smaller and outer.box[0] <= x1 <= x2 <= outer.box[2] and outer.box[1] <= y1 <= y2 <= outer.box[3]


def relation_holds(name: str, a: SceneObject, b: SceneObject, *, generous: bool = False) -> bool:
    """Whether `a` stands in that relation to `b`; strictly: plainly so, the other axis counting less."""
    if name in ("inside", "around"):
        return contains(b, a, generous=generous) if name == "inside" else contains(a, b, generous=generous)
    if a is b or contains(a, b, generous=not generous) or contains(b, a, generous=not generous):
        return False
    dx, dy = b.centre[0] - a.centre[0], b.centre[1] - a.centre[1]
    if name == "beside":
        gap = max(b.box[0] - a.box[2], a.box[0] - b.box[2])
        return generous or (0 <= gap < 40 and abs(dy) < 0.5 * abs(dx))
    ahead, across = {"left": (dx, dy), "right": (-dx, dy), "above": (dy, dx), "below": (-dy, dx)}[name]
    return ahead > 0 if generous else ahead > max(20.0, 1.2 * abs(across))


def position_holds(name: str, thing: SceneObject, scene: Scene, *, generous: bool = False) -> bool:
    """Whether the object stands on that side of the picture; strictly: in the outer third."""
    x, y = thing.centre[0] / scene.width, thing.centre[1] / scene.height
    depth = {"left": x, "right": 1 - x, "top": y, "bottom": 1 - y}[name]
    return depth < (0.6 if generous else 0.34)


def referents(claim: Claim, scene: Scene, *, generous: bool = False) -> tuple[frozenset[int], ...] | None:
    """The objects that can fill each description so that the whole claim is true; None if it is false.

    Two descriptions speak of two objects, except generously: there one object may serve twice.
    """
    if claim.background not in (None, scene.background) or claim.total not in (None, len(scene.objects)):
        return None
    fitting = [_fitting(description, scene, generous) for description in claim.descriptions]
    if any(not found for found in fitting):
        return None
    single = [i for i, description in enumerate(claim.descriptions) if description.count is None]
    filled = [set() if i in single else set(found) for i, found in enumerate(fitting)]
    for choice in _choices(claim, scene, single, fitting, generous):
        for i, chosen in choice.items():
            filled[i].add(chosen)
    return tuple(map(frozenset, filled)) if all(filled) else None


def _fitting(description: Description, scene: Scene, generous: bool) -> list[int]:
    found = [i for i, thing in enumerate(scene.objects) if matches(description, thing, generous=generous)]
    if description.count is None:
        return found
    enough = len(found) >= description.count if generous else len(found) == description.count
    return found if enough else []


def _choices(
    claim: Claim, scene: Scene, single: Sequence[int], fitting: Sequence[Iterable[int]], generous: bool
) -> Iterator[dict[int, int]]:
    for chosen in product(*(fitting[i] for i in single)):
        if not generous and len(set(chosen)) < len(chosen):
            continue
        choice = dict(zip(single, chosen, strict=True))
        thing = {i: scene.objects[c] for i, c in choice.items()}
        related = all(relation_holds(n, thing[i], thing[j], generous=generous) for n, i, j in claim.relations)
        if related and all(position_holds(n, thing[i], scene, generous=generous) for n, i in claim.positions):
            yield choice
