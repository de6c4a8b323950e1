"""What an object says of itself: one line in a terminal, a small table in a notebook."""

from collections.abc import Mapping
from html import escape

from .messages import visible


class Described:
    """Shows `facts`: the first stands alone, the others with their names."""

    def facts(self) -> Mapping[str, object]:
        """Names to values, the most telling first. Raises nothing: a damaged file leaves its fact out."""
        raise NotImplementedError

    def __repr__(self) -> str:
        first, *others = self.facts().items()
        said = ", ".join([str(first[1]), *(f"{name} {value}" for name, value in others)])
        return visible(f"{type(self).__name__}({said})")

    def _repr_html_(self) -> str:
        left = 'style="text-align: left"'
        rows = (
            f"<tr><th {left}>{escape(name)}</th><td {left}>{escape(str(value))}</td></tr>"
            for name, value in self.facts().items()
        )
        return f"<b>{type(self).__name__}</b><table>{''.join(rows)}</table>"
