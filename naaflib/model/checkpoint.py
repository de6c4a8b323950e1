"""Checkpoints: our own format, and the authors' released one, read safely.

Ours is one safetensors file: tensors by name, and in its header a JSON with everything else (settings,
vocabulary, progress). No pickle. A released `.pth.tar` is a pickle: it is read through
`torch.load(weights_only=True)` with an allow-list of exactly what such files hold.
"""

import argparse
import codecs
import hashlib
import json
import math
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes
from torch import Tensor

from ..config import model_settings
from ..data.vocabulary import Vocabulary
from ..errors import NaafError, UsageError
from ..files import atomic_path, missing, resolve, shown
from ..runs import CHECKPOINT_FORMAT, Run, best_member, members
from ..runs import checkpoint_header as header
from ..similarity.boundary import Boundaries
from ..similarity.scan import CROSS_ATTN
from .bert import Pretrained
from .encoders import GruEncoder
from .model import Model

LARGEST_WEIGHT = 1e6  # no trained network has one of that size
SCAN_OPTIONS: dict[str, tuple[object, tuple[object, ...]]] = {  # SCAN's default, and what `scan` computes
    "cross_attn": ("t2i", tuple(CROSS_ATTN)),
    "raw_feature_norm": ("clipped_l2norm", ("clipped_l2norm",)),
    "agg_func": ("LogSumExp", ("LogSumExp", "Mean")),
    "bi_gru": (False, (True,)),
    "num_layers": (1, (1,)),
}


def save(
    path: Path,
    model: Model,
    progress: Mapping[str, object],
    extra: Mapping[str, Tensor] = {},
    older: Path | None = None,
) -> None:
    """Write a checkpoint whole or not at all. extra: further tensors (optimizer, random state).

    older: where the checkpoint that has the name now stays.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    header = {
        "format": CHECKPOINT_FORMAT,
        "model": model.settings.model_dump(),
        "region_dim": model.region_dim,
        "words": words_of(model),
        "vocabulary": model.vocabulary.to_json() if model.vocabulary else None,
        "progress": dict(progress),
    }
    whole = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in {**tensors, **model.text_encoder.stored(), **extra}.items()
    }
    with atomic_path(path, older) as partial:
        partial.write_bytes(as_bytes(whole, {"naaf": json.dumps(header)}))  # save_file: for its owner alone


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and header of a checkpoint of ours. Raises NaafError for anything else."""
    about = header(path)
    return load_file(path), about


def model_state(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The model's part of a checkpoint's tensors, as its state_dict."""
    return {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}


def words_of(model: Model) -> int:
    """How many words the text encoder has vectors for; of one that reads pieces, how many it has learnt."""
    encoder = model.text_encoder
    return encoder.embed.num_embeddings if isinstance(encoder, GruEncoder) else len(encoder.vocabulary or ())


def weights_digest(path: Path) -> str:
    """SHA-256 of a checkpoint's model: equal weights give it, however long their training took."""
    tensors, _ = read(path)
    digest = hashlib.sha256()
    for name, tensor in sorted(model_state(tensors).items()):
        digest.update(f"model.{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_checkpoint(path: str | Path, vocabulary: str | Path | None = None) -> Model:
    """A trained model from a run folder (its best epoch), a checkpoint of ours or a released `.pth.tar`
    (NAAF's or SCAN's).

    vocabulary: the JSON that belongs to a released checkpoint; needed only to encode text. Checked by size.
    Raises NaafError for a file that is missing, damaged, or does not fit its vocabulary.
    """
    path = resolve(path)
    if path.is_dir():
        path = one_member(path).checkpoint("best")
    if path.suffix == ".safetensors":
        model = _own(path)
    elif path.is_file():
        model = _released(path)
    else:
        raise NaafError(f"{missing(path)}; name a run folder, a .safetensors or a released .pth.tar")
    if vocabulary is not None:
        _attach(model, Path(vocabulary), path)
    return model.eval()


def one_member(path: str | Path) -> Run:
    """The single trained run of a folder. Raises NaafError where there are several to choose from."""
    found = members(path)
    if len(found) > 1:
        names = ", ".join(shown(run.path) for run in found)
        best = found[best_member(found)]
        of_best = "" if math.isnan(best.best_rsum) else f"; best on dev: {shown(best.path)}"
        raise NaafError(
            f"{shown(path)} holds {len(found)} members; name one ({names}{of_best}) or use naaf ensemble"
        )
    return found[0]


def data_folder(source: Model | Run | str | Path | None, data: str | Path | None = None) -> Path:
    """The data set's folder: `data` where it is named, else the one that the source's run records.

    source: a run or its folder, or a checkpoint in one. Raises NaafError where no run records a folder, and
    where it is not there any more.
    """
    if data is not None:
        return resolve(data)
    if isinstance(source, Run):
        run = source
    else:
        path = None if source is None or isinstance(source, Model) else resolve(source)
        if path is not None and path.is_file() and (path.parents[1] / "config.json").is_file():
            path = path.parents[1]  # of run/checkpoints/best.safetensors
        if path is None or path.is_file():
            name = shown(path) if path else "a model"
            raise UsageError(f"{name} does not record its data set; give its folder as data (--data DIR)")
        run = one_member(path)
    folder = run.data_folder
    if not folder.is_dir():
        raise NaafError(
            f"{shown(run.path)} was made with the data set in {folder}, which is not there any more; give "
            "the folder where it is now as data (--data DIR)"
        )
    return folder


def _own(path: Path) -> Model:
    tensors, header = read(path)
    try:
        vocabulary = Vocabulary.from_json(header["vocabulary"]) if header["vocabulary"] else None
        settings = model_settings(**header["model"])
        pretrained = Pretrained.restored(tensors) if settings.text_encoder == "bert" else None
        model = Model(settings, header["region_dim"], header["words"], vocabulary, pretrained)
        state = model_state(tensors)
        if state["image_encoder.fc.bias"].dtype == torch.float64:
            model.double()
        model.load_state_dict(state)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise NaafError(f"{shown(path)} is damaged, or of another version ({_reason(error)})") from None
    if fault := faulty(state) or _vocabulary_fault(model):
        raise NaafError(f"{shown(path)} is damaged: {fault}; restore it, or train its run again")
    return model


def faulty(state: Mapping[str, Tensor]) -> str:
    """What makes weights give wrong scores without a word; empty where nothing does.

    Whole numbers, which would be read as weights; NaN, infinity, and numbers so large that scores become 0.
    """
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            return f"{name} holds {str(tensor.dtype).removeprefix('torch.')}, not floating-point numbers"
        largest = float(tensor.detach().abs().max()) if tensor.numel() else 0.0
        if not largest <= LARGEST_WEIGHT:
            what = f"a number of size {largest:.0e}" if math.isfinite(largest) else "NaN or infinity"
            return f"{name} holds {what}"
    return ""


def _vocabulary_fault(model: Model) -> str:
    words = words_of(model)
    if model.vocabulary is not None and len(model.vocabulary) != words:
        return f"its vocabulary has {len(model.vocabulary)} words and its weights are of {words}"
    return ""


def _reason(error: Exception) -> str:
    """An error's kind and the first line of what it says."""
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])


def _attach(model: Model, file: Path, path: Path) -> None:
    vocabulary, words = Vocabulary.read(resolve(file)), words_of(model)
    if len(vocabulary) != words:
        raise NaafError(
            f"{shown(file)} holds {len(vocabulary)} words and {shown(path)} was trained on {words}; "
            "Bi-GRU and GloVe checkpoints have vocabularies of their own"
        )
    if model.vocabulary is not None and model.vocabulary != vocabulary:
        raise NaafError(
            f"{shown(path)} carries its own vocabulary, and {shown(file)} is another; leave it out"
        )
    model.vocabulary = vocabulary


def _safe_globals() -> list[object]:
    """What a released checkpoint's pickle may name: the options, and numpy numbers of any release."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [
        type(np.dtype(kind))
        for kind in ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
    ]
    scalars = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [argparse.Namespace, np.dtype, codecs.encode, *kinds, *scalars]


def _released(path: Path) -> Model:
    try:
        with torch.serialization.safe_globals(_safe_globals()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        reason = (
            f"its pickle wants {named[1]}, which could run any program"
            if named
            else "it is no checkpoint, or its pickle holds more than tensors and options; name a run folder, "
            "a .safetensors or a released .pth.tar"
        )
        raise NaafError(f"{shown(path)} is not read: {reason}") from None
    except Exception as error:  # a damaged pickle may raise anything, as pickle's documentation says
        raise NaafError(f"{shown(path)} is not a whole checkpoint ({_reason(error)})") from None
    try:
        image, text = ({k.removeprefix("module."): v for k, v in state.items()} for state in content["model"])
        return _from_released(image, text, vars(content["opt"]))
    except NaafError as error:
        raise NaafError(f"{shown(path)} is {error}") from None
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise NaafError(f"{shown(path)} is no released NAAF checkpoint ({_reason(error)})") from None


def _from_released(image: dict[str, Tensor], text: dict[str, Tensor], options: dict) -> Model:
    if options.get("no_imgnorm") or options.get("no_txtnorm"):
        raise ValueError("trained without unit norm, which NAAF needs")
    normed = "fc.weight_g" in image
    if normed:
        image["fc.parametrizations.weight.original0"] = image.pop("fc.weight_g").reshape(())
        image["fc.parametrizations.weight.original1"] = image.pop("fc.weight_v")
    if "embed.glove.weight" in text:  # GloVe vectors, with random ones beside them where they were asked for
        parts = [text.pop(name) for name in ("embed.glove.weight", "embed.embed.weight") if name in text]
        text["embed.weight"] = torch.cat(parts, dim=1)
    if fault := faulty(image) or faulty(text):
        raise NaafError(f"damaged: {fault}; download it again")
    dim = len(image["fc.bias"])
    words, word_dim = text["embed.weight"].shape
    settings = model_settings(
        dim=dim,
        word_dim=word_dim,
        image_encoder="weight-norm" if normed else "linear",
        lambda_softmax=options.get("lambda_softmax"),
        **_scan_settings(options),
    )  # lambda_intra stays 5 whatever using_intra_info says: the released test code sets it itself
    weight = image.get("fc.parametrizations.weight.original1", image.get("fc.weight"))
    model = Model(settings, weight.shape[1], words).to(weight.dtype)
    model.image_encoder.load_state_dict(image)
    model.text_encoder.load_state_dict(text)
    if model.similarity.needs_boundary:
        model.boundary = Boundaries(float(options.get("thres", 0.0)), float(options["thres_safe"]))
        if not all(map(math.isfinite, model.boundary)):
            raise NaafError("damaged: its boundary (thres, thres_safe) is not finite; download it again")
    return model


def _scan_settings(options: dict) -> dict[str, object]:
    """The similarity of SCAN's own checkpoints, which have cross_attn and no boundary; {} for NAAF's."""
    if "thres_safe" in options:
        return {}
    if "cross_attn" not in options:
        raise NaafError(
            "no released NAAF checkpoint (its options lack thres_safe), nor SCAN's (they lack cross_attn); "
            "train a model of this library with naaf train"
        )
    for name, (usual, computed) in SCAN_OPTIONS.items():
        if options.get(name, usual) not in computed:
            raise NaafError(
                f"a checkpoint of SCAN with {name} {options.get(name, usual)}; this library computes "
                f"{' and '.join(map(str, computed))}: train SCAN with naaf train "
                f"--set model.method={CROSS_ATTN['t2i'].method}"
            )
    found: dict[str, object] = {"method": CROSS_ATTN[options["cross_attn"]].method}
    if options.get("agg_func", "LogSumExp") == "LogSumExp":
        found |= {"pooling": "lse", "lambda_lse": options.get("lambda_lse", 6.0)}
    return found
