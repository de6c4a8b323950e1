"""Any ONNX model that takes pictures (batch, 3, rows, columns) and gives a map or tokens, by onnxruntime."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from ...errors import NaafError
from ...files import fingerprint, missing, shown
from .base import Boxes, Extractor, Features, check_grid, grid_boxes

SIDE = 224  # where the model takes any size
MEAN, STD = np.float32((0.485, 0.456, 0.406)), np.float32((0.229, 0.224, 0.225))  # ImageNet's


class Onnx(Extractor):
    """The first output that is a map (batch, dim, rows, columns) or tokens (batch, tokens, dim)."""

    def __init__(self, name: str, grid: int, device: str) -> None:
        self.path, self.grid = Path(name), grid
        if not self.path.is_file():
            raise NaafError(f"{missing(self.path)}; name the model's file: onnx:FILE")
        try:
            self.session = onnxruntime.InferenceSession(self.path, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes share no base
            raise NaafError(
                f"{shown(self.path)}: onnxruntime cannot read it ({str(error).strip()})"
            ) from None
        taken = self.session.get_inputs()[0]
        self.input, size = taken.name, taken.shape[-1]
        self.side = size if isinstance(size, int) and size > 0 else SIDE
        self.regions = grid**2
        self.dim = self([Image.new("RGB", (self.side, self.side))])[0].shape[-1]

    def record(self) -> dict[str, object]:
        return {
            "extractor": f"onnx:{self.path.name}",
            "revision": None,
            "sha256": str(fingerprint(self.path).get("sha256") or fingerprint(self.path)["sha256_of_ends"]),
            "preprocessing": f"{self.side} x {self.side}, bicubic, no crop, ImageNet mean and deviation",
        }

    def __call__(self, pictures: Sequence[Image.Image]) -> tuple[Features, Boxes]:
        squares = [picture.resize((self.side, self.side), Image.Resampling.BICUBIC) for picture in pictures]
        pixels = (np.stack([np.asarray(square, np.float32) for square in squares]) / 255 - MEAN) / STD
        outputs = self.session.run(None, {self.input: np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))})
        cells = next((found for one in outputs if (found := _cells(np.asarray(one))) is not None), None)
        if cells is None:
            shapes = ", ".join(str(np.asarray(one).shape) for one in outputs)
            raise NaafError(f"{shown(self.path)} gives {shapes}; a map (batch, dim, rows, columns) is needed")
        check_grid(shown(self.path), cells.shape[1:3], self.grid)
        boxes = np.stack([grid_boxes(picture.size, self.grid) for picture in pictures])
        return _pooled(cells, self.grid), boxes.astype(np.float32)


def _cells(output: np.ndarray) -> np.ndarray | None:
    """(batch, row, column, dim) of an output, or None where it is neither a map nor tokens of a square."""
    if output.ndim == 4:
        return output.transpose(0, 2, 3, 1)
    if output.ndim == 3:
        rows = int(output.shape[1] ** 0.5)
        return output[:, output.shape[1] - rows**2 :].reshape(len(output), rows, rows, -1)
    return None


def _pooled(cells: np.ndarray, grid: int) -> Features:
    """Means over grid x grid parts of the map, which may share a row or column, as adaptive pooling does."""
    low = [np.arange(grid) * size // grid for size in cells.shape[1:3]]
    high = [-(-(np.arange(grid) + 1) * size // grid) for size in cells.shape[1:3]]
    parts = [
        cells[:, top:bottom, left:right].mean(axis=(1, 2))
        for top, bottom in zip(low[0], high[0], strict=True)
        for left, right in zip(low[1], high[1], strict=True)
    ]
    return np.stack(parts, axis=1).astype(np.float32)
