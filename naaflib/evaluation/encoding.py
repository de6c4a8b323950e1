"""Images and captions of a split as unit vectors, on one grid that counts from the split's first image.

Captions are packed in chunks of CHUNK images. A vector is the same to the last bit whatever stands beside it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data.captions import pad
from ..data.splits import Split
from ..model.model import Model
from ..similarity.matrix import BLOCK_WORDS
from ..similarity.packing import Group, Packing, pack
from ..similarity.threads import in_threads

CHUNK = 200  # images whose captions are packed together; a fold of 1000 holds whole chunks
ENCODED = 40  # images encoded at a time


class Encoded(NamedTuple):
    """A split's unit vectors: images (N, R, D); words on the packed axis (W, D)."""

    images: Tensor
    words: Tensor
    packing: Packing


def encode_split(model: Model, split: Split) -> Encoded:
    """Encode a split: every caption beside captions of its own length, so nothing is padded."""
    words, packing = encode_captions(model, split.captions, split.captions_per_image)
    return Encoded(encode_images(model, split, slice(0, len(split))), words, packing)


def encode_captions(model: Model, captions: Sequence[str], captions_per_image: int) -> tuple[Tensor, Packing]:
    """Words (W, D) on the packed axis, and the packing. A part of a split has to start with a chunk."""
    tokens, lengths = pad([model.text_encoder.ids(caption) for caption in captions])
    packing = pack(torch.from_numpy(lengths), BLOCK_WORDS, CHUNK * captions_per_image)
    ids = torch.from_numpy(tokens)
    words = model.image_encoder.fc.bias.new_empty(packing.words, model.settings.dim)

    @torch.no_grad()
    def encode(group: Group) -> None:
        rows = packing.order[group.packed_captions]
        states = model.encode_captions(ids[rows, : group.length], torch.full((group.captions,), group.length))
        words[group.words] = states.transpose(0, 1).flatten(0, 1)

    _each(encode, packing.groups, model)
    return words, packing.to(model.device)


def encode_images(model: Model, split: Split, images: slice) -> Tensor:
    """Regions (N, R, D) of a run of images that starts with a chunk."""
    shape = (images.stop - images.start, split.regions.shape[1], model.settings.dim)
    result = model.image_encoder.fc.bias.new_empty(shape)

    @torch.no_grad()
    def encode(start: int) -> None:
        rows = np.arange(images.start + start, min(images.start + start + ENCODED, images.stop))
        result[start : start + ENCODED] = model.encode_images(torch.from_numpy(split.regions.gather(rows)))
        split.regions.release()

    _each(encode, range(0, len(result), ENCODED), model)
    return result


def _each(work, jobs: Sequence, model: Model) -> None:
    """On a CPU every job is one thread's: what it gives does not depend on how many there are."""
    if model.device.type == "cpu":
        in_threads(work, jobs)
    else:
        for job in jobs:
            work(job)
