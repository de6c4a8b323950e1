"""Why a pair has its score: attribution to words and regions, the pointing game, foil detection.

Results are arrays and tables that `viz` takes; `drawing` calls it.

pairs      a pair's score in parts that add up to it, with its words, names and boxes; many pairs
drawing    a pair drawn
choice     an image or a caption as a person names it
tables     any number of pairs as one long table in a file
samples    matched and mismatched similarities
pointing   the pointing game: whether attention lies where the word speaks of
foils      captions of any data set with one word made wrong
detection  AUC at finding the wrong word; how often the true caption scores higher
order      captions of any data set with their words in another order
blind      a text-only baseline: n-grams of the training captions
benchmark  SugarCrepe, VALSE and word order: a model or a table of scores (benchmark_pairs: a model's scores)
judged     rates of a benchmark's items with intervals
"""

from .benchmark import foil_benchmark
from .detection import FoilDetection, foil_detection
from .foils import swapped_foils, swapped_text
from .judged import FoilBenchmark
from .order import order_foils
from .pairs import Explanation, explain, explain_encoded, explain_pairs
from .pointing import PointingGame, by_phrase_type, pointing_game
from .samples import matched_samples
from .tables import pair_rows, write_pairs

__all__ = [
    "Explanation",
    "FoilBenchmark",
    "FoilDetection",
    "PointingGame",
    "by_phrase_type",
    "explain",
    "explain_encoded",
    "explain_pairs",
    "foil_benchmark",
    "foil_detection",
    "matched_samples",
    "order_foils",
    "pair_rows",
    "pointing_game",
    "swapped_foils",
    "swapped_text",
    "write_pairs",
]
