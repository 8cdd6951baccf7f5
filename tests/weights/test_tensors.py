import numpy as np
import pytest

from jaxcnn.data.unpickling import Refused
from jaxcnn.weights.tensors import Storage, Tensor, arrays

FLOAT = np.dtype(np.float32)


def tensor(key="0", shape=(4,), strides=(1,), start=0, dtype=FLOAT):
    return Tensor(Storage(key, dtype, 4), dtype, start, shape, strides)


def read(storage):
    return bytearray(np.arange(4, dtype=np.float32).tobytes())


def test_each_storage_is_read_once():
    keys = []

    def noted(storage):
        keys.append(storage.key)
        return read(storage)

    tensors = {"a": tensor(), "b": tensor("1"), "c": tensor(start=2, shape=(2,))}
    found = arrays(tensors, noted, 1000)
    assert keys == ["0", "1"]
    assert found["c"].tolist() == [2, 3]
    found["a"][2] = 7
    assert found["c"].tolist() == [7, 3]


def test_byte_orders():
    numbers = np.arange(4).astype(">f4").tobytes()
    swapped = arrays({"a": tensor()}, lambda _: bytearray(numbers), 1000, byteswap=True)["a"]
    assert swapped.tolist() == [0, 1, 2, 3]
    assert swapped.dtype.isnative


def test_limits():
    assert arrays({"a": tensor(), "b": tensor("1")}, read, 32)
    with pytest.raises(Refused, match="more than 31 bytes"):
        arrays({"a": tensor(), "b": tensor("1")}, read, 31)
    # Few numbers of large storages.
    few = {str(i): tensor(str(i), shape=(), strides=()) for i in range(5)}
    assert arrays(few, read, 80)
    with pytest.raises(Refused, match="more than 63 bytes"):
        arrays(few, read, 63)
    with pytest.raises(Refused, match="storage 0 has 3 bytes instead of 16"):
        arrays({"a": tensor()}, lambda _: bytearray(3), 1000)
