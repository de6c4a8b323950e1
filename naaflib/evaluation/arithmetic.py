"""What a process computes with: two that differ here give scores whose last digits differ."""

import os
from collections.abc import Sequence
from importlib.metadata import version

import torch

from ..devices import pick_device, product_kinds
from ..similarity.autograd import gpu_kernels, kernels

MKL = ("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS")  # settings that pick its instructions


def arithmetic(device: str = "auto", precision: str = "float32") -> dict[str, str]:
    """Device, instruction set, library versions, kernels and products of this process, each a short text.

    precision: the one that is computed with; a device may make another one of it (`devices.products`).
    """
    chosen = pick_device(device)
    return {
        "device": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else chosen.type,
        "instruction set": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "float32 products": product_kinds(chosen, precision),
        "fused kernels": _kernels(chosen),
        "MKL": " ".join(f"{name}={os.environ[name]}" for name in MKL if name in os.environ) or "as it comes",
    }


def _kernels(device: torch.device) -> str:
    if device.type == "cuda":
        module = gpu_kernels()
        return f"triton {version('triton')}" if module is not None and module.usable(device) else "none"
    if kernels() is None:
        return "none"
    from llvmlite.binding import get_host_cpu_name

    return f"numba {version('numba')} for {get_host_cpu_name()}"


def mixture(found: Sequence[dict[str, str]]) -> str | None:
    """One sentence on what workers differ in; None where they are alike."""
    values = {name: sorted({one[name] for one in found}) for name in (found[0] if found else ())}
    differing = [f"{name} ({', '.join(seen)})" for name, seen in values.items() if len(seen) > 1]
    if not differing:
        return None
    return (
        f"the workers differ in {', '.join(differing)}: a score's last digits depend on who computes it, and "
        "ranks may differ from one process's where scores are nearly equal; make them alike for exact ranks"
    )
