"""Explanations of many pairs as one long table, CSV or Parquet: streamed, so a split of any size fits."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import UsageError
from ..files import atomic_path, shown
from ..spreadsheets import write_csv
from .pairs import Explanation

BLOCK = 256  # pairs held at a time
Write = Callable[[pd.DataFrame], None]


def pair_rows(pairs: Iterable[Explanation], *, regions: bool = False) -> pd.DataFrame:
    """A row a word of each pair, or with `regions` a row a word and region, after columns that name the pair.

    image, image_name, caption and own (its number, and whether it is the image's; empty for a caption given
    as text), score, word_index; then the columns of `Explanation.to_frame` or `.regions_frame`.
    The mean of `effect` over a pair's words is its score (SCAN: with mean pooling).
    """
    parts = [_columns(pair, regions) for pair in pairs]
    if not parts:
        return pd.DataFrame()
    frame = pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    numbers = frame["caption"].astype("Int64").mask(frame["caption"] < 0)
    return frame.assign(caption=numbers, own=frame["own"].astype("boolean").mask(numbers.isna()))


def _columns(pair: Explanation, regions: bool) -> dict[str, np.ndarray]:
    """The rows of one pair; caption -1 for a text."""
    about = {
        "image": pair.image,
        "image_name": pair.image_name,
        "caption": -1 if pair.caption is None else pair.caption,
        "own": bool(pair.own),
        "score": pair.score,
    }
    columns = (
        pair.region_columns() if regions else {"word_index": range(len(pair.words))} | pair.word_columns()
    )
    rows = {name: np.asarray(values, object if name == "word" else None) for name, values in columns.items()}
    count = len(rows["word"])
    repeated = {
        name: np.full(count, value, object if name == "image_name" else None) for name, value in about.items()
    }
    return repeated | rows


def write_pairs(
    files: str | Path | Sequence[str | Path], pairs: Iterable[Explanation], *, regions: bool = False
) -> int:
    """`pair_rows` of any number of pairs into a .csv or .parquet file, or into several; the rows of one.

    Pairs are taken once, one block at a time, and the files appear when they are whole. Raises UsageError for
    another format, and for Parquet without pyarrow, before the first pair is taken.
    """
    named = [files] if isinstance(files, str | Path) else files
    paths = {Path(file).resolve(): Path(file) for file in named}.values()  # one that is named twice is one
    for path in paths:
        check_table(path)
    stream, rows = iter(pairs), 0
    with ExitStack() as opened:
        writers = [opened.enter_context(_written(path)) for path in paths]
        while block := list(islice(stream, BLOCK)):
            frame = pair_rows(block, regions=regions)
            for write in writers:
                write(frame)
            rows += len(frame)
    return rows


@contextmanager
def _written(path: Path) -> Iterator[Write]:
    """What writes into the file, which appears when it is whole."""
    writing = _csv if path.suffix == ".csv" else _parquet
    with atomic_path(path) as partial, writing(partial) as write:
        yield write


def check_table(path: Path) -> None:
    """Raises UsageError for a file that `write_pairs` cannot write."""
    if path.suffix == ".parquet":
        _pyarrow(path)
    elif path.suffix != ".csv":
        raise UsageError(f"{shown(path)} is no table that can be written; name a .csv or a .parquet file")


def _pyarrow(path: Path):
    """pyarrow, which is optional."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise UsageError(
            f"{shown(path)} needs pyarrow, which is not installed; pip install pyarrow, or name a .csv file"
        ) from None
    return pyarrow


@contextmanager
def _csv(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        yield lambda frame: write_csv(frame, file, index=False, header=file.tell() == 0)


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    """A row group a block; the first block's column types are the file's."""
    pyarrow, writer = _pyarrow(path), None
    with ExitStack() as opened:

        def write(frame: pd.DataFrame) -> None:
            nonlocal writer
            table = pyarrow.Table.from_pandas(frame, writer and writer.schema, preserve_index=False)
            writer = writer or opened.enter_context(pyarrow.parquet.ParquetWriter(path, table.schema))
            writer.write_table(table)

        yield write
