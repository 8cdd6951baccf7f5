"""PyTorch's tensors as a pickle describes them: views of storages that lie elsewhere in the file.

Nothing is read while the pickle is: a stand-in notes type, shape, strides and where in which
storage a tensor begins, and whether it stays within.
"""

import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from jaxcnn.data.unpickling import Refused, dictionary


@dataclass(frozen=True)
class Storage:
    """A run of numbers of one type; `key` is the file's name for it."""

    key: str
    dtype: np.dtype
    size: int  # numbers
    start: int = 0  # bytes from the beginning of what is called `key`, for old files' views


@dataclass(frozen=True)
class Tensor:
    """A view of a storage: the place of its first number, and the strides between numbers."""

    storage: Storage
    dtype: np.dtype
    start: int  # numbers
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # numbers


def admit_sizes(*numbers: Any) -> None:
    """Refuses whatever is no non-negative integer, or so long that sums with it take time."""
    if not all(type(n) is int and 0 <= n < 1 << 128 for n in numbers):
        raise Refused(
            f"sizes and strides must be non-negative integers, got {reprlib.repr(numbers)}"
        )


def rebuild_tensor(
    storage: Any, start: Any, shape: Any, strides: Any, *rest: Any, dtype: Any = None
) -> Tensor:
    """PyTorch's `_rebuild_tensor` and `_rebuild_tensor_v2`."""
    if type(storage) is not Storage or type(shape) is not tuple or type(strides) is not tuple:
        raise Refused("a tensor must have a storage, a shape and strides")
    admit_sizes(start, *shape, *strides)
    if len(shape) != len(strides) or len(shape) > 32:
        raise Refused(f"a tensor has {len(shape)} axes and {len(strides)} strides")
    if len(rest) > 2 and rest[2]:
        raise Refused("a tensor is conjugated or negated when it is read")  # complex numbers only
    dtype = dtype or storage.dtype
    if 0 not in shape:
        last = start + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if (last + 1) * dtype.itemsize > storage.size * storage.dtype.itemsize:
            raise Refused(
                f"a tensor of shape {shape} and strides {strides} reaches beyond its storage"
            )
    return Tensor(storage, dtype, start, shape, strides)


def _rebuild_tensor_v3(
    storage: Any,
    start: Any,
    shape: Any,
    strides: Any,
    grad: Any,
    hooks: Any,
    dtype: Any,
    *rest: Any,
) -> Tensor:
    """Newer types are named beside an untyped storage."""
    if not isinstance(dtype, np.dtype):
        raise Refused("a tensor has no type")
    return rebuild_tensor(storage, start, shape, strides, grad, hooks, *rest, dtype=dtype)


def _rebuild_parameter(data: Any, *_: Any) -> Tensor:
    if type(data) is not Tensor:
        raise Refused("a parameter must be a tensor")
    return data


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    """Python 2 hands the pairs over, as lists of two; later ones come by themselves."""
    return dictionary((key, value) for key, value in pairs)


def _size(numbers: Any = ()) -> tuple[int, ...]:
    admit_sizes(*numbers)
    return tuple(numbers)


def build(target: Any, state: Any) -> None:
    """An OrderedDict's attributes, such as `_metadata`, and an old Parameter's say nothing."""
    if type(target) not in (dict, Tensor):
        raise Refused(f"it sets the state of a {type(target).__name__}")


TYPES = {
    "Double": np.float64,
    "Float": np.float32,
    "Half": np.float16,
    "BFloat16": ml_dtypes.bfloat16,
    "Long": np.int64,
    "Int": np.int32,
    "Short": np.int16,
    "Char": np.int8,
    "Byte": np.uint8,
    "Bool": np.bool_,
    "ComplexDouble": np.complex128,
    "ComplexFloat": np.complex64,
}
NAMED_TYPES = (
    "uint16 uint32 uint64 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"
)
ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered,
    ("torch", "Size"): _size,
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch.nn.parameter", "Parameter"): _rebuild_parameter,
    ("torch.storage", "UntypedStorage"): np.dtype(np.uint8),
    **{("torch", f"{name}Storage"): np.dtype(dtype) for name, dtype in TYPES.items()},
    **{("torch", name): np.dtype(name) for name in NAMED_TYPES.split()},
}


def arrays(
    tensors: Mapping[str, Tensor],
    read: Callable[[Storage], bytearray],
    limit: int,
    *,
    byteswap: bool = False,
) -> dict[str, np.ndarray]:
    """The tensors as arrays, which share memory where the tensors share a storage.

    Args:
        tensors: name -> tensor.
        read: the bytes of all that lies under a storage's key.
        limit: the most bytes that may be read, and that the tensors may take when written out: with
            strides of 0 there is no end to it.
        byteswap: whether the numbers have the other byte order than this machine's.

    Raises:
        Refused: tensors of more than `limit` bytes, or storages shorter than they should be.
    """
    written = sum(math.prod(t.shape) * t.dtype.itemsize for t in tensors.values())
    stored = 0
    contents: dict[str, bytearray] = {}
    out = {}
    for name, tensor in tensors.items():
        storage = tensor.storage
        if max(written, stored) > limit:
            raise Refused(f"its tensors would take more than {limit} bytes, far above its own size")
        if 0 in tensor.shape:
            out[name] = np.empty(tensor.shape, tensor.dtype)
            continue
        if storage.key not in contents:
            contents[storage.key] = read(storage)
            stored += len(contents[storage.key])
        content, size = contents[storage.key], tensor.dtype.itemsize
        end = storage.start + storage.size * storage.dtype.itemsize
        if end > len(content):
            raise Refused(f"storage {storage.key:.20} has {len(content)} bytes instead of {end}")
        # The stride of an axis of length 1 is any number.
        steps = [
            s * size if n > 1 else size for n, s in zip(tensor.shape, tensor.strides, strict=True)
        ]
        start = storage.start + tensor.start * size
        view = np.ndarray(tensor.shape, tensor.dtype, content, start, steps)
        out[name] = view.byteswap() if byteswap else view
    return out
