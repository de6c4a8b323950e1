"""Vision models of transformers by name or folder: patch tokens on a grid, or a detector's queries."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForObjectDetection

from ...errors import NaafError, UsageError
from .base import Boxes, Extractor, Features, check_grid, grid_boxes

SIDE = 224
DETECTORS = ("Detr", "DetrFor", "Yolos", "RTDetr", "DeformableDetr", "ConditionalDetr", "Deta", "DFine")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, for models without their own


class Transformers(Extractor):
    """grid x grid regions of ViT, DINOv2, CLIP, SigLIP, Swin, ConvNeXt, ...; the surest queries of DETR."""

    def __init__(self, name: str, grid: int, device: str) -> None:
        """name: of a model on the hub, or a folder that holds config, preprocessor and weights."""
        self.name, self.grid, self.device = (
            name,
            grid,
            torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device),
        )
        config = _loaded(AutoConfig, name)
        kinds = " ".join(getattr(config, "architectures", None) or [])
        self.detects = any(kind in kinds for kind in DETECTORS) or hasattr(config, "num_queries")
        self.processor = _loaded(AutoImageProcessor, name)
        model = _loaded(AutoModelForObjectDetection if self.detects else AutoModel, name)
        self.model = getattr(model, "vision_model", model).eval().to(self.device)
        self.config = getattr(config, "vision_config", config)
        self.side = _side(self.config, self.processor, self.detects)
        self.regions = grid**2
        self.revision = getattr(config, "_commit_hash", None)
        with torch.no_grad():
            features, _ = self([Image.new("RGB", (self.side, self.side))])
        self.dim = features.shape[-1]

    def record(self) -> dict[str, object]:
        digest = hashlib.sha256()
        for key, value in sorted(self.model.state_dict().items()):
            digest.update(key.encode())
            digest.update(
                value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if value.ndim else b""
            )
        name = Path(self.name).name if Path(self.name).is_dir() else self.name
        return {
            "extractor": f"transformers:{name}",
            "revision": self.revision,
            "sha256": digest.hexdigest(),
            "preprocessing": f"{self.side} x {self.side}, bicubic, no crop",
        }

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Image.Image]) -> tuple[Features, Boxes]:
        pixels = torch.stack([self._pixels(picture) for picture in pictures]).to(self.device)
        sizes = [picture.size for picture in pictures]
        if self.detects:
            return self._queries(pixels, sizes)
        found = self._cells(self.model(pixel_values=pixels).last_hidden_state)
        check_grid(self.name, found.shape[-2:], self.grid)
        pooled = adaptive_avg_pool2d(found.float(), self.grid).flatten(2).transpose(1, 2)
        boxes = np.stack([grid_boxes(size, self.grid) for size in sizes])
        return pooled.cpu().numpy(), boxes.astype(np.float32)

    def _pixels(self, picture: Image.Image) -> torch.Tensor:
        """The whole picture, brought to the model's square: what is cut off has no region."""
        square = picture.resize((self.side, self.side), Image.Resampling.BICUBIC)
        values = torch.from_numpy(np.asarray(square, dtype=np.float32) / 255)
        mean = torch.tensor(getattr(self.processor, "image_mean", None) or MEAN)
        std = torch.tensor(getattr(self.processor, "image_std", None) or STD)
        return ((values - mean) / std).permute(2, 0, 1)

    def _cells(self, states: torch.Tensor) -> torch.Tensor:
        """(image, dim, row, column) of patch tokens, without the class and register tokens before them."""
        if states.ndim == 4:
            return states
        tokens = states.shape[1]
        patch = getattr(self.config, "patch_size", None)
        rows = self.side // patch if isinstance(patch, int) else 0
        if not 0 < rows**2 <= tokens or tokens - rows**2 > 64:
            rows = int(tokens**0.5)  # Swin: fewer tokens than patches
        patches = states[:, tokens - rows**2 :]
        return patches.transpose(1, 2).unflatten(2, (rows, rows))

    def _queries(self, pixels: torch.Tensor, sizes: list[tuple[int, int]]) -> tuple[Features, Boxes]:
        """The queries surest of an object, and their boxes."""
        found: Any = self.model(pixel_values=pixels)
        if found.logits.shape[1] < self.regions:
            raise UsageError(
                f"{self.name} finds {found.logits.shape[1]} regions, and a grid of {self.grid} asks for "
                f"{self.regions}"
            )
        classes = found.logits.shape[-1]  # DETR has one more, "no object"; others judge each class alone
        alone = classes == self.model.config.num_labels
        sure = found.logits.amax(-1) if alone else found.logits.softmax(-1)[..., :-1].amax(-1)
        best = sure.topk(self.regions, dim=1).indices
        states = found.last_hidden_state.gather(
            1, best[..., None].expand(-1, -1, found.last_hidden_state.shape[-1])
        )
        centre, extent = found.pred_boxes.gather(1, best[..., None].expand(-1, -1, 4)).split(2, dim=-1)
        corners = (
            torch.cat([centre - extent / 2, centre + extent / 2], dim=-1).clamp(0, 1).float().cpu().numpy()
        )
        scale = np.array([(*size, *size) for size in sizes], np.float32)[:, None]
        return states.float().cpu().numpy(), corners * scale


def _side(config: Any, processor: Any, detects: bool) -> int:
    """Pixels a side that the model was made for: its processor's crop or square, else its own."""
    for size in (getattr(processor, "crop_size", None), getattr(processor, "size", None)):
        known = size and (size.get("height") or (detects and size.get("shortest_edge")))
        if known:
            return int(known)
    known = getattr(config, "image_size", None) or SIDE
    return int(known[0] if isinstance(known, list | tuple) else known)


def _loaded(kind: Any, name: str) -> Any:
    """Raises NaafError where the model is neither a folder, nor in the cache, nor to be had."""
    try:
        return kind.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0]
        raise NaafError(
            f"transformers cannot load {name!r} ({first}); without a network copy the model's folder "
            "(config.json, preprocessor_config.json, model.safetensors) here and name it: transformers:FOLDER"
        ) from None
