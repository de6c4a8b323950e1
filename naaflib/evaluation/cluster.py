"""Scoring on a running Dask cluster (dask.distributed, imported only where it is used).

The score matrix is cut into tiles along the grid of `scores`. A worker opens the data set and the model
itself, from the paths that this process sees (a shared file system), encodes what a tile needs and sends back
counts, never scores. The result equals a single process's exactly where workers run the same versions of the
libraries on the same kind of processor; where they do not, a line says so.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..data.splits import Split, open_split
from ..devices import pick_device, products
from ..errors import NaafError, UsageError
from ..files import fingerprint
from ..messages import progress_bar, say
from ..metric.ranks import Counts, RankCounter, Tile, captions_of, cut, image_of
from ..metric.retrieval import RetrievalMetrics, metrics_of
from ..model.checkpoint import load_checkpoint
from ..model.model import Model
from ..runs import Run
from ..similarity.packing import Packing
from .arithmetic import arithmetic, mixture
from .encoding import CHUNK, Encoded, encode_captions, encode_images
from .protocols import fold_size
from .rescoring import Bounds, Known, RoughScorer
from .scores import SplitScorer, split_scorer
from .tls import certificates_hint, client_security, warn_of_open

if TYPE_CHECKING:
    from distributed import Client, Future

PATIENCE = 10.0  # seconds that a scheduler, and a first worker, have to answer
TILE = 5 * CHUNK  # images of a tile, and images whose captions are its columns
AHEAD = 2  # tiles a thread of the cluster that are sent before they are needed
ADVICE = "`dask scheduler` starts one and prints its address, such as tcp://10.0.0.5:8786"


def connect(address: str, patience: float = PATIENCE) -> "Client":
    """A client of the scheduler at an address such as tcp://10.0.0.5:8786; close it when done (a context).

    For tls:// Dask's configuration has the certificates (`tls.certificates` puts files there). Says so where
    the scheduler listens beyond this machine without them.

    Raises UsageError for a text that is no address; NaafError where dask.distributed is not installed and
    where no scheduler answers within `patience` seconds.
    """
    try:
        from distributed import Client
    except ImportError:
        raise NaafError(
            "a scheduler needs dask.distributed, which is not installed; pip install distributed"
        ) from None
    security = client_security(address)
    try:  # asked first, in a loop of its own: a Client that fails leaves threads and messages behind
        with ThreadPoolExecutor(1) as thread:
            asked = _identity(address, security.get_connection_args("client"), patience)
            identity = thread.submit(asyncio.run, asked).result()
    except ValueError as error:
        raise UsageError(f"{address!r} is not a scheduler's address ({error}); {ADVICE}") from None
    except RuntimeError as error:  # Dask's configuration requires encryption
        raise UsageError(f"{address}: {error}; name it tls://HOST:PORT") from None
    except (OSError, TimeoutError):
        raise NaafError(
            f"no scheduler answers at {address} within {patience:g} s; is it running"
            f"{certificates_hint(address)}? {ADVICE}"
        ) from None
    if identity["type"] != "Scheduler":
        raise NaafError(f"at {address} answers a {identity['type'].lower()}, not the scheduler; {ADVICE}")
    warn_of_open(address, identity["address"])
    return Client(address, timeout=patience, security=security)


async def _identity(address: str, how: dict[str, Any], patience: float) -> dict[str, Any]:
    from distributed.core import rpc

    async with rpc(address, timeout=patience, connection_args=how) as server:
        return await asyncio.wait_for(server.identity(), patience)


@dataclass(frozen=True)
class Source:
    """What is scored, as a worker finds it; the files' fingerprints, lest it finds something else."""

    checkpoint: Path
    vocabulary: Path | None
    data: Path
    split: str
    precision: str
    device: str  # of each worker
    files: tuple[tuple[Path, str], ...]

    @classmethod
    def of(
        cls,
        checkpoint: Path,
        split: Split,
        vocabulary: str | Path | None = None,
        precision: str = "float32",
        device: str = "auto",
    ) -> "Source":
        """checkpoint: a file, or a run's folder."""
        checkpoint = Path(checkpoint).resolve()
        weights = Run(checkpoint, {}).checkpoint() if checkpoint.is_dir() else checkpoint
        files = (weights, split.regions.path.resolve(), split.captions_path.resolve())
        prints = tuple((path, str(fingerprint(path))) for path in files)
        words = None if vocabulary is None else Path(vocabulary).resolve()
        return cls(checkpoint, words, split.folder.resolve(), split.name, precision, device, prints)


def clustered_metrics(
    address: str,
    source: Source,
    split: Split,
    *,
    protocol: str = "full",
    top: int = 1,
    progress: bool = True,
    tile: int = TILE,
) -> RetrievalMetrics:
    """What streamed_metrics gives, computed by the workers of the scheduler at an address.

    tile: images of a tile, and images whose captions are its columns: a multiple of CHUNK. A worker that
    dies loses only the tiles that it was computing: they are computed again elsewhere.
    """
    per_image, fold = split.captions_per_image, fold_size(protocol, len(split))
    with connect(address) as client:
        _wait_for_workers(client, address)
        _check_library(client)
        try:
            _warn_of_mixture(client, source)
            bands = cut(slice(0, len(split)), tile)
            found = dict(_results(client, _own_scores, source, bands, progress, "own captions"))
            known = Known.of([found[start] for start in sorted(found)])  # in the model's type
            counter = RankCounter(known.own, per_image, top, fold)
            tiles = counter.tiles(tile, tile)  # in bands of captions: a worker encodes each once
            jobs = ((each, known.bounds) for each in tiles)
            return metrics_of(counter, _results(client, _counts, source, jobs, progress, "scoring"))
        finally:
            with suppress(Exception):  # workers that are gone hold nothing; what went wrong is said already
                client.run(_forget)


def _wait_for_workers(client: "Client", address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError:
        raise NaafError(
            f"the scheduler at {address} has no workers; `dask worker {address}` starts one"
        ) from None


def _check_library(client: "Client") -> None:
    """Raises NaafError where a worker lacks this library: a task would end it, and leave us waiting."""
    name = arithmetic.__module__
    try:
        found = client.run(find_spec, name)
    except ImportError:
        found = {"": None}
    if not all(found.values()):
        raise NaafError(f"a worker lacks {name}; install the same naaflib there")


def _warn_of_mixture(client: "Client", source: Source) -> None:
    """Say in one line what the workers that are there now compute with, where they differ."""
    how = {"allow_other_workers": True, "pure": False}  # one that dies meanwhile holds nothing up
    workers = client.scheduler_info(n_workers=-1)["workers"]
    asked_of = source.device, source.precision
    asked = [client.submit(arithmetic, *asked_of, workers=[worker], **how) for worker in workers]
    sentence = mixture([_result(future) for future in asked])
    if sentence is not None:
        say(sentence)


def _results(
    client: "Client",
    work: Callable[[Source, Any], object],
    source: Source,
    jobs: Iterable[object],
    progress: bool,
    what: str,
) -> Iterator[Any]:
    """Results as they come, with few jobs under way: what a tile needs is not sent all at once."""
    from distributed import as_completed

    waiting = iter(jobs)
    threads = sum(client.nthreads().values())
    under_way = as_completed()

    def send(most: int) -> None:
        for job in islice(waiting, most):
            under_way.add(client.submit(work, source, job, pure=False))

    send(max(2, AHEAD * threads))
    with progress_bar(desc=what, unit="tile", disable=not progress, mininterval=1.0) as bar:
        for future in under_way:
            yield _result(future)
            future.release()
            bar.update()
            send(1)


def _result(future: "Future") -> Any:
    """What a task gave; an error in one sentence."""
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise NaafError(
            f"the cluster gave up: its workers died ({error}); they may need more memory each"
        ) from None
    except (ImportError, RuntimeError) as error:
        missing = error if isinstance(error, ImportError) else error.__cause__  # a scheduler's has a cause
        if not isinstance(missing, ImportError):
            raise
        raise NaafError(
            f"the scheduler or a worker lacks what it needs ({missing}); install the same naaflib there"
        ) from None
    except (CancelledError, OSError) as error:
        raise NaafError(
            f"the scheduler is gone ({type(error).__name__}); start it and run this again"
        ) from None


# ---- on a worker

_one_at_a_time = Lock()  # a worker may have several threads; what they share is made once


def _own_scores(source: Source, images: slice) -> tuple[int, Known]:
    """A task: the first of these images, and the scores of their captions with their own image."""
    with products(source.precision):
        scorer, per_image = _scorer(source, images, images)
        return images.start, scorer.known(slice(0, scorer.shape[0]), per_image)


def _counts(source: Source, job: tuple[Tile, Bounds]) -> Counts:
    """A task: what a tile adds to the ranks."""
    tile, bounds = job
    ends = (image_of(end, tile.captions_per_image) for end in (tile.captions.start, tile.captions.stop))
    with products(source.precision):
        scorer, _ = _scorer(source, tile.images, slice(*ends))
        images, captions = (slice(0, size) for size in scorer.shape)
        return tile.counts(scorer.scores_of(replace(tile, images=images, captions=captions), bounds))


def _scorer(source: Source, images: slice, band: slice) -> tuple[SplitScorer | RoughScorer, int]:
    """Scores these images with the captions of the images of a band; the split's captions an image."""
    with _one_at_a_time:
        split, model = _opened(source)
        words = _words(source, band.start, band.stop)
    encoded = Encoded(encode_images(model, split, images), *words)
    return split_scorer(model, encoded, source.precision), split.captions_per_image


@lru_cache(maxsize=1)
def _opened(source: Source) -> tuple[Split, Model]:
    for path, seen in source.files:
        if not path.is_file() or str(fingerprint(path)) != seen:
            raise NaafError(
                f"a worker on {socket.gethostname()} does not see the same {path} as this process; "
                "data and run have to lie on a file system that all workers share"
            )
    model = load_checkpoint(source.checkpoint, source.vocabulary)
    return open_split(source.data, source.split), model.to(pick_device(source.device))


@lru_cache(maxsize=2)
def _words(source: Source, first: int, stop: int) -> tuple[Tensor, Packing]:
    split, model = _opened(source)
    captions = split.captions[captions_of(slice(first, stop), split.captions_per_image)]
    return encode_captions(model, captions, split.captions_per_image)


def _forget() -> None:
    _opened.cache_clear()
    _words.cache_clear()
