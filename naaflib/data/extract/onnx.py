"""Any ONNX model that takes pictures and gives a map or tokens, by onnxruntime."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from ...errors import NaafError
from ...files import checksum, missing, shown
from .base import SIDE, Boxes, Extractor, Features, Preprocessing, all_grid_boxes, check_grid

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Onnx(Extractor):
    """The first output that is a map (batch, dim, rows, columns) or tokens (batch, tokens, dim).

    The input is (batch, 3, rows, columns), float32 or float16. Of a model that takes (batch, rows, columns,
    3), the map is read as (batch, rows, columns, dim). A model made for one picture at a time gets one.
    """

    def __init__(self, name: str, grid: int, device: str) -> None:
        self.path, self.grid, self.regions = Path(name), grid, grid**2
        if not self.path.is_file():
            raise NaafError(f"{missing(self.path)}; name the model's file: onnx:FILE")
        try:
            self.session = onnxruntime.InferenceSession(self.path, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes share no base
            raise self._error(f"onnxruntime cannot read it ({_first_line(error)})") from None
        takes = self.session.get_inputs()
        if len(takes) > 1:
            names = ", ".join(one.name for one in takes)
            raise self._error(
                f"takes {len(takes)} inputs ({names}), pictures are one; export the vision part"
            )
        self.input, shape = takes[0].name, takes[0].shape
        self.channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
        channels = shape[3 if self.channels_last else 1] if len(shape) == 4 else None
        if len(shape) != 4 or takes[0].type not in TYPES or (isinstance(channels, int) and channels != 3):
            raise self._error(
                f"takes {takes[0].type} {shape}; float pictures (batch, 3, rows, columns) are needed"
            )
        self.type = TYPES[takes[0].type]
        rows, columns = shape[1:3] if self.channels_last else shape[2:]
        width, height = (size if isinstance(size, int) and size > 0 else SIDE for size in (columns, rows))
        self.batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
        self.preprocessing = Preprocessing((width, height))
        self.dim = self([Image.new("RGB", (width, height))])[0].shape[-1]

    def record(self) -> dict[str, object]:
        return {
            "extractor": f"onnx:{self.path.name}",
            "revision": None,
            "sha256": checksum(self.path),
            "preprocessing": str(self.preprocessing),
        }

    def __call__(self, pictures: Sequence[Image.Image]) -> tuple[Features, Boxes]:
        pixels = self.preprocessing(pictures).astype(self.type)
        if not self.channels_last:
            pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        step = self.batch or len(pixels)
        cells = np.concatenate([self._run(pixels[k : k + step]) for k in range(0, len(pixels), step)])
        check_grid(shown(self.path), cells.shape[1:3], self.grid)
        return _pooled(cells, self.grid), all_grid_boxes(pictures, self.grid)

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        """(picture, row, column, dim), float32. A fixed batch is filled up with the last picture."""
        fill = max((self.batch or 0) - len(pixels), 0)
        try:
            outputs = self.session.run(None, {self.input: np.concatenate([pixels, *[pixels[-1:]] * fill])})
        except Exception as error:
            raise self._error(f"onnxruntime cannot run it ({_first_line(error)})") from None
        for output in map(np.asarray, outputs):
            cells = self._cells(output)
            if cells is not None:
                return cells[: len(pixels)].astype(np.float32)
        shapes = ", ".join(str(np.asarray(one).shape) for one in outputs)
        raise self._error(f"gives {shapes}; a map (batch, dim, rows, columns) is needed")

    def _cells(self, output: np.ndarray) -> np.ndarray | None:
        """(batch, row, column, dim) of an output; None where it is neither a map nor tokens of a square."""
        if output.ndim == 4:
            return output if self.channels_last else output.transpose(0, 2, 3, 1)
        if output.ndim == 3:
            rows = int(output.shape[1] ** 0.5)
            return output[:, output.shape[1] - rows**2 :].reshape(len(output), rows, rows, -1)
        return None

    def _error(self, text: str) -> NaafError:
        return NaafError(f"{shown(self.path)}: {text}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


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
