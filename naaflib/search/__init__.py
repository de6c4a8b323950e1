"""Ask a trained model: which pictures show what a text says, which captions fit a picture, and why.

index       a split encoded once and stored: unit vectors in float16, memory-mapped; it grows in parts
candidates  one vector an image or caption, for a first stage over many
searcher    queries against an index: exact, or candidates first and exact scores for those
"""

from .index import Index, build_index
from .searcher import Hits, Searcher

__all__ = ["Hits", "Index", "Searcher", "build_index"]
