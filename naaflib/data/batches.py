"""Which captions make a batch, and their tensors. The order depends on the seed and the epoch alone."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from ..processes import ALONE, Processes
from .captions import pad
from .splits import Split

RELEASE_EVERY = 8  # batches between two returns of mapped pages
AHEAD = 2  # batches prepared while one is trained on


@dataclass(frozen=True)
class Batch:
    """Pairs of an image and one of its captions; row i of each belongs together."""

    regions: Tensor  # (own pair, region, feature): of several processes, the pairs that this one encodes
    tokens: Tensor  # (pair, longest), padded with 0; of a word's pieces (pair, longest, piece)
    lengths: Tensor  # (pair,)
    images: Tensor  # (pair,) index of the image in its split


def epoch_batches(captions: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Caption indexes of an epoch's batches, shuffled; a rest that fills no batch is left out."""
    size = min(batch_size, captions)
    order = np.random.default_rng([seed, epoch]).permutation(captions)
    return [order[start : start + size] for start in range(0, captions - size + 1, size)]


class Batches:
    """Training batches of a split, read ahead by one thread while the model works."""

    def __init__(
        self,
        split: Split,
        ids: Callable[[str], Sequence],
        batch_size: int,
        seed: int,
        processes: Processes = ALONE,
    ):
        """ids: of a caption's words, such as a text encoder's `ids`."""
        self.split, self.batch_size, self.seed, self.processes = split, batch_size, seed, processes
        self.tokens = [ids(caption) for caption in split.captions]
        self.image_of_caption = split.image_of_caption
        self.waited = 0.0  # seconds that training waited for data

    def __len__(self) -> int:
        """Batches an epoch."""
        return max(1, len(self.tokens) // min(self.batch_size, len(self.tokens)))

    def batch(self, captions: np.ndarray) -> Batch:
        images = self.image_of_caption[captions]
        tokens, lengths = pad([self.tokens[caption] for caption in captions])
        own = images[self.processes.share(len(images))]
        arrays = self.split.regions.gather(own), tokens, lengths, images
        return Batch(*(torch.from_numpy(array) for array in arrays))

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The epoch's batches from a position on (resuming in the middle)."""
        todo = epoch_batches(len(self.tokens), self.batch_size, self.seed, epoch)[first:]
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as reader:
            ahead = [reader.submit(self.batch, captions) for captions in todo[:AHEAD]]
            for index in range(len(todo)):
                started = perf_counter()
                ready = ahead.pop(0).result()
                self.waited += perf_counter() - started
                if index + AHEAD < len(todo):
                    ahead.append(reader.submit(self.batch, todo[index + AHEAD]))
                if index % RELEASE_EVERY == 0:
                    self.split.regions.release()
                yield ready
