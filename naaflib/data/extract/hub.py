"""Vision models of transformers by name or folder: patch tokens or a map on a grid, or a detector."""

from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForObjectDetection

from ...errors import NaafError
from .base import MEAN, SIDE, STD, Preprocessing
from .detectors import Detector
from .networks import Mapped, Network, loaded

DETECTORS = ("Detr", "DetrFor", "Yolos", "RTDetr", "DeformableDetr", "ConditionalDetr", "Deta", "DFine")
PREFIX = 64  # a model has fewer class and register tokens


def open_model(name: str, grid: int, device: str) -> Network:
    """name: of a model on the hub, or a folder that holds config, preprocessor and weights."""
    config = _loaded(AutoConfig, name)
    kinds = " ".join(getattr(config, "architectures", None) or [])
    detects = any(kind in kinds for kind in DETECTORS) or hasattr(config, "num_queries")
    model = _loaded(AutoModelForObjectDetection if detects else AutoModel, name)
    model = getattr(model, "vision_model", model)
    if model.main_input_name != "pixel_values":
        raise NaafError(f"{name} is a model of {model.main_input_name}, not of pictures; name a vision model")
    processor = _loaded(AutoImageProcessor, name)
    side = _side(getattr(config, "vision_config", config), processor, detects)
    values = (getattr(processor, f"image_{what}", None) for what in ("mean", "std"))
    mean, std = (tuple(own or general) for own, general in zip(values, (MEAN, STD), strict=True))
    opened = (Detector if detects else Tokens)(
        name, grid, device, model, Preprocessing((side, side), mean, std)
    )
    opened.revision = getattr(config, "_commit_hash", None)
    return opened


class Tokens(Mapped):
    """The last map, or the last tokens, of ViT, DINOv2, CLIP, SigLIP, Swin, ConvNeXt, ..."""

    kind = "transformers"

    def cells(self, pixels: Float[Tensor, "image channel y x"]) -> Float[Tensor, "image dim row column"]:
        """The map of patch tokens, without the class and register tokens before them."""
        states = self.model(pixel_values=pixels).last_hidden_state
        if states.ndim == 4:
            return states
        tokens = states.shape[1]
        patch = getattr(self.model.config, "patch_size", None)
        rows = pixels.shape[-1] // patch if isinstance(patch, int) else 0
        if not 0 < rows**2 <= tokens or tokens - rows**2 > PREFIX:
            rows = int(tokens**0.5)  # Swin: fewer tokens than patches
        patches = states[:, tokens - rows**2 :]
        return patches.transpose(1, 2).unflatten(2, (rows, rows))


def _side(config: Any, processor: Any, detects: bool) -> int:
    """Pixels a side that the model was made for: its processor's crop or square, else its own."""
    for size in (getattr(processor, "crop_size", None), getattr(processor, "size", None)):
        known = size and (size.get("height") or (detects and size.get("shortest_edge")))
        if known:
            return int(known)
    known = getattr(config, "image_size", None) or SIDE
    return int(known[0] if isinstance(known, list | tuple) else known)


def _loaded(kind: Any, name: str) -> Any:
    files = "config.json, preprocessor_config.json, model.safetensors"
    return loaded("transformers", name, files, lambda: kind.from_pretrained(name))
