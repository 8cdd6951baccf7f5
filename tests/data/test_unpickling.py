import io
import pickle
import subprocess
import sys
import tracemalloc

import pytest

from jaxcnn.data.pickles import read_pickle
from jaxcnn.data.unpickling import Refused, faults, unpickle

CONTAINERS = {
    "numbers": [0, -1, 255, 65536, 2**40, -(2**100), 1.5, float("inf"), True, False, None],
    "text": ["", "a\n'\\", "\u00e9\u4e2d\U0001f600", b"", b"\x00\xff", bytearray(b"ab")],
    "nested": {"a": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, {"b": {1: [2]}}]},
    "keys": {1: 1, None: 2, b"a": 3, (1, "b"): 4, 1.5: 5, (): 6},
    "long": [list(range(3000)), {i: str(i) for i in range(3000)}, "x" * 300, b"y" * 300],
    "shared": [[1]] * 3,
}


def no_state(target, state):
    raise Refused("no state")


def encode(text, encoding):
    return text.encode(encoding)


ADMITTED = {  # what Python 3 writes bytes with, in old protocols
    ("_codecs", "encode"): encode,
    ("__builtin__", "bytes"): lambda: b"",
    ("__builtin__", "bytearray"): lambda *args: bytearray(*args),
    ("builtins", "bytearray"): lambda *args: bytearray(*args),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", CONTAINERS)
def test_containers(name, protocol):
    value = CONTAINERS[name]
    found = unpickle(io.BytesIO(pickle.dumps(value, protocol)), ADMITTED, build=no_state)
    assert found == value
    assert repr(found) == repr(value)
    if name == "shared":
        assert found[0] is found[1]


def test_one_pickle_after_another():
    stream = io.BytesIO(b"".join(pickle.dumps(value, 4) for value in CONTAINERS.values()))
    for value in CONTAINERS.values():
        assert unpickle(stream, ADMITTED, build=no_state) == value
    with pytest.raises(ValueError, match="exhausted"):
        unpickle(stream, {}, build=no_state)


@pytest.mark.parametrize("content", [b"U\x02\xe9a.", b"T\x02\x00\x00\x00\xe9a.", b"S'\\x61'\n."])
def test_strings_of_python_2(content):
    text = unpickle(io.BytesIO(content), {}, build=no_state)
    octets = unpickle(io.BytesIO(content), {}, build=no_state, strings=bytes)
    assert type(text) is str
    assert octets == text.encode("latin1")


def test_stand_ins_states_and_references():
    found = []

    def make(number, *more):
        return found, number, more

    unpickled = unpickle(
        io.BytesIO(b"\x80\x02((cm\nmake\n(K\x01K\x02tRV7\nQcm\nconstant\nt}b."),
        {("m", "make"): make, ("m", "constant"): "constant"},
        build=lambda target, state: found.append((target, state)),
        persistent=lambda pid: f"storage {pid}",
    )
    assert unpickled == ((found, 1, (2,)), "storage 7", "constant")
    assert found == [(unpickled, {})]


def test_faults_tell_refusal_from_damage():
    refusal = pytest.raises(ValueError, match=r"^read: x is refused: it asks for os\.system\.$")
    with refusal, faults("read: x"):
        raise Refused("it asks for os.system")
    for error in (EOFError("end"), IndexError("pop"), KeyError(3), MemoryError(), TypeError("t")):
        damage = f"^read: x is truncated or corrupt .{type(error).__name__}"
        with pytest.raises(ValueError, match=damage), faults("read: x"):
            raise error
    with pytest.raises(FileNotFoundError), faults("read: x"):
        raise FileNotFoundError


MEMO = b"\x80\x02}r\xff\xff\xff\xff."  # nine bytes for 64 GiB in Python's own unpickler
DEEP = b"\x80\x02})" + b"\x85" * 100_000 + b"Ns."


def test_memory_follows_from_the_size(unchecked):
    tracemalloc.start()
    assert read_pickle(MEMO, "memo") == {}
    with pytest.raises(ValueError, match="deep is refused: it has a tuple as a key"):
        read_pickle(DEEP, "deep")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * len(DEEP)


def test_what_cannot_be_printed_is_not():
    doubled = b"(]q\1" + b"]h\1ah\1aq\1" * 200 + b"t"
    shape = b"cnumpy.core.numeric\n_frombuffer\n(C\1acnumpy\ndtype\n(Vu1\ntR" + doubled + b"VC\ntR."
    with pytest.raises(
        ValueError, match=r"x is refused: .*must be non-negative integers, got .*\.\.\."
    ):
        read_pickle(shape, "x")


def test_the_deep_key_ends_pythons_own_unpickler():
    code = "import pickle; pickle.loads(b'\\x80\\x02})' + b'\\x85' * 1_000_000 + b'Ns.')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode != 0
