"""A device that is not the CPU, for tests on a machine without one: it has numbers, and it is strict.

Inside `FarDevice` tensors on torch's device "meta" are `Far`: they are computed, on the CPU. An operation
that a GPU refuses, because its tensors lie on two devices, is refused here. What a GPU makes the program wait
for is counted. Whatever runs here and gives the CPU's numbers makes no tensor on the wrong device.
"""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

FAR = torch.device("meta")
aten = torch.ops.aten
COPIES = (aten._to_copy, aten.copy_)
# the GPU's answer decides what the program does next, or how large a result is
WAITS = (aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.bincount)
WAITS += (aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.repeat_interleave)
INDEXING = (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_)  # indexes may lie on the CPU
LENGTHS = {aten._pack_padded_sequence: 1, aten._pack_padded_sequence_backward: 2}  # argument, on the CPU


class Far(Tensor):
    """Numbers, in `near`, that the program cannot see without asking for them."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> "Far":
        layout = {"strides": near.stride(), "storage_offset": near.storage_offset(), "dtype": near.dtype}
        made = Tensor._make_wrapper_subclass(cls, near.shape, device=FAR, **layout)
        made.near = near
        return made

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), options=None):
        raise AssertionError(f"{function} of a far tensor, outside of FarDevice")

    def tolist(self) -> Any:
        return self.cpu().tolist()


class _Made(TorchFunctionMode):
    """What torch makes of lists on the device: on the CPU first, and then a copy that `FarDevice` sees."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        options = dict(options or {})
        if function in (torch.tensor, torch.as_tensor) and options.get("device") is not None:
            device = options.pop("device")
            return function(*arguments, **options).to(device)
        if function in (Tensor.__getitem__, Tensor.__setitem__):
            index = arguments[1] if isinstance(arguments[1], tuple) else (arguments[1],)
            index = tuple(torch.tensor(part) if isinstance(part, list) else part for part in index)
            arguments = (arguments[0], index, *arguments[2:])
        return function(*arguments, **options)


class FarDevice(TorchDispatchMode):
    """waits: how often each operation made the program wait; copied: blocking copies to the device."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.copied = 0
        self._made = _Made()

    def __enter__(self) -> "FarDevice":
        self._made.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._made.__exit__(*error)

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        options, operation = dict(options or {}), function.overloadpacket
        given = [leaf for leaf in tree_leaves((arguments, options)) if isinstance(leaf, Tensor)]
        far = any(isinstance(tensor, Far) for tensor in given)
        assert all(isinstance(tensor, Far) or tensor.device != FAR for tensor in given), operation
        asked = options.get("device")
        if asked is not None:
            options["device"] = torch.device("cpu")
        result_is_far = far if asked is None else torch.device(asked).type == FAR.type
        self._count(operation, arguments, options, far, result_is_far)
        if far and operation not in COPIES:
            _check(operation, arguments, given)
        near = tree_map(lambda leaf: leaf.near if isinstance(leaf, Far) else leaf, (arguments, options))
        result = function(*near[0], **near[1])
        if not result_is_far or operation is aten._local_scalar_dense or operation is aten.equal:
            return result
        if operation is aten._pack_padded_sequence:
            return Far(result[0]), result[1]  # the sizes of its steps stay on the CPU
        result = tree_map(lambda leaf: Far(leaf) if isinstance(leaf, Tensor) else leaf, result)
        return return_and_correct_aliasing(function, arguments, options, result)

    def _count(self, operation, arguments, options, far: bool, result_is_far: bool) -> None:
        if operation in COPIES:
            to_far = isinstance(arguments[0], Far) if operation is aten.copy_ else result_is_far
            from_far = isinstance(arguments[1 if operation is aten.copy_ else 0], Far)
            if from_far and not to_far:
                self.waits["copy to the CPU"] += 1
            if to_far and not from_far and not options.get("non_blocking") and True not in arguments[2:]:
                self.copied += 1
        elif far and operation in WAITS:
            self.waits[str(operation)] += 1
        elif far and operation in INDEXING:
            indexes = [index for index in arguments[1] if index is not None]
            self.waits["index by a mask"] += any(index.dtype == torch.bool for index in indexes)
            self.copied += sum(not isinstance(index, Far) for index in indexes)


def _check(operation, arguments: tuple, given: list[Tensor]) -> None:
    """Raises RuntimeError where a GPU would."""
    if operation in LENGTHS:
        lengths = arguments[LENGTHS[operation]]
        if isinstance(lengths, Far):
            raise RuntimeError(f"{operation}: lengths have to be on the CPU")
        given = [tensor for tensor in given if tensor is not lengths]
    if operation in INDEXING:
        given = [arguments[0], *(leaf for leaf in tree_leaves(arguments[2:]) if isinstance(leaf, Tensor))]
    if any(not isinstance(tensor, Far) and tensor.ndim for tensor in given):  # a GPU takes numbers of the CPU
        raise RuntimeError(f"{operation}: expected all tensors to be on the same device")
