"""The device that torch computes on, its number types and switches, and the memory beside it.

`products` and `repeatable` turn switches of the whole process, and turn them back: one thread enters them,
for all that compute.
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch

from .errors import UsageError, unknown
from .messages import say

# cuBLAS adds in the same order every time where it finds this when it starts
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
AMPERE = (8, 0)  # the first compute capability with TF32


class Precision(NamedTuple):
    """What a precision's name stands for."""

    weights: torch.dtype = torch.float32
    autocast: torch.dtype | None = None  # the type of products in training; None: the weights'
    tf32: bool = False  # whether a GPU rounds the factors of a float32 product to 10 bits


PRECISIONS = {
    "float32": Precision(),
    "tf32": Precision(tf32=True),
    "bf16": Precision(autocast=torch.bfloat16),
    "fp16": Precision(autocast=torch.float16),
    "float64": Precision(torch.float64),
}


def precision_of(name: str) -> Precision:
    """Raises UsageError for a name that is none."""
    if name not in PRECISIONS:
        raise unknown("precision", name, PRECISIONS)
    return PRECISIONS[name]


def pick_device(device: str) -> torch.device:
    """ "auto": a GPU where there is one. Raises UsageError for a device that torch cannot use here."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        os.environ.setdefault(*WORKSPACE)
    try:
        torch.empty(0, device=device).cpu()  # "meta" is a device without numbers
        return torch.device(device)
    except (RuntimeError, AssertionError):
        raise UsageError(f"torch cannot use the device {device!r} here; cpu always works") from None


def has_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE


def check_precision(name: str, device: torch.device) -> None:
    """Says where the device makes another precision of it, or has a better one.

    Raises UsageError where the device does not have it.
    """
    precision = precision_of(name)
    if precision.autocast is not None and not torch.amp.is_autocast_available(device.type):
        raise UsageError(f"train.precision {name} needs torch's autocast, which {device} lacks; take float32")
    say_of_tf32(name, device, "train.precision")
    if precision.autocast is torch.float16 and device.type == "cpu":
        say(f"train.precision {name} is made for GPUs; on {device} bf16 has the range that it lacks")


def say_of_tf32(name: str, device: torch.device, setting: str = "precision") -> None:
    """Says where a device computes in float32 what tf32 is asked of."""
    if precision_of(name).tf32 and not has_tf32(device):
        say(f"{setting} {name} is float32 on {device}: only NVIDIA's GPUs since Ampere have TF32")


def autocast(name: str, device: torch.device) -> AbstractContextManager[Any]:
    """In it the products of training are of the precision's type."""
    kind = precision_of(name).autocast
    return nullcontext() if kind is None else torch.autocast(device.type, kind)


@contextmanager
def products(name: str) -> Iterator[None]:
    """In it all products of float32 numbers are alike: TF32 on a GPU for "tf32", else IEEE.

    By torch's defaults they are not: a GPU has TF32 in the GRU (cuDNN) and IEEE in a matmul (cuBLAS).
    Raises UsageError for a name that is no precision.
    """
    tf32 = precision_of(name).tf32
    with _turned([(s.owner, s.field, s.value(tf32 and s.device == "cuda")) for s in _switches()]):
        yield


def product_kinds(device: torch.device, name: str | None = None) -> str:
    """How the device computes products of float32 numbers: "ieee", or each kind of product apart.

    name: of what `products` would make of this precision; None: as the switches stand now.
    """
    if name is not None:
        return "tf32" if precision_of(name).tf32 and has_tf32(device) else "ieee"
    kinds = {switch.product: switch.kind(device) for switch in _switches() if switch.device == device.type}
    if len(set(kinds.values())) <= 1:
        return next(iter(kinds.values()), "ieee")
    return ", ".join(f"{product} {kind}" for product, kind in kinds.items())


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """In it a GPU computes the same bits every time, as far as torch can; it warns where it cannot.

    A CPU does so anyway.
    """
    if device.type != "cuda":
        yield
        return
    mode = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("warn")
    try:
        # torch would fill every new tensor with NaN in this mode; nothing here reads one before it is written
        unfilled = torch.utils.deterministic, "fill_uninitialized_memory", False
        with _turned([unfilled, (torch.backends.cudnn, "benchmark", False)]):
            yield
    finally:
        torch.set_deterministic_debug_mode(mode)


def memory_bytes() -> float:
    """This machine's memory; infinite where the system does not tell it."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf


class _Switch(NamedTuple):
    """Where torch keeps how float32 numbers are multiplied."""

    device: str
    product: str
    owner: Any
    field: str = "fp32_precision"

    def value(self, tf32: bool) -> str | bool:
        return tf32 if self.field == "allow_tf32" else "tf32" if tf32 else "ieee"

    def kind(self, device: torch.device) -> str:
        value = getattr(self.owner, self.field)
        if value in ("none", False) or (device.type == "cuda" and not has_tf32(device)):
            return "ieee"
        return "tf32" if value is True else value


def _switches() -> list[_Switch]:
    """All of them. The two forms must not be mixed: torch refuses to read the older one after that."""
    on = torch.backends
    if not hasattr(on.cuda.matmul, "fp32_precision"):  # before torch 2.9
        owners = {"matmul": on.cuda.matmul, "GRU and convolution": on.cudnn}
        return [_Switch("cuda", product, owner, "allow_tf32") for product, owner in owners.items()]
    places = {"cuda": (on.cuda.matmul, on.cudnn.rnn, on.cudnn.conv)}
    places["cpu"] = (on.mkldnn.matmul, on.mkldnn.rnn, on.mkldnn.conv)
    kinds = ("matmul", "GRU", "convolution")
    return [
        _Switch(device, product, owner)
        for device, owners in places.items()
        for product, owner in zip(kinds, owners, strict=True)
    ]


@contextmanager
def _turned(places: Sequence[tuple[Any, str, Any]]) -> Iterator[None]:
    """In it attributes (owner, name, value) have these values."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    try:
        for owner, name, value in places:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
