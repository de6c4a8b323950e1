"""What the explorer shows. Two equal states show the same page."""

from dataclasses import dataclass
from typing import NamedTuple


class Constants(NamedTuple):
    """The similarity's constants at inference; None: the method has none, or does not use it.

    Those after the boundary are fields of a similarity.
    """

    boundary: float | None
    lambda_softmax: float | None
    lambda_intra: float | None  # None: no propagation between words


@dataclass(frozen=True)
class State:
    """One pair, one of its words, and the constants under which the pair is taken apart."""

    model: str
    image: int
    caption: str
    word: int | None  # `<start>` is word 0; None: the one that tells most
    constants: Constants
    overlay: bool = True  # the word's attention lies over the picture
