"""Figures: arrays and an Axes in, the Axes out; a name that ends in `_figure` returns a whole page.

style          colours, sizes, figures that pyplot does not know of
data           caption lengths, word frequencies, vocabulary coverage, feature norms
inspection     images with their regions and captions
curves         loss, recalls, boundary over epochs and steps
ranks          rank histograms, recalls beside chance and published ones, score margins
measures       rates with intervals beside chance, of one model or of several
comparison     differences from a baseline, queries that rose and fell
distributions  histograms with fits and boundary, ridgelines, cumulative shares
pictures       pictures with boxes, retrieval results as contact sheets
captions       what figures read of a pair; coloured captions, effects as bars
attention      heat of each word over the picture, word x region matrix
pairs          one pair on one page, with its picture or without
explorer       one pair on one page, fast enough to be drawn anew for every move of a slider
"""

import os
import sys

from ..messages import say


def _import_matplotlib() -> None:
    """Import matplotlib, also where the reader's MPLBACKEND or matplotlibrc keeps it from being imported.

    Our figures take nothing from either, so a broken one is no reason to stop.
    """
    try:
        import matplotlib

        return
    except ValueError as error:
        reason = str(error).splitlines()[0].split(";")[0]
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        del sys.modules[name]  # half-imported
    own = {name: os.environ.pop(name, None) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
    os.environ["MATPLOTLIBRC"] = os.devnull
    try:
        import matplotlib  # noqa: F401
    finally:
        del os.environ["MATPLOTLIBRC"]
        os.environ.update({name: value for name, value in own.items() if value is not None})
    say(f"MPLBACKEND or matplotlibrc cannot be used and is passed over ({reason})")


_import_matplotlib()
