"""The methods by their names: the one place that lists them. Their settings stand in `config`."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..errors import unknown
from .base import Similarity
from .chan import Chan
from .naaf import Naaf
from .scan import ScanI2t, ScanT2i
from .vse import Vse

METHODS: dict[str, type[Similarity]] = {
    kind.method: kind
    for kind in (
        Naaf,
        ScanT2i,
        ScanI2t,
        Chan,
        Vse,
    )
}
DEFAULT = Naaf.method


def kind_of(method: str) -> type[Similarity]:
    """The class of a method. Raises UsageError for a name that is none."""
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    return METHODS[method]


def make(method: str, constants: Mapping[str, Any]) -> Similarity:
    """The similarity of a method with these constants; those that it does not have are left out.

    None stands for the method's own value where the constant has to be a number. Raises UsageError for an
    unknown method, and for a constant out of range.
    """
    kind = kind_of(method)
    optional = {field.name: "None" in str(field.type) for field in fields(kind)}
    given = {name: value for name, value in constants.items() if name in optional}
    return kind(**{name: value for name, value in given.items() if value is not None or optional[name]})
