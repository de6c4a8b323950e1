"""Every number that changes a result: validated, frozen, with its source. No path, no device, no argparse.

A setting is named by its section and field, `train.epochs`; `preset("f30k", {"train.epochs": 5})` makes a
whole `Settings`. What a run used stands in its `config.json`.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
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

    def is_set(self, name: str) -> bool:
        """Whether a setting has another value than its default."""
        return bool(getattr(self, name) != type(self).model_fields[name].default)


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
    text_encoder: Literal["bi-gru", "bert"] = "bi-gru"  # bert: a text model of transformers (--bert)
    # GloVe's vectors, or BERT, stay as they came; the released code fine-tunes its GloVe (it means to freeze)
    freeze_words: bool = False


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
        if self.pooling == "mean" and self.is_set("lambda_lse"):
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


TYPES = (
    NaafSettings,
    ScanT2iSettings,
    ScanI2tSettings,
    ChanSettings,
    VseSettings,
)
METHODS: dict[str, type[ModelSettings]] = {kind.model_fields["method"].default: kind for kind in TYPES}
MODEL_NAMES = tuple(dict.fromkeys(name for kind in METHODS.values() for name in kind.model_fields))


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
    own, kept = METHODS[method].model_fields, {"method": method}
    for name, value in values.items():
        owners = {other: kind for other, kind in METHODS.items() if name in kind.model_fields}
        if name in own or not owners:
            kept[name] = value
        elif not any(_is_default(kind, name, value) for kind in owners.values()):
            belongs = f"belongs to model.method {' or '.join(owners)}; {method} has no such part"
            raise _at(name, value, belongs)
    return kept


def _at(name: str, given: object, sentence: str) -> PydanticCustomError:
    return PydanticCustomError("method", "{sentence}", {"sentence": sentence, "at": name, "given": given})


def _is_default(kind: type[ModelSettings], name: str, value: object) -> bool:
    try:
        return not kind.model_validate({name: value}).is_set(name)
    except ValidationError:
        return False


def _method(values: object) -> object:
    return values["method"] if isinstance(values, Mapping) else getattr(values, "method", None)


_TAGGED = tuple(Annotated[kind, Tag(method)] for method, kind in METHODS.items())
AnyModel = Annotated[Union[_TAGGED], Discriminator(_method), BeforeValidator(_of_its_method)]  # noqa: UP007


def model_settings(**values: object) -> ModelSettings:
    """The settings of values["method"] (the default one's without). Raises pydantic's ValidationError."""
    return Settings(model=values, train={"seed": 0}).model


class MiningSettings(Section):
    """The boundary between matched and mismatched similarities (eq. 1-5)."""

    mode: Literal["batch", "sequential"] = "batch"  # sequential: the released code's bookkeeping, exactly
    alpha: float = Field(2.0, gt=0)  # price of taking a mismatched word as matched
    momentum: float = Field(0.7, gt=0, le=1)  # weight of a batch's estimate in the running boundary
    min_words: int = Field(200, ge=2)  # an estimate needs more sampled words than this
    fixed_boundary: float | None = Field(None, ge=-1, le=1)  # not mined: this value, in training and after


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
    bert_learning_rate: float = Field(5e-5, gt=0, le=1)  # of BERT's own weights; a tenth of the others'
    bert_warmup_steps: int = Field(0, ge=0)  # as warmup_steps, for BERT's own weights
    decay_epoch: int = Field(10, ge=1)  # the README's 10; the released default, 20, never decays
    decay_factor: float = Field(0.1, gt=0, le=1)
    clip: float = Field(2.0, gt=0)  # largest gradient norm
    # of products; devices.PRECISIONS says what each is. Fidelity (scores to 1e-5) is promised for float32 and
    # float64 alone. tf32 is a GPU's; bf16 and fp16 are autocast: the weights stay float32
    precision: Literal["float32", "tf32", "bf16", "fp16", "float64"] = "float32"
    caption_chunk: int = Field(0, ge=0)  # captions whose activations are held at a time; 0: of the batch
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
        if self.model.text_encoder != "bert" or self.model.freeze_words:
            for name in ("bert_learning_rate", "bert_warmup_steps"):
                if self.train.is_set(name):
                    raise ValueError(f"train.{name} belongs to model.text_encoder bert that is not frozen")
        if self.loss.negatives != "adaptive" and self.loss.is_set("recall_momentum"):
            raise ValueError("loss.recall_momentum belongs to loss.negatives adaptive")
        # min_words, which a preset sets for its data, does no harm without a boundary
        mined = [name for name in ("mode", "alpha", "momentum", "fixed_boundary") if self.mining.is_set(name)]
        if mined and not self.model.has_boundary:
            having = " or ".join(method for method, kind in METHODS.items() if kind.has_boundary)
            what = f"mode {self.mining.mode}" if mined[0] == "mode" else mined[0]
            raise ValueError(
                f"mining.{what} belongs to model.method {having}; {self.model.method} has no boundary"
            )
        return self


SEED = "train.seed"
# The safe start: hardest negatives only as far as a batch can be ranked, and a learning rate that rises. With
# the hardest negatives from the first step, or by the calendar, all scores can become equal (docs/log.md).
SAFE_START: dict[str, object] = {"loss.negatives": "adaptive", "train.warmup_steps": 100}

# f30k and coco are the published arguments; f30k-safe and coco-safe the same with the safe start.
F30K: dict[str, object] = {"data.validation_images": 1000}
COCO = F30K | {"train.batch_size": 256}
PRESET_VALUES: dict[str, dict[str, object]] = {
    "scenes": SAFE_START
    | {
        "data.min_word_count": 1,
        "model.dim": 128,
        # 64 numbers of +-0.1 are half as long as the published 300: words would start at a cosine of 0.92
        "model.word_dim": 64,
        "model.word_init": 0.5,
        "mining.min_words": 100,
        "train.epochs": 6,
        "train.batch_size": 64,
        "train.learning_rate": 2e-3,
        "train.decay_epoch": 5,
    },
    # an epoch on summed negatives first: five points of rsum at the end (docs/log.md)
    "flickr8k": SAFE_START
    | {"model.dim": 256, "loss.warmup_epochs": 1, "train.epochs": 8, "train.decay_epoch": 6},
    "f30k": F30K,
    "f30k-safe": F30K | SAFE_START,
    "coco": COCO,
    "coco-safe": COCO | SAFE_START,
    "general": SAFE_START,  # any other data set
    # any other with few train captions: small batches, or an epoch would have a handful of steps
    "general-small": SAFE_START
    | {
        "data.min_word_count": 2,
        "model.dim": 256,
        "mining.min_words": 50,
        "loss.warmup_epochs": 1,
        "train.epochs": 12,
        "train.batch_size": 32,
        "train.warmup_steps": 20,
        "train.decay_epoch": 10,
    },
}
PRESETS = tuple(PRESET_VALUES)
OTHER_DATA, SMALL_DATA = "general", "general-small"  # presets of a data set that has none of its own
FEW_CAPTIONS = 5_000  # in train; below, SMALL_DATA


def names() -> list[str]:
    """Every setting as `section.field`, in the order of the file."""
    return [
        f"{section}.{name}"
        for section, field in Settings.model_fields.items()
        for name in (MODEL_NAMES if section == "model" else field.annotation.model_fields)
    ]


def preset(name: str, overrides: Mapping[str, object] = {}) -> Settings:
    """The settings of a preset with some values replaced.

    overrides: dotted names to values, text as it comes from a command line included.
    Raises UsageError for an unknown preset or name (with the nearest one) and for a value out of range.
    """
    if name not in PRESET_VALUES:
        raise UsageError(
            f"there is no preset {name!r}{nearest(name, PRESETS)} (presets: {', '.join(PRESETS)})"
        )
    return _settings({}, {SEED: 0, **PRESET_VALUES[name], **overrides})


def replace(settings: Settings, overrides: Mapping[str, object]) -> Settings:
    """The settings with some values replaced, validated again. Raises UsageError as `preset` does."""
    return _settings(settings.model_dump(), overrides)


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


def is_none(value: object) -> bool:
    """Whether a value, or what a command line or a YAML has for it, is None: none or null, in any case."""
    return value is None or str(value).lower() in ("none", "null")


def nearest(name: str, known) -> str:
    """', did you mean ...?' or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _settings(values: dict[str, dict[str, object]], overrides: Mapping[str, object]) -> Settings:
    for name, value in overrides.items():
        if name not in names():
            raise UsageError(f"there is no setting {name!r}{nearest(name, names())}")
        section, field = name.split(".")
        values.setdefault(section, {})[field] = None if is_none(value) else value
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        context = {"given": first["input"], **first.get("ctx", {})}
        parts = [*first["loc"], *filter(None, [context.get("at")])]
        place = ".".join(str(part) for part in parts if part not in METHODS)
        several = "." not in place  # settings that do not fit each other
        given = "" if several else f" (given: {context['given']!r})"
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(
            f"setting {'combination' if several else place}: {message[0].lower() + message[1:]}{given}"
        ) from None
