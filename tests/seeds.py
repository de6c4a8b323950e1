"""Seeds of the tests' random data, models and trainings: `pytest --seed-offset N` adds N to every one.

What a test states holds for any seed. Stored numbers (tests/reference) keep their own input.
"""

import numpy as np
import torch

OFFSET = 0  # conftest.py sets it before a test file is read


def shifted(seed: int = 0) -> int:
    return seed + OFFSET


def rng(seed: int = 0, *more: int) -> np.random.Generator:
    return np.random.default_rng([shifted(seed), *more] if more else shifted(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(shifted(seed))


def manual_seed(seed: int = 0) -> None:
    """Before a model is made."""
    torch.manual_seed(shifted(seed))
