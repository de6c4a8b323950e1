"""A pair that was taken apart, as figures read it: what they take of an `Explanation`, from arrays."""

from types import SimpleNamespace

import numpy as np


def pair_of(words, cosine, *, attention=None, boundary=None, known=None, **effects) -> SimpleNamespace:
    """cosine: (word, region); effects: `feature_effect`, ..., each 0 where it is not given."""
    cosine, none = np.asarray(cosine, dtype=float), np.zeros(len(words))
    names = ("feature_effect", "relevance_effect", "negative_effect")
    parts = {name: np.asarray(effects.pop(name, none)) for name in names}
    assert not effects
    effect, best = sum(parts.values()), np.nanmax(cosine, axis=1)
    return SimpleNamespace(
        words=words, known=none == 0 if known is None else known, boundary=boundary, cosine=cosine,
        best_cosine=best, best_region=np.nanargmax(cosine, axis=1), propagated=best - (boundary or 0.0),
        attention=cosine if attention is None else attention, effect=effect, score=effect.mean(), **parts,
    )  # fmt: skip
