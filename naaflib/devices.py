"""The device that torch computes on, by name, and the memory beside it."""

import math
import os

import torch

from .errors import UsageError


def pick_device(device: str) -> torch.device:
    """ "auto": a GPU where there is one. Raises UsageError for a device that torch cannot use here."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device).cpu()  # "meta" is a device without numbers
        return torch.device(device)
    except (RuntimeError, AssertionError):
        raise UsageError(f"torch cannot use the device {device!r} here; cpu always works") from None


def memory_bytes() -> float:
    """This machine's memory; infinite where the system does not tell it."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf
