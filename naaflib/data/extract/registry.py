"""An extractor by the name that --features takes: KIND or KIND:MODEL."""

from importlib import import_module

from ...errors import NaafError, UsageError
from .base import GRID, Extractor

KINDS = {  # module, class, the extra that installs what it imports
    "pixels": ("pixels", "Pixels", ""),
    "transformers": ("hub", "Transformers", "transformers"),
    "onnx": ("onnx", "Onnx", "onnx"),
}


def open_extractor(name: str, grid: int = GRID, device: str = "cpu") -> Extractor:
    """The extractor with its weights. UsageError: an unknown name; NaafError: a library or model lacks."""
    kind, _, model = name.partition(":")
    if kind not in KINDS or (model == "") != (kind == "pixels"):
        raise UsageError(
            f"there are no features {name!r}; pixels, transformers:NAME_OR_FOLDER or onnx:FILE make some"
        )
    if grid < 1:
        raise UsageError(f"a grid of {grid} cells a side has no region; give 1 or more")
    module, made, extra = KINDS[kind]
    try:
        return getattr(import_module(f".{module}", __package__), made)(model, grid, device)
    except ImportError as error:
        raise NaafError(
            f"features {kind} need {error.name}; pip install 'naaflib[{extra}]' brings it"
        ) from None
