"""What the extractors that run a torch model share: its device, its input, its checksum, the pooled grid."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ...devices import pick_device
from ...errors import NaafError, first_line
from ...pretrained import weights_digest
from .base import Boxes, Extractor, Features, Preprocessing, all_grid_boxes, check_grid


class Network(Extractor):
    """A torch model with its input. A subclass says what its regions are."""

    kind: ClassVar[str]  # what --features calls it
    revision: str | None = None

    def __init__(self, name: str, grid: int, device: str, model: Any, preprocessing: Preprocessing) -> None:
        self.name, self.grid, self.regions = name, grid, grid**2
        self.device, self.preprocessing = pick_device(device), preprocessing
        self.model = model.eval().to(self.device)
        try:
            self.dim = self([Image.new("RGB", preprocessing.size)])[0].shape[-1]
        except NaafError:
            raise
        except Exception as error:  # models check their input in their own ways
            width, height = preprocessing.size
            raise NaafError(
                f"{name} cannot take an RGB picture of {width} x {height} ({first_line(error)}); "
                "name another model, or correct the size in its configuration"
            ) from None

    def record(self) -> dict[str, object]:
        name = Path(self.name).name if Path(self.name).is_dir() else self.name
        return {
            "extractor": f"{self.kind}:{name}",
            "revision": self.revision,
            "sha256": weights_digest(self.model),
            "preprocessing": str(self.preprocessing),
        }

    def pixels(self, pictures: Sequence[Image.Image]) -> Float[Tensor, "image channel y x"]:
        """The pictures as the model takes them, on its device."""
        return torch.from_numpy(self.preprocessing(pictures)).permute(0, 3, 1, 2).to(self.device)


class Mapped(Network):
    """grid x grid regions of a model's map."""

    @abstractmethod
    def cells(self, pixels: Float[Tensor, "image channel y x"]) -> Float[Tensor, "image dim row column"]:
        """The map."""

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Image.Image]) -> tuple[Features, Boxes]:
        found = self.cells(self.pixels(pictures))
        check_grid(self.name, found.shape[-2:], self.grid)
        pooled = adaptive_avg_pool2d(found.float(), self.grid).flatten(2).transpose(1, 2)
        return pooled.cpu().numpy(), all_grid_boxes(pictures, self.grid)
