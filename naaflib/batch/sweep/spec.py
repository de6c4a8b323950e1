"""A sweep's YAML file of variants and seeds, expanded into single runs. `naaf sweep --help` shows one."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, ValidationError

from ...config import SEED, Settings, nearest, preset
from ...data.manifest import preset_of
from ...errors import NaafError, UsageError
from ...files import read_yaml, shown
from ...training.folder import check_shares
from ...training.variants import variant_settings

NAME = r"^[A-Za-z0-9][A-Za-z0-9._+=-]*$"
WEIGHTS = "weights"
MOST_RUNS = 10_000
CLAUSES = {  # by the type of pydantic's error
    "missing": "the key {place!r} is missing; `naaf sweep --help` has an example",
    "tuple_type": "{place} is a list, for example [0, 1, 2] (given: {given!r})",
    "too_short": "{place} is empty; give it something or take it out",
    "dict_type": "{place} is written as `key: value` lines (given: {given!r})",
}


def _number_text(value: object) -> object:
    """02 without quotes is the number 2 to YAML."""
    return f"{value:02d}" if isinstance(value, int) and not isinstance(value, bool) else value


Which = Annotated[str, BeforeValidator(_number_text)]


class Spec(BaseModel):
    """A sweep's YAML. Settings are dotted names; their values are checked when the runs are expanded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME)
    data: str | None = None
    preset: str = ""
    settings: dict[str, Any] = Field({}, alias="set")
    seeds: tuple[StrictInt, ...] = Field((0,), min_length=1)
    processes: StrictInt = Field(1, ge=1)  # that train one run together
    notebooks: tuple[Which, ...] = Field(("02", "03"), min_length=1)
    parameters: dict[str, Any] = {}
    runs: dict[str, dict[str, Any] | None] = {}
    grid: dict[str, tuple[Any, ...]] = {}


@dataclass(frozen=True)
class Planned:
    """One run of a sweep. own: what its variant sets, as the file has it. weights: the variant whose trained
    weights it takes; None: it is trained."""

    variant: str
    seed: int
    settings: Settings
    own: Mapping[str, Any]
    weights: str | None = None
    trained: Settings | None = None  # what those weights are trained with

    @property
    def name(self) -> str:
        return f"{self.variant}/{self.seed}"


def read_spec(path: str | Path) -> Spec:
    """A sweep's YAML, checked. Raises NaafError naming the file, the key and what is nearest to it."""
    path = Path(path)
    content = read_yaml(path, "name a sweep's YAML")
    if not isinstance(content, dict):
        raise NaafError(
            f"{shown(path)}: a sweep is written as `key: value` lines; `naaf sweep --help` has one"
        )
    try:
        return Spec.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{shown(path)}: {_complaint(error.errors()[0])}") from None


def expand(spec: Spec, data: Path) -> list[Planned]:
    """The runs of a sweep, variant by variant, each with its seeds.

    Raises UsageError for a setting that does not exist or is out of range, naming the variant.
    """
    if len(set(spec.seeds)) < len(spec.seeds):
        raise UsageError("seeds: one stands there twice; keep one of them")
    count = len(spec.seeds) * (len(spec.runs) + math.prod(map(len, spec.grid.values())) * bool(spec.grid))
    if count > MOST_RUNS:
        raise UsageError(
            f"{'grid' if spec.grid else 'runs'}: {count:,} runs with all seeds, and one sweep has at most "
            f"{MOST_RUNS:,}; take out values, or write several files"
        )
    variants = dict(_variants(spec))
    if not variants:
        raise UsageError("runs: nothing is asked for; name variants under runs or a grid")
    base = spec.preset or preset_of(data)
    for name, values in variants.items():
        with placed(name):
            _check_weights(values, in_grid=name not in spec.runs)
    found: list[Planned] = []
    for name, values in variants.items():
        with placed(name):
            found += [_planned(spec, base, variants, name, values, seed) for seed in spec.seeds]
    _check_distinct(spec, found)
    return found


@contextmanager
def placed(where: str) -> Iterator[None]:
    """Puts a place, the file or the variant, before what an error says."""
    try:
        yield
    except NaafError as error:
        raise type(error)(f"{where}: {error}") from None


def _check_weights(values: Mapping[str, Any], in_grid: bool) -> None:
    """A variant under runs leaves weights out to be trained; a grid has null for that."""
    source = values.get(WEIGHTS, "")
    if not (isinstance(source, str) or (in_grid and source is None)):
        given = "null" if source is None else repr(source)
        raise UsageError(
            f"weights takes the name of another variant as text (given: {given}); leave it out to train it"
        )


def _check_distinct(spec: Spec, found: Iterable[Planned]) -> None:
    """Equal variants are a slip, but for a named one that is also a point of the grid: a run of two names."""
    known: dict[object, str] = {}
    for one in found:
        place = "runs" if one.variant in spec.runs else "grid"
        other = known.setdefault((place, one.settings, one.trained), one.variant)
        if other != one.variant:
            raise UsageError(
                f"{place}: {other!r} and {one.variant!r} have the same settings, so they are "
                "one run; change one of them or take it out"
            )


def _planned(
    spec: Spec, base: str, variants: Mapping[str, Mapping[str, Any]], name: str, values: Mapping, seed: int
) -> Planned:
    own = {key: value for key, value in values.items() if key != WEIGHTS}
    if SEED in own or SEED in spec.settings:
        raise UsageError(f"{SEED} is set, but seeds has the seeds of every variant; leave it out")
    source = values.get(WEIGHTS)
    if source is None:
        settings = preset(base, {**spec.settings, **own, SEED: seed})
        check_shares(settings.train.batch_size, settings, spec.processes)
        return Planned(name, seed, settings, own)
    if source not in variants or source == name:
        hint = nearest(source, variants.keys() - {name}) or "; name another variant"
        raise UsageError(f"weights: there is no other variant {source!r}{hint}")
    if WEIGHTS in variants[source]:
        raise UsageError(
            f"weights: {source!r} is not trained itself; name {variants[source][WEIGHTS]!r}, as it does"
        )
    trained = preset(base, {**spec.settings, **variants[source], SEED: seed})
    return Planned(name, seed, variant_settings(trained, own), own, source, trained)


def _variants(spec: Spec) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The named variants, then every combination of the grid."""
    for name, values in spec.runs.items():
        if not re.fullmatch(NAME, name):
            raise UsageError(f"runs: {name!r} cannot name a folder; use letters, digits and . _ + = -")
        yield name, values or {}
    if not spec.grid:
        return
    empty = next((name for name, values in spec.grid.items() if not values), None)
    if empty:
        raise UsageError(f"grid: {empty} has no value; give it some or take it out")
    ends = [name.split(".")[-1] for name in spec.grid]
    labels = [end if ends.count(end) == 1 else name for name, end in zip(spec.grid, ends, strict=True)]
    seen = set()
    for values in product(*spec.grid.values()):
        name = "_".join(f"{label}-{_word(value)}" for label, value in zip(labels, values, strict=True))
        if name in spec.runs:
            raise UsageError(f"runs: {name!r} is also the name of a grid's run; rename it")
        if name in seen:
            raise UsageError(f"grid: {name!r} stands there twice; keep one of them")
        seen.add(name)
        yield name, dict(zip(spec.grid, values, strict=True))


def _word(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _complaint(error: Mapping[str, Any]) -> str:
    """A pydantic error as the place and one clause."""
    place, given = ".".join(str(part) for part in error["loc"]), error["input"]
    if error["type"] == "extra_forbidden":
        keys = [field.alias or name for name, field in Spec.model_fields.items()]
        return f"there is no key {place!r}{nearest(place, keys) or '; keys: ' + ', '.join(keys)}"
    if error["type"] == "string_type" and "[key]" in error["loc"]:
        return f"{error['loc'][0]}: a name is read as {given!r}; put it in quotes"
    if error["type"] in CLAUSES:
        return CLAUSES[error["type"]].format(place=place, given=given)
    message = error["msg"].removeprefix("Value error, ")
    return f"{place}: {message[0].lower() + message[1:]} (given: {given!r})"
