"""Vision models of timm, by name or folder: the last map of `forward_intermediates` on a grid."""

from pathlib import Path

import timm
from jaxtyping import Float
from PIL import Image
from timm.data import resolve_model_data_config
from torch import Tensor

from ...errors import NaafError
from .base import Preprocessing
from .networks import Mapped, loaded

LOCAL = "local-dir:"  # what timm itself calls a folder


class Timm(Mapped):
    """ViT, DINOv2, ConvNeXt, Swin, ResNet, EfficientNet, ...; of a ViT its patch tokens, normed."""

    kind = "timm"

    def __init__(self, name: str, grid: int, device: str) -> None:
        """name: of a model, as timm.create_model takes it, or a folder with config and weights."""
        name = name.removeprefix(LOCAL)
        source = f"{LOCAL}{name}" if Path(name).is_dir() else name
        files = "config.json, model.safetensors"
        model = loaded(self.kind, name, files, lambda: timm.create_model(source, pretrained=True))
        if not hasattr(model, "forward_intermediates"):
            raise NaafError(
                f"timm's {name} has no forward_intermediates, which gives its map; name another model"
            )
        config = resolve_model_data_config(model)
        channels, rows, columns = config["input_size"]
        if channels != 3:
            raise NaafError(f"timm's {name} takes {channels} channels; name a model of RGB pictures")
        how = config["interpolation"].upper()
        resampling = (
            how.lower() if how in Image.Resampling.__members__ else "bicubic"
        )  # timm has "random", too
        preprocessing = Preprocessing(
            (columns, rows), tuple(config["mean"]), tuple(config["std"]), resampling
        )
        super().__init__(name, grid, device, model, preprocessing)

    def cells(self, pixels: Float[Tensor, "image channel y x"]) -> Float[Tensor, "image dim row column"]:
        return self.model.forward_intermediates(
            pixels, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
        )[-1]
