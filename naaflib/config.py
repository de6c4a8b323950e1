"""Every number that changes a result: validated, frozen, with its source. No path, no device, no argparse.

A setting is named by its section and field, `train.epochs`; `preset("f30k", {"train.epochs": 5})` makes a
whole `Settings`. What a run used stands in its `config.json`.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from .errors import UsageError


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: Any) -> object:
        """YAML's true, yes and on would be 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("neither true nor false fits here")
        return value


class DataSettings(Section):
    """Which captions and words take part."""

    min_word_count: int = Field(4, ge=1)  # SCAN's vocabulary threshold on the train captions
    validation_images: int | None = Field(None, ge=1)  # upstream uses the first 1000 dev images only


class ModelSettings(Section):
    """The encoders' sizes. Each method adds its similarity's constants in a type of its own, below."""

    has_boundary: ClassVar[bool] = False  # whether training mines one (MiningSettings)

    method: str
    dim: int = Field(1024, ge=1)  # D, the paper's 1024
    word_dim: int = Field(300, ge=1)
    word_init: float = Field(0.1, gt=0)  # word vectors start uniform in +- this; the published 0.1
    image_encoder: Literal["linear", "weight-norm"] = "linear"
    freeze_words: bool = False  # the released code fine-tunes its GloVe vectors (it means to freeze them)


class NaafSettings(ModelSettings):
    """The Negative-Aware Attention Framework, the default."""

    has_boundary: ClassVar[bool] = True

    method: Literal["naaf"] = "naaf"
    lambda_softmax: float | None = Field(None, gt=0)  # inverse temperature; None: the published 20
    lambda_intra: float | None = Field(5.0, gt=0)  # propagation between words at inference; None: none
    negative_effect: bool = True  # whether s_neg (eq. 9), s_f (eq. 10), s_r (eq. 11) count
    feature_effect: bool = True
    relevance_effect: bool = True

    @model_validator(mode="after")
    def _scores_something(self):
        if not (self.negative_effect or self.feature_effect or self.relevance_effect):
            raise ValueError("one of model.negative_effect, feature_effect and relevance_effect must stay on")
        return self


class PooledSettings(ModelSettings):
    """What methods share that pool over words or regions."""

    pooling: Literal["mean", "lse"] = "mean"  # AVG or LogSumExp
    lambda_lse: float = Field(6.0, gt=0)

    @model_validator(mode="after")
    def _pools(self):
        if self.pooling == "mean" and self.lambda_lse != type(self).model_fields["lambda_lse"].default:
            raise ValueError("model.lambda_lse belongs to model.pooling lse")
        return self


class ScanT2iSettings(PooledSettings):
    """SCAN, text to image."""

    method: Literal["scan-t2i"] = "scan-t2i"
    lambda_softmax: float | None = Field(None, gt=0)  # None: the published 9


class ScanI2tSettings(PooledSettings):
    """SCAN, image to text."""

    method: Literal["scan-i2t"] = "scan-i2t"
    lambda_softmax: float | None = Field(None, gt=0)  # None: the published 4


class ChanSettings(PooledSettings):
    """Hard assignment, as in CHAN."""

    method: Literal["chan"] = "chan"


class VseSettings(ModelSettings):
    """The global baseline, VSE++ style."""

    method: Literal["vse"] = "vse"


Method = (
    Annotated[NaafSettings, Tag("naaf")]
    | Annotated[ScanT2iSettings, Tag("scan-t2i")]
    | Annotated[ScanI2tSettings, Tag("scan-i2t")]
    | Annotated[ChanSettings, Tag("chan")]
    | Annotated[VseSettings, Tag("vse")]
)
METHODS: dict[str, type[ModelSettings]] = {
    tag.tag: kind for kind, tag in (get_args(choice) for choice in get_args(Method))
}


def _of_its_method(values: object) -> object:
    """The values that the method has: what belongs to another one goes where it is that one's default.

    So are records of before each method had a type read. Raises ValueError for a method that is none, and
    for another method's constant with a value of its own.
    """
    if not isinstance(values, Mapping):
        return values
    method = values.get("method", NaafSettings.model_fields["method"].default)
    if method not in METHODS:
        raise _at("method", method, f"no such method{nearest(str(method), METHODS)}; {', '.join(METHODS)}")
    own = METHODS[method].model_fields
    for name in values.keys() - own.keys():
        owners = {other: kind for other, kind in METHODS.items() if name in kind.model_fields}
        if owners and not any(_is_default(kind, name, values[name]) for kind in owners.values()):
            belongs = f"belongs to model.method {' or '.join(owners)}; {method} has no such part"
            raise _at(name, values[name], belongs)
        if owners:
            values = {key: value for key, value in values.items() if key != name}
    return {**values, "method": method}


def _at(name: str, given: object, sentence: str) -> PydanticCustomError:
    return PydanticCustomError("method", "{sentence}", {"sentence": sentence, "at": name, "given": given})


def _is_default(kind: type[ModelSettings], name: str, value: object) -> bool:
    try:
        return bool(getattr(kind.model_validate({name: value}), name) == kind.model_fields[name].default)
    except ValidationError:
        return False


def _method(values: object) -> object:
    return values["method"] if isinstance(values, Mapping) else getattr(values, "method", None)


AnyModel = Annotated[
    Annotated[Method, Discriminator(_method)],
    BeforeValidator(_of_its_method),
]
_ANY_MODEL: TypeAdapter[ModelSettings] = TypeAdapter(AnyModel)


def model_settings(**values: object) -> ModelSettings:
    """The settings of values["method"] (default naaf). Raises pydantic's ValidationError."""
    return _ANY_MODEL.validate_python(values)


def constants() -> tuple[str, ...]:
    """The settings of similarities, as `model.name`: those that act at inference too."""
    own = (name for kind in METHODS.values() for name in kind.model_fields)
    return tuple(f"model.{name}" for name in dict.fromkeys(own) if name not in ModelSettings.model_fields)


class MiningSettings(Section):
    """The boundary between matched and mismatched similarities (eq. 1-5)."""

    mode: Literal["batch", "sequential"] = "batch"  # sequential: the released code's bookkeeping, exactly
    alpha: float = Field(2.0, gt=0)  # price of taking a mismatched word as matched
    momentum: float = Field(0.7, gt=0, le=1)  # weight of a batch's estimate in the running boundary
    min_words: int = Field(200, ge=2)  # an estimate needs more sampled words than this
    fixed_boundary: float | None = Field(None, ge=-1, le=1)  # not mined: this value, in training and after


# min_words, which a preset sets for its data, does no harm without a boundary
OF_THE_BOUNDARY = ("mining.mode", "mining.alpha", "mining.momentum", "mining.fixed_boundary")


class LossSettings(Section):
    """The hinge loss (eq. 15)."""

    margin: float = Field(0.2, ge=0)
    # adaptive: of each query, the hardest negative weighs the root of the running in-batch R@1, the mean of
    # the violating ones the rest of 1; after "Selectively Hard Negative Mining" (arXiv 2303.00181)
    negatives: Literal["hardest", "sum", "adaptive"] = "hardest"
    recall_momentum: float = Field(0.05, gt=0, le=1)  # weight of a batch's R@1 in the running one
    warmup_epochs: int = Field(0, ge=0)  # so many epochs on summed negatives first
    exclude_same_image: bool = False  # the released code counts two captions of one image as negatives


class TrainSettings(Section):
    """The optimisation."""

    seed: int = Field(ge=0, lt=2**63)  # no default: a run states its seed
    epochs: int = Field(20, ge=1)
    batch_size: int = Field(128, ge=2)
    learning_rate: float = Field(5e-4, gt=0, le=1)
    warmup_steps: int = Field(0, ge=0)  # the learning rate rises linearly over so many first steps
    decay_epoch: int = Field(10, ge=1)  # the README's 10; the released default, 20, never decays
    decay_factor: float = Field(0.1, gt=0, le=1)
    clip: float = Field(2.0, gt=0)  # largest gradient norm
    precision: Literal["float32", "float64", "bf16"] = "float32"  # bf16: autocast
    checkpoint_steps: int = Field(0, ge=0)  # also save every so many steps; 0: at epoch ends only


class Settings(Section):
    """Everything that a run needs to be repeated, beside its data."""

    data: DataSettings = DataSettings()
    model: AnyModel = NaafSettings()
    mining: MiningSettings = MiningSettings()
    loss: LossSettings = LossSettings()
    train: TrainSettings

    @model_validator(mode="after")
    def _fits(self):
        if self.mining.fixed_boundary is not None and self.mining.mode == "sequential":
            raise ValueError("mining.fixed_boundary leaves mining.mode sequential nothing to move")
        if self.loss.negatives != "adaptive" and self._is_set("loss.recall_momentum"):
            raise ValueError("loss.recall_momentum belongs to loss.negatives adaptive")
        mined = [name for name in OF_THE_BOUNDARY if self._is_set(name)]
        if mined and not self.model.has_boundary:
            having = " or ".join(method for method, kind in METHODS.items() if kind.has_boundary)
            what = mined[0] if mined[0] != "mining.mode" else f"mining.mode {self.mining.mode}"
            raise ValueError(f"{what} belongs to model.method {having}; {self.model.method} has no boundary")
        return self

    def _is_set(self, name: str) -> bool:
        """Whether a setting has another value than its default."""
        section, field = name.split(".")
        part = getattr(self, section)
        return bool(getattr(part, field) != type(part).model_fields[field].default)


# The safe start: hardest negatives only as far as a batch can be ranked, and a learning rate that rises. With
# the hardest negatives from the first step, or by the calendar, all scores can become equal (docs/log.md).
SAFE_START: dict[str, dict[str, object]] = {
    "loss": {"negatives": "adaptive"},
    "train": {"warmup_steps": 100},
}


def _safe(**sections: dict[str, object]) -> dict[str, dict[str, object]]:
    """The sections of a preset with the safe start."""
    names = dict.fromkeys([*SAFE_START, *sections])
    return {name: {**SAFE_START.get(name, {}), **sections.get(name, {})} for name in names}


# f30k and coco are the published arguments; f30k-safe and coco-safe the same with the safe start.
PRESET_VALUES: dict[str, dict[str, dict[str, object]]] = {
    "scenes": _safe(
        data={"min_word_count": 1},
        # 64 numbers of +-0.1 are half as long as the published 300: words would start at a cosine of 0.92
        model={"dim": 128, "word_dim": 64, "word_init": 0.5},
        mining={"min_words": 100},
        train={"seed": 0, "epochs": 6, "batch_size": 64, "learning_rate": 2e-3, "decay_epoch": 5},
    ),
    # an epoch on summed negatives first: five points of rsum at the end (docs/log.md)
    "flickr8k": _safe(
        model={"dim": 256}, loss={"warmup_epochs": 1}, train={"seed": 0, "epochs": 8, "decay_epoch": 6}
    ),
    "f30k": {
        "data": {"validation_images": 1000},
        "train": {"seed": 0},
    },
    "f30k-safe": _safe(data={"validation_images": 1000}, train={"seed": 0}),
    "coco": {
        "data": {"validation_images": 1000},
        "train": {"seed": 0, "batch_size": 256},
    },
    "coco-safe": _safe(data={"validation_images": 1000}, train={"seed": 0, "batch_size": 256}),
    "general": _safe(train={"seed": 0}),  # any other data set
}
PRESETS = tuple(PRESET_VALUES)
OTHER_DATA = "general"  # the preset of a data set that has none of its own


def names() -> list[str]:
    """Every setting as `section.field`, in the order of the file."""
    found = []
    for section, field in Settings.model_fields.items():
        kinds = METHODS.values() if section == "model" else (field.annotation,)
        fields = dict.fromkeys(name for kind in kinds for name in kind.model_fields)
        found += [f"{section}.{name}" for name in fields]
    return found


def preset(name: str, overrides: Mapping[str, object] = {}) -> Settings:
    """The settings of a preset with some values replaced.

    overrides: dotted names to values, text as it comes from a command line included.
    Raises UsageError for an unknown preset or name (with the nearest one) and for a value out of range.
    """
    if name not in PRESET_VALUES:
        raise UsageError(
            f"there is no preset {name!r}{nearest(name, PRESETS)} (presets: {', '.join(PRESETS)})"
        )
    values = {section: dict(fields) for section, fields in PRESET_VALUES[name].items()}
    return _settings(values, overrides)


def replace(settings: Settings, overrides: Mapping[str, object]) -> Settings:
    """The settings with some values replaced, validated again. Raises UsageError as `preset` does."""
    return _settings(settings.model_dump(), overrides)


SEED = "train.seed"


def flat(settings: Settings) -> dict[str, object]:
    """Every setting by its dotted name; of the similarities, those of its method."""
    parts = settings.model_dump().items()
    return {f"{section}.{name}": value for section, values in parts for name, value in values.items()}


def of_any_seed(settings: Settings) -> dict[str, object]:
    """`flat` without the seed: of members of one group the same."""
    return {name: value for name, value in flat(settings).items() if name != SEED}


def changed(was: Settings, now: Settings) -> dict[str, object]:
    """The settings that differ, by dotted name, with their new values."""
    before, usual = flat(was), flat(now.model_copy(update={"model": type(now.model)()}))
    return {name: value for name, value in flat(now).items() if value != before.get(name, usual[name])}


def assignments(texts: Iterable[str], source: str) -> dict[str, str]:
    """["train.epochs=5", ...] as a mapping; `preset` checks names and values.

    source: what the sentence calls them. Raises UsageError for a text that is no NAME=VALUE and for a name
    that comes twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not name:
            raise UsageError(f"{source} takes NAME=VALUE, for example train.epochs=5, and {text!r} is none")
        if name in found:
            raise UsageError(f"{source} has {name} twice; give it one value")
        found[name] = value
    return found


def nearest(name: str, known) -> str:
    """', did you mean ...?' or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _settings(values: dict[str, dict[str, object]], overrides: Mapping[str, object]) -> Settings:
    for name, value in overrides.items():
        if name not in names():
            raise UsageError(f"there is no setting {name!r}{nearest(name, names())}")
        section, field = name.split(".")
        values.setdefault(section, {})[field] = None if value in ("None", "null") else value
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        at = first.get("ctx", {}) if first["type"] == "method" else {}
        parts = [str(part) for part in (*first["loc"], *filter(None, [at.get("at")])) if part not in METHODS]
        place = ".".join(parts) if len(parts) > 1 else ""  # else of several settings together
        given = f" (given: {at.get('given', first['input'])!r})" if place else ""
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(
            f"setting {place or 'combination'}: {message[0].lower() + message[1:]}{given}"
        ) from None
