"""One training on several processes, equal to one process with the same batches: torch.distributed, gloo or
nccl.

torchrun starts the processes and numbers them from 0. The first one reads, writes and speaks for all. Each
has a share of a batch's pairs: it encodes the images and captions of its share, gets the others' words, and
scores its images against all captions. Then all have the whole score matrix, and so the same loss, samples
and boundary. Gradients are summed, never averaged: the loss is a sum over the batch.
(torch.distributed says rank for a process's number; here a rank is a place in a retrieval.)
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count, pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .errors import NaafError, UsageError
from .launcher import GOES_ON, asked_for, speak
from .messages import say

PATIENCE = "NAAF_PATIENCE"  # seconds that a silent process is waited for
_groups = count()  # several trainings of one program have stores of their own


@dataclass(frozen=True)
class Processes:
    """How many processes work together, and which this one is. Every method is called by all of them."""

    number: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.number == 0

    def shares(self, rows: int) -> list[slice]:
        """Each process's part of so many rows, in order; parts differ by one row at most."""
        edges = [rows * number // self.size for number in range(self.size + 1)]
        return [slice(*ends) for ends in pairwise(edges)]

    def share(self, rows: int) -> slice:
        """This process's part."""
        return self.shares(rows)[self.number]

    def gathered(self, own: Tensor, rows: int) -> Tensor:
        """All rows (row, ...) of their shares, for uses that differ between processes.

        The gradient of a row is the sum over all processes.
        """
        return own if self.size == 1 else _Gathered.apply(own, self, rows)

    def joined(self, own: Tensor, rows: int) -> Tensor:
        """All rows (row, ...) of their shares, for what every process then computes alike.

        The gradient of a row is its own process's: the others' are the same.
        """
        if self.size == 1:
            return own
        parts = self.parts(own.detach(), [_length(share) for share in self.shares(rows)])
        return torch.cat([*parts[: self.number], own, *parts[self.number + 1 :]])

    def parts(self, own: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """Every process's rows (row, ...), so many of each; no gradient."""
        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: len(own)] = own
        found = [torch.empty_like(padded) for _ in sizes]
        with self._together():
            dist.all_gather(found, padded)
        return [part[:size] for part, size in zip(found, sizes, strict=True)]

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Of each parameter, over all processes, in place."""
        if self.size > 1:
            with self._together():
                grads = [p.grad for p in parameters if p.grad is not None]
                for work in [dist.all_reduce(grad, async_op=True) for grad in grads]:
                    work.wait()

    def collected(self, value: Any) -> list[Any]:
        """Every process's value, in their order."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        with self._together():
            dist.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Until all processes are here."""
        self.collected(None)

    def check_equal(self, tensors: Mapping[str, Tensor]) -> None:
        """Raises NaafError where the processes have other parameters, or would draw other random numbers."""
        if self.size == 1:
            return
        digest = hashlib.sha256(torch.get_rng_state().numpy().data)
        for tensor in tensors.values():
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        if len(set(self.collected(digest.hexdigest()))) > 1:
            raise NaafError(
                "the processes no longer hold the same parameters; they need the same processors and "
                "versions of the libraries: start them on machines of one kind, with --resume"
            )

    @contextmanager
    def _together(self) -> Iterator[None]:
        """One sentence where another process does not take part. gloo and nccl raise plain RuntimeErrors."""
        try:
            yield
        except RuntimeError as error:
            seconds = _patience().total_seconds()
            raise NaafError(
                f"one of {self.size} processes ended, or did not answer for {seconds:g} s; {GOES_ON}"
            ) from error


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, processes: Processes, rows: int) -> Tensor:
        ctx.processes, ctx.own = processes, processes.share(rows)
        return torch.cat(processes.parts(own, [_length(share) for share in processes.shares(rows)]))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)  # it may be another's, too
        with ctx.processes._together():
            dist.all_reduce(total)
        return total[ctx.own], None, None


ALONE = Processes()


def first_equal(rows: Tensor) -> Tensor:
    """The index (row,) of the first row that equals each."""
    inverse = torch.unique(rows, dim=0, return_inverse=True)[1]
    place = torch.arange(len(rows), device=rows.device)
    first = torch.full_like(place, len(rows)).scatter_reduce(0, inverse, place, "amin")
    return first[inverse]


def own_device(device: torch.device) -> torch.device:
    """The device of this process: each takes a GPU of its own. Raises UsageError where there are too few."""
    if asked_for() == 1 or device.type != "cuda":
        return device
    number, here = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if device.index is not None:
        raise UsageError(f"each of several processes takes a GPU of its own; say cuda, not {device}")
    if number >= here:
        raise UsageError(f"this machine has {here} GPUs; start at most so many processes, or take cpu")
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes that torchrun started, as one; this process alone where it started none.

    An error that ends them is told by the first one that meets it; the others end without a word.
    Raises NaafError where they do not all come within the patience.
    """
    if asked_for() == 1:
        yield ALONE
        return
    try:
        store, number, size = next(iter(dist.rendezvous("env://", timeout=_patience())))
        store = dist.PrefixStore(f"naaf-{next(_groups)}", store)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            store=store,
            rank=number,
            world_size=size,
            timeout=_patience(),
        )
    except (RuntimeError, ValueError) as error:
        raise NaafError(f"the processes did not find each other ({error}); start them by torchrun") from None
    processes = Processes(number, size)
    try:
        yield processes
        processes.wait()  # what the first one writes is written when any of them goes on
    except BaseException as error:
        _speak(error, store)
        raise
    dist.destroy_process_group()


def _speak(error: BaseException, store: Any) -> None:
    """Leaves the error to be told by this process, or ends it where another one has told."""
    if _is_told(store):
        status = getattr(error, "exit_status", 1)
        raise SystemExit(error.code if isinstance(error, SystemExit) else status) from None
    speak()
    if isinstance(error, SystemExit):
        say(f"naaf: one of {dist.get_world_size()} processes was stopped; {GOES_ON}")


def _is_told(store: Any) -> bool:
    try:
        return store.add("told", 1) > 1
    except RuntimeError:  # the launcher, which keeps the store, is gone
        return False


def _patience() -> timedelta:
    text = os.environ.get(PATIENCE, "600")
    try:
        return timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        raise UsageError(f"the environment's {PATIENCE} is {text!r}; it is a number of seconds") from None


def _length(part: slice) -> int:
    return part.stop - part.start
