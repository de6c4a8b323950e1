"""Similarities: the score of an image and a caption, its readable and its fast forms.

axes       the axes of each tensor, by name
base       what a similarity is (`Similarity`, `Parts`), and the equations that methods share
naaf       the equations of NAAF's score;  boundary: of its boundary;  scan: SCAN, in both directions
chan       hard assignment;  vse: one vector each, the global baseline
methods    their registry
packing    captions of equal length side by side;  packed: equations on packed captions
autograd   NAAF's fast form and its gradient;  kernels: the same, compiled for a CPU
tiled      the same on a GPU;  triton_kernels: what it starts there
matrix     `score_matrix`: every image against every caption;  inputs: what it is given, checked
threads    work shared among threads, one core each
"""

from .base import ALL_EFFECTS, Effects, Parts, Similarity
from .matrix import score_matrix
from .methods import METHODS
from .naaf import naaf_score

__all__ = ["ALL_EFFECTS", "METHODS", "Effects", "Parts", "Similarity", "naaf_score", "score_matrix"]
