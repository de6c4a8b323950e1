"""Which word, which region, how much: pairs taken apart, samples of similarities, attention measured.

Nothing here draws; the results are arrays and tables that `viz` takes.
"""

from .measures import FoilDetection, PointingGame, foil_detection, pointing_game
from .pairs import Explanation, explain, explain_encoded, explain_pairs
from .samples import matched_samples

__all__ = [
    "Explanation",
    "FoilDetection",
    "PointingGame",
    "explain",
    "explain_encoded",
    "explain_pairs",
    "foil_detection",
    "matched_samples",
    "pointing_game",
]
