"""Which captions make a batch, and their tensors. The order depends on the seed and the epoch alone."""

from collections import deque
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
    """Training batches of a split, read ahead by threads while the model works.

    How many threads there are changes neither the order nor a bit; each holds one batch, and one more waits.
    """

    def __init__(
        self,
        split: Split,
        ids: Callable[[str], Sequence],
        batch_size: int,
        seed: int,
        processes: Processes = ALONE,
        *,
        readers: int = 1,
        pinned: bool = False,
    ):
        """ids: of a caption's words, such as a text encoder's `ids`. pinned: features in memory that a GPU
        copies from while the program goes on.
        """
        self.split, self.batch_size, self.seed, self.processes = split, batch_size, seed, processes
        self.readers, self.pinned = readers, pinned
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
        return Batch(self._features(own), *(torch.from_numpy(array) for array in (tokens, lengths, images)))

    def _features(self, images: np.ndarray) -> Tensor:
        if not self.pinned:
            return torch.from_numpy(self.split.regions.gather(images))
        shape = len(images), *self.split.regions.shape[1:]
        found = torch.empty(shape, dtype=torch.float32, pin_memory=True)  # torch keeps it for a later batch
        self.split.regions.gather(images, found.numpy())
        return found

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The epoch's batches from a position on (resuming in the middle)."""
        todo = epoch_batches(len(self.tokens), self.batch_size, self.seed, epoch)[first:]
        ahead = self.readers + 1
        with ThreadPoolExecutor(self.readers, thread_name_prefix="batches") as pool:
            waiting = deque(pool.submit(self.batch, captions) for captions in todo[:ahead])
            try:
                for index in range(len(todo)):
                    started = perf_counter()
                    ready = waiting.popleft().result()
                    self.waited += perf_counter() - started
                    next_one = todo[index + ahead : index + ahead + 1]
                    waiting.extend(pool.submit(self.batch, captions) for captions in next_one)
                    if index % RELEASE_EVERY == 0:
                        self.split.regions.release()
                    yield ready
            finally:  # also where training stops within the epoch
                for batch in waiting:
                    batch.cancel()
