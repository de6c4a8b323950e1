"""Numbers that were written as another type than they are read as: float16 read as float32, for instance.

Bytes do not say their type. Read wrongly, though, numbers spread over far more orders of magnitude: float16
read as float32 about eight times as many, because exponent bits move. Nothing here changes a number.
"""

import numpy as np

READ_AS = "<f4"
TYPES = {
    "<f2": "float16",
    "<f8": "float64",
    ">f4": "big-endian float32",
    ">f2": "big-endian float16",
    ">f8": "big-endian float64",
    "<i4": "int32",
    "<i8": "int64",
}
FEWEST = 128  # numbers: fewer say nothing
# The spread of n logarithms is known to one part in sqrt(n) (kurtosis near 5): of 16 to a quarter, so that a
# factor of 3 is no accident.
FEWEST_NONZERO = 16
WIDER = 3.0  # times the spread: a wrong reading of float16 has about 8, of all others more
SIZES = (2.0**-40, 2.0**20)  # a median outside is no feature and no pixel
WIDEST = 6.0  # standard deviation of log2: normal values have 1.6, probabilities of a softmax up to 8


def other_type(content: bytes, rows: int) -> str | None:
    """The type that the bytes of `rows` regions show more plainly than float32, or None.

    float32 stands unless another reading is finite, of a plausible size, fits the regions and spreads
    over a third of the orders of magnitude at most. Fewer than 128 numbers, or 16 not zero, are float32.
    """
    numbers = np.frombuffer(content[: len(content) // 4 * 4], dtype=READ_AS)
    if numbers.size < FEWEST or np.count_nonzero(numbers) < FEWEST_NONZERO:
        return None
    usual = _spread(content, READ_AS)
    limit = WIDEST if usual is None else usual / WIDER
    fitting = [code for code in TYPES if len(content) % (rows * np.dtype(code).itemsize) == 0]
    spreads = {code: spread for code in fitting if (spread := _spread(content, code)) is not None}
    best = min(spreads, key=lambda code: spreads[code], default=READ_AS)
    return TYPES[best] if best in spreads and spreads[best] < limit else None


def _spread(content: bytes, code: str) -> float | None:
    """Standard deviation of log2 of what is not zero under a type; None: no features and no pixels."""
    values = np.frombuffer(content[: len(content) // 8 * 8], dtype=code)
    if not values.size or not np.isfinite(values).all():
        return None
    sizes = np.log2(np.abs(values[values != 0].astype(np.float64)))
    if not sizes.size:
        return 0.0
    low, high = np.log2(SIZES)
    halves = values[::2].any() != values[1::2].any()  # every other number zero: halves of wider numbers
    return None if halves or not low <= np.median(sizes) <= high else float(sizes.std())
