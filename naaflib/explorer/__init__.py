"""The explorer: one picture and one caption in a notebook, with everything that can be turned.

    from naaflib.explorer import explore
    explore("outputs/demo", "data/scenes")

state     what is looked at, frozen
readers   a model on a split, its encodings kept; numbers by `explanation` and `similarity`
pages     numbers -> what `viz.explorer` draws, and the sentences beside it
controls  the ipywidgets, laid out
widget    a control moved -> a new state -> the page drawn anew; the same as a static figure
"""

from .state import Constants, State
from .widget import Explorer, explore

__all__ = ["Constants", "Explorer", "State", "explore"]
