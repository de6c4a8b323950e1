"""Training: from a data set to a run folder.

loop      batch, score, mine, step; exact resume
loss      the hinge loss;  mining: the words that the boundary is put between
folder    a run folder made and resumed, members of several seeds
variants  trained weights under other settings of inference;  rerun: a run repeated from its record
"""

from importlib import import_module

_HOMES = {
    "train_run": "folder",
    "train_members": "folder",
    "make_variant": "variants",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
