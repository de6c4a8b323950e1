"""The competitors: the equations written plainly, as a reader of the paper would write them first."""

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

EPSILON = 1e-8


def caption_scores(images: Tensor, words: Tensor, boundary: float, lambda_softmax: float = 20.0) -> Tensor:
    """One caption (word, dim) against all images (image, region, dim), with the attended vectors built."""
    cosine = words @ images.mT  # image, word, region
    above = cosine - boundary
    best = above.amax(dim=-1)
    negative = best * (best < 0)
    kept = above.masked_fill(above <= 0, -1e9)
    weight = torch.softmax(lambda_softmax * kept, dim=-1) * (above > 0)
    attended = weight @ images
    feature = (attended * words).sum(-1) / attended.norm(dim=-1).clamp_min(EPSILON)
    relevance = leaky_relu(cosine, 0.1)
    relevance = relevance / (relevance.norm(dim=1, keepdim=True) + EPSILON)
    relevant = (torch.softmax(lambda_softmax * relevance, dim=-1) * cosine).sum(-1)
    return (negative + feature + relevant).mean(dim=-1)


def looped_scores(images: Tensor, captions: Tensor, lengths: Tensor, boundary: float) -> Tensor:
    """A Python loop over captions, as the field's released code scores."""
    columns = [caption_scores(images, c[:n], boundary) for c, n in zip(captions, lengths, strict=True)]
    return torch.stack(columns, dim=1)


def padded_scores(images: Tensor, captions: Tensor, lengths: Tensor, boundary: float) -> Tensor:
    """All captions at once, padded to the longest and masked; autograd keeps every step."""
    mask = torch.arange(captions.shape[1]) < lengths[:, None]  # caption, word
    cosine = torch.einsum("nrd,cld->nclr", images, captions)
    above = cosine - boundary
    best = above.amax(dim=-1)
    negative = best * (best < 0)
    kept = above.masked_fill(above <= 0, -1e9)
    weight = torch.softmax(20.0 * kept, dim=-1) * (above > 0)
    gram = images @ images.mT
    energy = (torch.einsum("nclr,nrs->ncls", weight, gram) * weight).sum(-1)
    feature = (weight * cosine).sum(-1) / energy.clamp_min(EPSILON).sqrt()
    relevance = leaky_relu(cosine, 0.1) * mask[:, :, None]
    relevance = relevance / (relevance.square().sum(dim=2, keepdim=True).clamp_min(1e-30).sqrt() + EPSILON)
    relevant = (torch.softmax(20.0 * relevance, dim=-1) * cosine).sum(-1)
    return ((negative + feature + relevant) * mask).sum(-1) / lengths
