"""An extractor by the name that --features takes: KIND or KIND:MODEL."""

from importlib import import_module

from ...errors import NaafError, UsageError
from .base import GRID, Extractor

KINDS = {  # module, what opens it, the extra that installs what it imports
    "pixels": ("pixels", "Pixels", ""),
    "transformers": ("hub", "open_model", "transformers"),
    "timm": ("timm", "Timm", "timm"),
    "onnx": ("onnx", "Onnx", "onnx"),
}
NAMES = "pixels, transformers:NAME_OR_FOLDER, timm:NAME_OR_FOLDER or onnx:FILE"


def open_extractor(name: str, grid: int = GRID, device: str = "cpu") -> Extractor:
    """The extractor with its weights. UsageError: an unknown name; NaafError: a library or model lacks."""
    kind, _, model = name.partition(":")
    if kind not in KINDS or (model == "") != (kind == "pixels"):
        raise UsageError(f"there are no features {name!r}; {NAMES} make some")
    if grid < 1:
        raise UsageError(f"a grid of {grid} cells a side has no region; give 1 or more")
    module, opens, extra = KINDS[kind]
    try:
        opened = getattr(import_module(f".{module}", __package__), opens)
    except (ImportError, RuntimeError) as error:
        _check_torchvision()
        if not isinstance(error, ImportError):
            raise
        raise NaafError(
            f"features {kind} need {error.name or error}; pip install 'naaflib[{extra}]' brings it"
        ) from None
    return opened(model, grid, device)


def _check_torchvision() -> None:
    """Raises NaafError where it is installed for another torch: transformers and timm then fail, too."""
    try:
        import_module("torchvision")
    except ModuleNotFoundError:
        return
    except (ImportError, RuntimeError, OSError) as error:
        raise NaafError(
            f"torchvision cannot be imported ({error}); install the torchvision that belongs to this torch"
        ) from None
