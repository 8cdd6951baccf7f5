"""Pickled NumPy arrays and plain containers, read without running anything that a pickle asks for.

What arrays need is answered by stand-ins that only note bytes and a shape, so that not even NumPy's
own unpickling code meets a hostile file.
"""

import io
import reprlib
from typing import Any

import numpy as np

from jaxcnn.data.unpickling import Refused, faults, unpickle

TYPES = ("b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")


class _Dtype:
    """Stands for numpy.dtype: a type code such as u1, and a byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "|"

    def build(self, state: Any) -> None:
        # (version, byte order, subdtype, names, fields, item size, alignment, flags)
        if not isinstance(state, tuple) or len(state) < 2:
            raise Refused("the state of an array's type must name a byte order")
        self.order = _text(state[1])

    def resolve(self) -> np.dtype:
        if self.order not in ("<", ">", "|", "=") or self.code not in TYPES:
            raise Refused(f"arrays hold numbers, not {self.order}{self.code}")
        return np.dtype(self.order + self.code)


class _Array:
    """Stands for numpy.ndarray until the whole file is read."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array = np.empty(0, np.uint8)

    def build(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise Refused("an array's state must have 5 parts")
        _, shape, dtype, fortran, content = state
        self.array = _array(content, dtype, shape, "F" if fortran is True else "C")


def _array(content: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or not isinstance(content, bytes | bytearray):
        raise Refused("an array must be bytes with a type")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise Refused(f"an array's shape must be non-negative integers, got {reprlib.repr(shape)}")
    return np.frombuffer(content, dtype.resolve()).reshape(
        shape, order="F" if order == "F" else "C"
    )


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise Refused(f"expected text, got {type(value).__name__}")
    return value


def _dtype(code: Any, align: Any = False, copy: Any = False) -> _Dtype:
    return _Dtype(_text(code))


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind != "numpy.ndarray":
        raise Refused("only numpy.ndarray may be rebuilt")
    return _Array()


def _frombuffer(content: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    rebuilt = _Array()
    rebuilt.array = _array(content, dtype, shape, _text(order))
    return rebuilt


def _encode(text: Any, encoding: Any) -> bytes:
    if encoding not in ("latin1", b"latin1") or not isinstance(text, str):
        raise Refused("text is admitted as latin1 only")  # some codecs unpack bombs
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


# Module names of NumPy 1 and 2, and of Python 2 and 3. The last three are how Python 3 writes bytes
# into an old protocol.
ADMITTED = {
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): "numpy.ndarray",
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
}


def _build(target: Any, state: Any) -> None:
    if type(target) not in (_Dtype, _Array):
        raise Refused(f"it sets the state of a {type(target).__name__}")
    target.build(state)


def read_pickle(content: bytes, where: str) -> dict[Any, Any]:
    """The arrays, numbers, text and flat lists of them in a pickled dictionary.

    Args:
        content: the pickle, of Python 2 or 3.
        where: the file's name, for the errors.

    Returns:
        the dictionary; Python 2's strings are bytes.

    Raises:
        ValueError: a pickle that is empty, truncated or corrupt, or that asks for anything else.

    Example:
        >>> import pickle
        >>> read_pickle(pickle.dumps({"data": np.arange(3), "labels": [7, 8, 9]}), "example")
        {'data': array([0, 1, 2]), 'labels': [7, 8, 9]}

    """
    if not content:
        raise ValueError(f"read_pickle: {where} is empty.")
    with faults(f"read_pickle: {where}"):
        loaded = unpickle(io.BytesIO(content), ADMITTED, build=_build, strings=bytes)
        if type(loaded) is not dict:
            raise Refused(f"it holds a {type(loaded).__name__}, not a dictionary")
        return {_plain(k): _plain(v) for k, v in loaded.items()}


def _plain(value: Any) -> Any:
    """The value, an array in place of its stand-in."""
    if type(value) is _Array:
        return value.array
    if type(value) in (list, tuple):
        return [_scalar(v) for v in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if type(value) not in (bool, int, float, str, bytes, bytearray, type(None)):
        raise Refused(
            f"it holds a {type(value).__name__} where an array, a number or text should be"
        )
    return value
