"""What the extractors that run a torch model share: its device, its input, its checksum, the pooled grid."""

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ...devices import pick_device
from ...errors import NaafError
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
        digest = hashlib.sha256()
        for key, value in sorted(self.model.state_dict().items()):
            digest.update(key.encode())
            if value.ndim:
                digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        name = Path(self.name).name if Path(self.name).is_dir() else self.name
        return {
            "extractor": f"{self.kind}:{name}",
            "revision": self.revision,
            "sha256": digest.hexdigest(),
            "preprocessing": str(self.preprocessing),
        }

    def pixels(self, pictures: Sequence[Image.Image]) -> Float[Tensor, "image channel y x"]:
        """The pictures as the model takes them, on its device."""
        return torch.from_numpy(self.preprocessing(pictures)).permute(0, 3, 1, 2).to(self.device)


def loaded(kind: str, name: str, files: str, load: Callable[[], Any]) -> Any:
    """What a library loads. Raises NaafError where the model is no folder, not in the cache, not to be had.

    files: those that its folder has.
    """
    try:
        return load()
    except Exception as error:  # of the network, the cache, the files' formats: they share no base
        raise NaafError(
            f"{kind} cannot load {name!r} ({first_line(error)}); without a network copy the model's folder "
            f"({files}) here and name it: {kind}:FOLDER"
        ) from None


def first_line(error: Exception) -> str:
    """Of a library's message of many lines."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


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
