"""VSE++ style (Faghri et al., BMVC 2018): one vector an image, one a caption, and their cosine.

The vectors are the means of the regions and of the words. They are never built: the inner product of two
means is the mean of all cosines, and their lengths come from the Gram matrices.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .axes import Boundary, Regions, Words
from .base import ABSENT, Block, Parts, Scores, Similarity, bounded, cosines, inverse_length, padding
from .packed import caption_means


@dataclass(frozen=True)
class Vse(Similarity):
    """The global baseline: every word with every region, all alike."""

    method: ClassVar[str] = "vse"

    def parts(self, regions: Regions, words: Words, boundary: float = 0.0) -> Parts:
        """A word's effect is its cosine with the image's vector, relative to the caption vector's length.

        Its weights are equal, of regions that are padding 0.
        """
        cosine, here = cosines(words, regions), (~padding(regions)).to(regions)
        weight = here / here.sum(dim=-1, keepdim=True)
        image, caption = (weight.unsqueeze(-1) * regions).sum(dim=-2), words.mean(dim=0)
        projection = image @ words.mT * inverse_length(image.square().sum(dim=-1, keepdim=True))
        mean = projection.mean(dim=-1, keepdim=True)
        effect = projection * inverse_length(bounded(caption.square().sum().expand_as(mean), mean))
        return Parts.of(cosine, weight.unsqueeze(-2).expand_as(cosine), effect, effect.mean(dim=-1))

    def scores(self, block: Block, boundary: Boundary | None, prepared: Tensor | None = None) -> Scores:
        here = (block.cosine[..., :1] != ABSENT).to(block.cosine)
        weight, groups = here / here.sum(dim=1, keepdim=True), block.groups
        mean = caption_means((block.cosine * weight).sum(dim=1), groups)
        captions = [block.words[g.words].unflatten(0, (g.length, g.captions)).mean(dim=0) for g in groups]
        projection = mean * inverse_length(torch.cat(captions).square().sum(dim=-1))
        image = bounded((weight.mT @ block.gram @ weight).squeeze(-1).expand_as(projection), projection)
        return Scores(projection * inverse_length(image))
