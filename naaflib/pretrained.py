"""Pretrained models by name or folder, and the checksum of a model's weights."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .errors import NaafError, first_line


def load(library: str, name: str, remedy: str, call: Callable[[], Any]) -> Any:
    """What a library loads by name. remedy: how the sentence ends where there is nothing to load.

    Raises NaafError where the name is neither a folder, nor in the cache, nor to be had.
    """
    looks_like_path = name.startswith(("/", ".", "~")) or name.count("/") > 1
    if looks_like_path and not Path(name).exists():
        raise NaafError(f"{name} does not exist; {remedy}")
    try:
        return call()
    except Exception as error:  # of the network, the cache, the files' formats: they share no base
        raise NaafError(f"{library} cannot load {name!r} ({first_line(error)}); {remedy}") from None


def load_transformers(kind: Any, name: str, remedy: str, optional: str = "", **how: object) -> Any:
    """A model, configuration, processor or tokenizer: kind.from_pretrained(name, **how).

    kind: an Auto class. optional: weights whose name holds this may be missing. Raises NaafError as `load`
    does, and where the files lack a weight, which would stay random.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()  # a model is loaded in a moment
    if "Model" not in kind.__name__:
        return load("transformers", name, remedy, lambda: kind.from_pretrained(name, **how))
    how["output_loading_info"] = True
    model, loaded = load("transformers", name, remedy, lambda: kind.from_pretrained(name, **how))
    missing = sorted(key for key in loaded["missing_keys"] if not optional or optional not in key)
    if missing:
        raise NaafError(f"{name}: its files lack the weight {missing[0]}, which would be random; {remedy}")
    return model


def weights_digest(model: nn.Module) -> str:
    """SHA-256 of a model's weights and their names."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
