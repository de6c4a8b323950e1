"""Detectors of transformers: the queries that are surest of an object, and their boxes."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ...errors import UsageError
from .base import Boxes, Features
from .networks import Network


class Detector(Network):
    """The grid x grid surest queries of DETR, YOLOS, ...

    min_score: of them, those at least so sure, and always the surest. Rows of zeros follow. None: all.
    """

    kind = "transformers"
    min_score: float | None = None

    def keep_sure(self, min_score: float) -> None:
        if not 0 < min_score < 1:
            raise UsageError(f"a score lies between 0 and 1; --min-score {min_score:g} chooses nothing")
        self.min_score = min_score

    def record(self) -> dict[str, object]:
        return super().record() | ({} if self.min_score is None else {"min_score": self.min_score})

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Image.Image]) -> tuple[Features, Boxes]:
        found = self.model(pixel_values=self.pixels(pictures))
        queries = found.logits.shape[1]
        states = found.last_hidden_state[:, -queries:]  # of YOLOS, tokens of patches stand before them
        if queries < self.regions:
            raise UsageError(
                f"{self.name} finds {queries} regions, and a grid of {self.grid} asks for {self.regions}"
            )
        score, best = self._sure(found.logits).topk(self.regions, dim=1)
        kept = score >= (self.min_score or 0.0)
        kept[:, 0] = True
        kept = kept[..., None]
        chosen = states.gather(1, best[..., None].expand(-1, -1, states.shape[-1])) * kept
        centre, extent = found.pred_boxes.gather(1, best[..., None].expand(-1, -1, 4)).split(2, dim=-1)
        corners = torch.cat([centre - extent / 2, centre + extent / 2], dim=-1).clamp(0, 1) * kept
        scale = np.array([(*picture.size, *picture.size) for picture in pictures], np.float32)[:, None]
        return chosen.float().cpu().numpy(), corners.float().cpu().numpy() * scale

    def _sure(self, logits: Float[Tensor, "image query class"]) -> Float[Tensor, "image query"]:
        """The largest probability of an object. DETR has one class more, "no object", and they add up to 1;
        others judge each class alone.
        """
        if logits.shape[-1] == self.model.config.num_labels:
            return logits.double().sigmoid().amax(-1)  # in float32 sure ones would be equally sure
        return logits.softmax(-1)[..., :-1].amax(-1)
