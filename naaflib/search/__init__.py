"""Ask a trained model: which pictures show what a text says, which captions fit a picture, and why.

index       a split encoded once and stored: unit vectors in float16, memory-mapped; it grows in parts
building    making one; an interrupted call goes on
candidates  the first stages: one vector an image and one a caption
outside     a picture that is not in the index, described as the indexed ones were
searcher    queries against an index: exact, or candidates first and exact scores for those
hits        the answers, as a table, in a terminal and in a notebook
"""

from .building import build_index
from .hits import Hits
from .index import Index
from .searcher import Searcher

__all__ = ["Hits", "Index", "Searcher", "build_index"]
