"""Captions of a scene: true, various, and often short of what would tell the scene from all others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

from numpy.random import Generator

from .words import Draft, Word
from .world import Claim, Description, Scene, SceneObject, matches, position_holds, referents, relation_holds

_Option = TypeVar("_Option")
_SHORTEST, _LONGEST = 5, 18  # words, the full stop included
_NAMES = ("left", "right", "above", "below", "inside", "around", "beside")
_OPENERS = ("there is", "there is", "here is", "you can see", "we see", "a picture of", "this picture shows")


@dataclass(frozen=True)
class Caption:
    """words: one a token, without <start> and <end>. objects: for each, the objects that it speaks of."""

    words: tuple[Word, ...]
    claim: Claim
    objects: tuple[tuple[int, ...], ...]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


def sample_captions(scene: Scene, count: int, rng: Generator) -> list[Caption]:
    """So many different captions, each strictly true of the scene."""
    found: dict[str, Caption] = {}
    while len(found) < count:
        draft = Draft(rng)
        templates, weights = list(_TEMPLATES), list(_TEMPLATES.values())
        templates[int(rng.choice(len(templates), p=weights))](draft, scene)
        if rng.random() < 0.8:
            draft.say(".")
        filled = referents(draft.claim, scene)
        if filled is not None and _SHORTEST <= len(draft.words) <= _LONGEST:
            objects = tuple(() if w.about is None else tuple(sorted(filled[w.about])) for w in draft.words)
            caption = Caption(tuple(draft.words), draft.claim, objects)
            found.setdefault(caption.text, caption)
    return list(found.values())


def _describe(rng: Generator, thing: SceneObject) -> Description:
    """Some of the object's attributes: its shape nearly always, its colour mostly, the others at times."""
    shape = thing.shape if rng.random() < 0.9 else None
    colour = thing.colour if shape is None or rng.random() < 0.72 else None
    size = thing.size if thing.size != "medium" and rng.random() < 0.4 else None
    texture = thing.texture if rng.random() < (0.1 if thing.texture == "plain" else 0.5) else None
    return Description(shape, colour, size, texture)


def _some(draft: Draft, scene: Scene, count: int) -> list[SceneObject]:
    """So many different objects, or all where there are fewer."""
    order = draft.rng.permutation(len(scene.objects))[:count]
    return [scene.objects[i] for i in order]


@lru_cache(maxsize=1)
def _relations(scene: Scene) -> tuple[tuple[str, SceneObject, SceneObject], ...]:
    """Every relation that holds."""
    pairs = [(a, b) for a in scene.objects for b in scene.objects if a is not b]
    return tuple((name, a, b) for name in _NAMES for a, b in pairs if relation_holds(name, a, b))


def _pick_relation(draft: Draft, scene: Scene) -> tuple[str, SceneObject, SceneObject] | None:
    """A relation that holds, any name as likely as another."""
    held = _relations(scene)
    if not held:
        return None
    names = list(dict.fromkeys(name for name, _, _ in held))
    name = names[int(draft.rng.integers(len(names)))]
    return _one_of(draft, [relation for relation in held if relation[0] == name])


def _one_of(draft: Draft, options: Sequence[_Option]) -> _Option:
    return options[int(draft.rng.integers(len(options)))]


def _perhaps_ground(draft: Draft, scene: Scene, chance: float) -> None:
    if draft.rng.random() < chance:
        draft.ground(scene.background)


def _phrase(draft: Draft, thing: SceneObject, *, tail: bool = False) -> int:
    """Some of the object's attributes as a noun phrase, and its description's index."""
    return draft.phrase(_describe(draft.rng, thing), tail=tail)


def _related(draft: Draft, name: str, first: int, other: SceneObject, *, tail: bool = True) -> None:
    """above a blue circle"""
    draft.relate(name, first, len(draft.claim.descriptions))
    _phrase(draft, other, tail=tail)


def _pair(draft: Draft, scene: Scene) -> None:
    """(there is) a red star (sits) above a blue circle (on the sand)"""
    if (held := _pick_relation(draft, scene)) is None:
        return
    name, a, b = held
    opened = draft.rng.random() < 0.4
    if opened:
        draft.choose(*_OPENERS)
    first = _phrase(draft, a)
    if not opened:
        draft.choose("", "is", *(("sits", "lies", "rests") if name != "around" else ("goes",)))
    _related(draft, name, first, b)
    _perhaps_ground(draft, scene, 0.2)


def _two_relations(draft: Draft, scene: Scene) -> None:
    """a red star is above a blue circle and left of a heart"""
    if (held := _pick_relation(draft, scene)) is None:
        return
    name, a, b = held
    others = [(other, d) for other, c, d in _relations(scene) if c is a and d is not b]
    if not others:
        return
    other, c = _one_of(draft, others)
    first = _phrase(draft, a)
    draft.choose("", "is")
    _related(draft, name, first, b, tail=False)
    draft.say("and")
    _related(draft, other, first, c)


def _company(draft: Draft, scene: Scene) -> None:
    """a red star with a blue circle below it"""
    if (held := _pick_relation(draft, scene)) is None:
        return
    name, a, b = held
    draft.choose("", *_OPENERS)
    second = _phrase(draft, b)
    draft.say("with")
    first = _phrase(draft, a)
    draft.relate(name, first, second)
    draft.say("it")


def _fronted(draft: Draft, scene: Scene) -> None:
    """below a red star there is a blue circle"""
    if (held := _pick_relation(draft, scene)) is None:
        return
    name, a, b = held
    draft.relate(name, 1, 0)
    _phrase(draft, b)
    draft.choose("there is", "there is", "is", "lies", "sits")
    _phrase(draft, a, tail=True)


def _list(draft: Draft, scene: Scene) -> None:
    """(there is) a red star , a blue circle and a heart (on the sand)"""
    things = _some(draft, scene, 2 + int(draft.rng.integers(2)))
    draft.choose("", *_OPENERS)
    for position, thing in enumerate(things):
        if position:
            draft.say("and" if position == len(things) - 1 else ",")
        _phrase(draft, thing, tail=position == len(things) - 1)
    _perhaps_ground(draft, scene, 0.3)


def _ground_first(draft: Draft, scene: Scene) -> None:
    """on the sand there is a red star (and a blue circle)"""
    draft.ground(scene.background).choose("there is", "lies", "we see", ",")
    things = _some(draft, scene, 1 + int(draft.rng.integers(2)))
    for position, thing in enumerate(things):
        draft.say("and" if position else "")
        _phrase(draft, thing, tail=position == len(things) - 1)


def _placed(draft: Draft, scene: Scene) -> None:
    """a red star on the left (and a blue circle at the top)"""
    sides = ("left", "right", "top", "bottom")
    spots = [(thing, n) for thing in scene.objects for n in sides if position_holds(n, thing, scene)]
    draft.choose("", "", *_OPENERS)
    for turn, i in enumerate(draft.rng.permutation(len(spots))[: 1 + int(draft.rng.integers(2))]):
        thing, name = spots[i]
        draft.say("and" if turn else "")
        draft.place(name, _phrase(draft, thing))


def _alone(draft: Draft, scene: Scene) -> None:
    """a big red star with stripes (on the sand)"""
    thing = _some(draft, scene, 1)[0]
    draft.choose("", *_OPENERS)
    _phrase(draft, thing, tail=True)
    _perhaps_ground(draft, scene, 0.7)


def _counted(draft: Draft, scene: Scene) -> None:
    """(there are) two red stars (and a blue circle) (on the sand)"""
    thing = _some(draft, scene, 1)[0]
    kinds = [kind for kind in ("shape", "colour") if draft.rng.random() < 0.6] or ["shape"]
    said = Description(**{kind: getattr(thing, kind) for kind in kinds})
    same = [one for one in scene.objects if matches(said, one)]
    if len(same) < 2:
        return
    draft.choose("", "there are", "you can see", "a picture of")
    draft.phrase(replace(said, count=len(same)), tail=True)
    others = [one for one in scene.objects if one not in same]
    if others and draft.rng.random() < 0.6:
        draft.say("and")
        _phrase(draft, _one_of(draft, others), tail=True)
    _perhaps_ground(draft, scene, 0.3)


def _total(draft: Draft, scene: Scene) -> None:
    """exactly four shapes are shown , one of them a red star"""
    draft.total(len(scene.objects))
    thing = _some(draft, scene, 1)[0]
    if draft.rng.random() < 0.4:
        draft.say("are").ground(scene.background)
    else:
        draft.choose("are shown", "are here", "can be seen")
    if draft.rng.random() < 0.75:
        draft.choose("including", ", one of them", ", among them")
        _phrase(draft, thing, tail=True)


def _predicate(draft: Draft, scene: Scene) -> None:
    """the star above a blue circle is red (and tiny)"""
    alone = [one for one in scene.objects if sum(one.shape == other.shape for other in scene.objects) == 1]
    held = [relation for relation in _relations(scene) if relation[1] in alone]
    if not held:
        return
    name, a, b = _one_of(draft, held)
    first = draft.phrase(Description(shape=a.shape), "the")
    if draft.rng.random() < 0.7:
        _related(draft, name, first, b, tail=False)
    draft.say("is")
    unsaid = {"texture": "plain", "size": "medium"}
    kinds = [kind for kind in ("colour", "texture", "size") if getattr(a, kind) != unsaid.get(kind)]
    for turn, k in enumerate(draft.rng.permutation(len(kinds))[:2]):
        draft.say("and" if turn else "").predicate(kinds[k], getattr(a, kinds[k]), first)


_TEMPLATES: dict[Callable[[Draft, Scene], None], float] = {
    _pair: 0.20,
    _two_relations: 0.07,
    _company: 0.07,
    _fronted: 0.06,
    _list: 0.13,
    _ground_first: 0.06,
    _placed: 0.08,
    _alone: 0.08,
    _counted: 0.15,
    _total: 0.04,
    _predicate: 0.06,
}
