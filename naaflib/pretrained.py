"""Pretrained models of transformers by name or folder, and the checksum of a model's weights."""

import hashlib
from typing import Any

import torch
from torch import nn

from .errors import NaafError


def load_pretrained(kind: Any, name: str, remedy: str, optional: str = "", **how: object) -> Any:
    """A model, configuration, processor or tokenizer: kind.from_pretrained(name, **how).

    kind: an Auto class of transformers. remedy: how the sentence ends where there is nothing to load.
    optional: of a model, weights whose name holds this may be missing. Raises NaafError where the name is
    neither a folder, nor in the cache, nor to be had, and where the files lack a weight, which would stay
    random.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()  # a model is loaded in a moment
    is_model = "Model" in kind.__name__
    try:
        found = kind.from_pretrained(name, **how, **({"output_loading_info": True} if is_model else {}))
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0]
        raise NaafError(f"transformers cannot load {str(name)!r} ({first}); {remedy}") from None
    if not is_model:
        return found
    model, loaded = found
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
