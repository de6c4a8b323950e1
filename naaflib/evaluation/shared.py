"""A split measured by several processes, each of which encodes and scores some of its images.

The shares are whole chunks of the grid of `scores`, so that every score is one process's to the last bit, and
ranks, which are sums of counts, are exact.
"""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from ..data.splits import Split
from ..metric.ranks import RankCounter, captions_of, cut
from ..metric.retrieval import RetrievalMetrics, metrics_of, retrieval_metrics
from ..model.model import Model
from ..processes import ALONE, Processes
from ..similarity.matrix import BLOCK_WORDS
from ..similarity.packing import Packing, pack
from . import encoding
from .encoding import Encoded, encode_captions, encode_images, encode_split
from .protocols import fold_size
from .rescoring import Known
from .scores import MEMORY, score_encoded, split_scorer


def validation_metrics(model: Model, split: Split, processes: Processes = ALONE) -> RetrievalMetrics:
    """What training validates by: the whole given split at once, quietly."""
    if processes.size > 1:
        return shared_metrics(model, split, processes)
    scores = score_encoded(model, encode_split(model, split), progress=False)
    return retrieval_metrics(scores, split.captions_per_image)


def shared_metrics(
    model: Model,
    split: Split,
    processes: Processes,
    *,
    protocol: str = "full",
    precision: str = "float32",
    memory: float = MEMORY,
    top: int = 1,
) -> RetrievalMetrics:
    """What `streamed_metrics` gives, exactly, to every process.

    memory: bytes for blocks of scores of each process.
    """
    per_image, fold = split.captions_per_image, fold_size(protocol, len(split))
    shares = [_in_images(share, len(split)) for share in processes.shares(-(-len(split) // encoding.CHUNK))]
    rows = shares[processes.number]
    encoded = Encoded(encode_images(model, split, rows), *_gathered_words(model, split, shares, processes))
    scorer = split_scorer(model, encoded, precision, rows.start)
    parts = [scorer.known(rows, per_image, memory)] if len(encoded.images) else []
    known = Known.of([*chain(*processes.collected(parts))])
    counter = RankCounter(known.own, per_image, top, fold)
    size, columns = scorer.tiling(memory, fold * per_image)
    counts = [
        tile.counts(scorer.scores_of(tile, known.bounds))
        for first in range(0, len(split), fold)
        for images in cut(slice(max(first, rows.start), min(first + fold, rows.stop)), size)
        for band in cut(slice(first, first + fold), columns or fold)
        for tile in [counter.tile(images, captions_of(band, per_image))]
    ]
    return metrics_of(counter, chain(*processes.collected(counts)))


def _in_images(chunks: slice, images: int) -> slice:
    """The images of a run of chunks."""
    return slice(min(chunks.start * encoding.CHUNK, images), min(chunks.stop * encoding.CHUNK, images))


def _gathered_words(
    model: Model, split: Split, shares: Sequence[slice], processes: Processes
) -> tuple[Tensor, Packing]:
    """The words (W, D) of all captions and their packing; each process encodes those of its images."""
    per_image, rows = split.captions_per_image, shares[processes.number]
    lengths = torch.tensor([len(model.text_encoder.ids(caption)) for caption in split.captions])
    packing = pack(lengths, BLOCK_WORDS, encoding.CHUNK * per_image).to(model.device)
    words = model.image_encoder.fc.bias.new_empty(0, model.settings.dim)
    if rows.start < rows.stop:
        words = encode_captions(model, split.captions[captions_of(rows, per_image)], per_image)[0]
    sizes = [int(lengths[captions_of(share, per_image)].sum()) for share in shares]
    return torch.cat(processes.parts(words, sizes)), packing
