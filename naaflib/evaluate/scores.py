"""All pairs of a split: encoded once, scored in blocks, into memory or straight to a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..data.captions import pad
from ..data.splits import Split
from ..errors import NaafError, UsageError
from ..metric import RetrievalMetrics, retrieval_metrics
from ..model import Model
from ..packing import Packing, pack
from ..runs import atomic_path
from ..scoring import BLOCK_WORDS, Scorer

CHUNK = 128  # images encoded or scored at a time
PRODUCTS = {"float32": None, "bf16": torch.bfloat16}


class Encoded(NamedTuple):
    """A split's unit vectors: images (N, R, D); words on the packed axis (W, D)."""

    images: Tensor
    words: Tensor
    packing: Packing


@torch.no_grad()
def encode_split(model: Model, split: Split) -> Encoded:
    """Encode a split: every caption beside captions of its own length, so nothing is padded."""
    if model.vocabulary is None:
        raise NaafError("this checkpoint has no vocabulary; name its JSON (--vocabulary) to read captions")
    tokens, lengths = pad([model.vocabulary.encode(caption) for caption in split.captions])
    ids, packing = torch.from_numpy(tokens), pack(torch.from_numpy(lengths), most_words=BLOCK_WORDS)
    like = model.image_encoder.fc.bias
    words = like.new_empty(packing.words, model.settings.dim)
    for group in packing.groups:
        rows = packing.order[group.packed_captions]
        states = model.encode_captions(ids[rows, : group.length], torch.full((group.captions,), group.length))
        words[group.words] = states.transpose(0, 1).flatten(0, 1)
    images = like.new_empty(len(split), split.regions.shape[1], model.settings.dim)
    for start in range(0, len(split), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(split)))
        images[start : start + CHUNK] = model.encode_images(torch.from_numpy(split.regions.gather(rows)))
        split.regions.release()
    return Encoded(images, words, packing.to(model.device))


def score_rows(
    model: Model, encoded: Encoded, precision: str = "float32", progress: bool = True
) -> Iterator[np.ndarray]:
    """Rows of the score matrix, some images at a time: (image, caption), captions in the split's order.

    precision: "float32", or "bf16" for the matrix product alone (faster where the processor has it).
    """
    if precision not in PRODUCTS:
        raise UsageError(f"there is no scoring precision {precision!r}; precisions: {', '.join(PRODUCTS)}")
    images, words, packing = encoded
    scorer = Scorer(words, packing, model.measure, model.boundary.inference, PRODUCTS[precision])
    with tqdm(total=len(images), desc="scoring", unit="image", disable=not progress, mininterval=1.0) as bar:
        for start in range(0, len(images), CHUNK):
            part = packing.unpack(scorer(images[start : start + CHUNK])).cpu().numpy()
            yield part
            bar.update(len(part))


def score_encoded(
    model: Model, encoded: Encoded, progress: bool = True, precision: str = "float32"
) -> np.ndarray:
    """Scores (image, caption) in memory, float32 or the model's type."""
    rows = list(score_rows(model, encoded, precision, progress))
    return rows[0] if len(rows) == 1 else np.concatenate(rows)


def score_to_file(
    model: Model, encoded: Encoded, path: Path, progress: bool = True, precision: str = "float32"
) -> np.ndarray:
    """Scores written to a .npy row by row, never whole in memory; the file, memory-mapped."""
    shape = (len(encoded.images), len(encoded.packing.order))
    kind = np.dtype(np.float64 if encoded.images.dtype == torch.float64 else np.float32)
    with atomic_path(path) as partial, partial.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for rows in score_rows(model, encoded, precision, progress):
            file.write(np.ascontiguousarray(rows, dtype=kind).data)
    return np.load(path, mmap_mode="r")


def validation_metrics(model: Model, split: Split) -> RetrievalMetrics:
    """What training validates by: the whole given split at once, quietly."""
    scores = score_encoded(model, encode_split(model, split), progress=False)
    return retrieval_metrics(scores, split.captions_per_image)


def pick_device(device: str) -> torch.device:
    """ "auto": a GPU where there is one. Raises UsageError for a device that torch cannot use here."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device).cpu()  # "meta" is a device without numbers
        return torch.device(device)
    except (RuntimeError, AssertionError):
        raise UsageError(f"torch cannot use the device {device!r} here; cpu always works") from None
