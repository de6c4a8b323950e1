"""A variant of a trained run: its weights under other settings of inference, as a run folder of its own.

Evaluation, explanation and notebooks read it as any other run: its checkpoint carries the changed settings.
config.json has the kind `variant` and says whose weights they are. In sweeps and comparisons a variant is any
setting with a name, trained or made so.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..config import MODEL_NAMES, ModelSettings, Settings, names, nearest, replace
from ..data.splits import Split, open_split
from ..devices import pick_device
from ..errors import NaafError, UsageError
from ..evaluation import evaluate, validation_metrics
from ..explanation import matched_samples
from ..files import resolve, shown, write_json
from ..messages import say
from ..metric.retrieval import MEASURES, RetrievalMetrics
from ..model import checkpoint
from ..model.model import Model
from ..runs import VARIANT, Run, check_apart, environment
from ..similarity.boundary import Boundaries
from .folder import open_splits

FIXED = "mining.fixed_boundary"
OF_SIMILARITIES = (f"model.{name}" for name in MODEL_NAMES if name not in ModelSettings.model_fields)
AT_INFERENCE = (*OF_SIMILARITIES, FIXED)


def variant_settings(settings: Settings, overrides: Mapping[str, object]) -> Settings:
    """A trained run's settings with some of inference replaced. Raises UsageError for one that training uses.

    A learnt boundary is not in the settings: mining.fixed_boundary cannot be taken back.
    """
    for name in overrides:
        if name not in names():
            raise UsageError(f"there is no setting {name!r}{nearest(name, names())}")
        if name not in AT_INFERENCE:
            raise UsageError(
                f"{name} acts in training too; trained weights take only {', '.join(AT_INFERENCE)}"
            )
    changed = replace(settings, overrides)
    if changed == settings:
        raise UsageError(
            "nothing changes; a variant names a setting of inference, such as model.lambda_intra=null"
        )
    if changed.mining.fixed_boundary is None and settings.mining.fixed_boundary is not None:
        raise UsageError(f"{FIXED} was fixed in training, so there is no learnt boundary to go back to")
    return changed


def make_variant(
    source: Run | str | Path,
    overrides: Mapping[str, object],
    out: str | Path,
    *,
    data: str | Path | None = None,
    device: str = "auto",
) -> Run:
    """The weights of a trained run under other settings of inference, as the run folder `out`.

    overrides: dotted names of AT_INFERENCE to values. data: the folder that the source was trained on; by
    default where its record says. The kept epoch is validated anew: history.csv has its recalls under the
    changed settings, and none for the other epochs, whose weights are gone; losses, steps, vocabulary and the
    other epochs' samples are the source's. The dev scores are kept, unless data.validation_images makes them
    those of a part of the split. config.json is written last, so that a folder with one is whole.
    Raises UsageError for settings that training uses and an `out` inside the source's folder, NaafError for
    one that holds a run already.
    """
    run = checkpoint.one_member(source.path if isinstance(source, Run) else source)
    settings, out = variant_settings(run.settings, overrides), resolve(out)
    if (out / "config.json").exists():
        raise NaafError(f"{shown(out)} already holds a run; take another folder for the variant")
    check_apart(out, run)
    folder = resolve(data) if data is not None else run.data_folder
    weights = run.config.get("weights") or {
        "run": str(run.path.resolve()),
        "settings": run.config["settings"],
    }
    variant = Run(
        out,
        {
            "kind": VARIANT,
            "settings": settings.model_dump(),
            "data": {**run.config["data"], "folder": str(folder.resolve())},
            "start": run.config.get("start", {}),
            "weights": {**weights, "sha256": checkpoint.weights_digest(run.checkpoint("best"))},
            "environment": environment(),
        },
    )
    model, epoch = _model(run, settings)
    say("validating the weights anew under the changed settings")
    _write(run, variant, model, epoch, folder, device)
    write_json(variant.path / "config.json", variant.config)
    return variant


def _model(run: Run, settings: Settings) -> tuple[Model, int]:
    """The source's best model with the changed settings, and the epoch that it is of."""
    epoch = int(checkpoint.header(run.checkpoint("best"))["progress"]["epoch"])
    model = checkpoint.load_checkpoint(run.checkpoint("best"))
    model.settings = settings.model
    if settings.mining.fixed_boundary is not None:
        model.boundary = Boundaries(settings.mining.fixed_boundary, settings.mining.fixed_boundary)
    return model, epoch


def _write(run: Run, variant: Run, model: Model, epoch: int, data: Path, device: str) -> None:
    """Everything but config.json."""
    history, steps, samples = run.history(), run.steps(), run.samples()  # whole, or nothing is written
    _, dev = open_splits(data, variant.settings)
    model = model.to(pick_device(device))
    progress = checkpoint.header(run.checkpoint("best"))["progress"]
    progress.pop("best", None)  # the source's
    checkpoint.save(variant.checkpoint("best"), model, progress)  # first: the scores say whose they are
    metrics = _validated(variant, model, data, dev)
    write_json(variant.path / "vocabulary.json", model.vocabulary.to_json())
    history.loc[history["epoch"] != epoch, list(MEASURES)] = np.nan
    history.loc[history["epoch"] == epoch, list(MEASURES)] = [*metrics.measures().values()]
    variant.save_log("history.csv", history)
    variant.save_log("steps.csv", steps)
    for logged, found in (samples | {epoch: matched_samples(model, dev)}).items():
        variant.save_samples(logged, found)


def _validated(variant: Run, model: Model, data: Path, dev: Split) -> RetrievalMetrics:
    if len(dev) < len(open_split(data, dev.name)):
        return validation_metrics(model, dev)
    return evaluate(model, data, split=dev.name, device=str(model.device), out=variant.path).metrics
