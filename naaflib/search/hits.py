"""The answers to a query, as a table, in a terminal and in a notebook."""

from base64 import b64encode
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..data.pictures import large_pictures, read_upright
from ..files import shown

SIDE = 240  # pixels of a thumbnail's longer side: shown at half of it, sharp on a fine screen


@dataclass(frozen=True, repr=False)
class Hits:
    """The best answers to a query, best first: place in the index, score, name or caption."""

    query: str
    kind: str  # "image" or "caption": what was found
    places: np.ndarray
    scores: np.ndarray
    texts: list[str]
    pictures: list[Path | None]

    def __len__(self) -> int:
        return len(self.places)

    def to_frame(self) -> Any:
        """A pandas row a hit: rank from 1, score, place in the index, name of the image or caption."""
        import pandas as pd

        rows = {
            "rank": range(1, len(self) + 1),
            "score": self.scores,
            "place": self.places,
            self.kind: self.texts,
        }
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        both = zip(self.scores, self.texts, strict=True)
        lines = [f"{rank}. {score:.3f}  {text}" for rank, (score, text) in enumerate(both, 1)]
        return "\n".join([self.query, *lines])

    def _repr_html_(self) -> str:
        """A table with thumbnails; a picture that cannot be read any more says so in its place."""
        rows = zip(self.scores, self.texts, self.pictures, strict=True)
        with large_pictures():
            cells = [
                f"<tr><td>{score:.3f}</td><td>{_thumbnail(picture)}</td><td>{escape(text)}</td></tr>"
                for score, text, picture in rows
            ]
        return f"<p>{escape(self.query)}</p><table>{''.join(cells)}</table>"


def _thumbnail(picture: Path | None) -> str:
    if picture is None:
        return ""
    try:
        small = read_upright(picture)
    except ValueError as error:
        return escape(f"{shown(picture)}: {error}")
    small.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=85)
    content = b64encode(buffer.getvalue()).decode()
    return f'<img height="{SIDE // 2}" src="data:image/jpeg;base64,{content}">'
