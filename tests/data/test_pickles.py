import codecs
import io
import os
import pickle
import pickletools
import shlex

import numpy as np
import pytest

from jaxcnn.data.pickles import ADMITTED, read_pickle

ARRAYS = [
    np.arange(6, dtype=np.uint8).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    np.arange(4, dtype=">f4"),
    np.array([True, False]),
    np.zeros((0, 3)),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_containers(protocol):
    for array in ARRAYS:
        content = pickle.dumps({"data": array, b"labels": [1, 2], "n": 3}, protocol)
        read = read_pickle(content, "file")
        np.testing.assert_array_equal(read["data"], array)
        assert (read["data"].dtype, read[b"labels"], read["n"]) == (array.dtype, [1, 2], 3)


def python_2(array, module):
    """A dictionary as Python 2's cPickle writes it: protocol 2, strings without encoding."""

    def string(text):
        return b"U" + bytes([len(text)]) + text

    shape = b"".join(b"K" + bytes([n]) for n in array.shape)
    return (
        b"\x80\x02}("
        + string(b"data")
        + b"c" + module + b"\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + string(b"b") + b"\x87R"
        + b"(K\x01" + shape + b"\x86"
        + b"cnumpy\ndtype\n" + string(b"u1") + b"K\x00K\x01\x87R"
        + b"(K\x03" + string(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89" + string(array.tobytes()) + b"tb"
        + string(b"labels") + b"](K\x01K\x00eu."
    )  # fmt: skip


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_pickles_of_python_2(module):
    content = python_2(ARRAYS[0], module)
    pickletools.dis(content, out=io.StringIO())  # well formed
    read = read_pickle(content, "file")
    np.testing.assert_array_equal(read[b"data"], ARRAYS[0])
    assert read[b"labels"] == [1, 0]


class Call:
    """Pickles as a call of f."""

    def __init__(self, f, *args, state=None):
        self.parts = (f, args) if state is None else (f, args, state)

    def __reduce__(self):
        return self.parts


def hostile(tmp_path):
    witness = tmp_path / "witness"
    command = f"touch {shlex.quote(str(witness))}"
    source = f"open({str(witness)!r}, 'w').close()"
    pair = (3, "|", (np.dtype("u1"), (2,)), None, None, -1, -1, 0)
    return witness, {
        "os.system": Call(os.system, command),
        "posix or nt": f"cposix\nsystem\n(V{command}\ntR.".encode(),
        "builtins.eval": Call(eval, source),
        "builtins.exec": Call(exec, source),
        "python 2": f"c__builtin__\neval\n(V{source}\ntR.".encode(),
        "getattr": Call(getattr, "", "join"),
        "bytes": Call(bytes, 10**12),
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0fdtype.__class__\x93.",
        "subprocess": f"csubprocess\ncall\n((lV{command}\natR.".encode(),
        "instance": f"(V{command}\nios\nsystem\n.".encode(),
        "object": f"(cos\nsystem\nV{command}\no.".encode(),
        "numpy.load": Call(np.load, str(witness)),
        "numpy.memmap": Call(np.memmap, str(witness), "u1", "w+", 0, (4,)),
        "numpy.fromfile": Call(np.fromfile, str(witness)),
        "numpy.distutils": f"cnumpy.testing._private.utils\nrunstring\n(V{source}\n}}tR.".encode(),
        "codecs.open": Call(codecs.open, str(witness), "w"),
        "codecs.decode": Call(codecs.decode, b"x\x9c", "zlib"),
        "codecs bomb": b"c_codecs\nencode\n(Va\nVzlib\ntR.",
        "codecs hex": b"c_codecs\nencode\n(Va\nVrot13\ntR.",
        "array of objects": {"data": np.array([1, "a"], dtype=object)},
        "structured array": {"data": np.zeros(2, [("a", "u1")])},
        "array of dates": {"data": np.zeros(2, "M8[s]")},
        "array of text": {"data": np.array(["abc"])},
        "scalar": {"data": np.float32(3)},
        "subclass": {"data": np.ma.masked_array([1, 2])},
        "functools": Call(__import__("functools").partial, print),
        "the dtype itself": b"cnumpy\ndtype\n.",
        "in a dictionary": b"}(Vdata\ncnumpy\ndtype\nu.",
        "a changed helper": b"cnumpy\ndtype\n(N}(V__code__\nNutb.",
        "a state for a helper": b"cnumpy\ndtype\n}V__setstate__\ncnumpy\ndtype\nsb.",
        "defaults for a helper": b"cnumpy\ndtype\n(N}V__defaults__\n(Vu1\ntstb.",
        "new ndarray": b"\x80\x02cnumpy\nndarray\n)\x81.",
        "called ndarray": Call(np.ndarray, (2,)),
        "a set of arrays": {"data": {1, 2}},
        "nested": {"data": [[1]]},
        "a list": [1, 2],
        "persistent": b"Pabc\n.",
        "comma type": Call(np.dtype, "u1,u1"),
        "state of a type": Call(np.dtype, "u1", state=pair),
    }  # fmt: skip


def test_hostile_pickles_run_nothing(tmp_path):
    witness, cases = hostile(tmp_path)
    before = [(f, f.__defaults__, f.__code__, dict(vars(f))) for f in FUNCTIONS]
    for name, case in cases.items():
        contents = [case] if isinstance(case, bytes) else [pickle.dumps(case, p) for p in (2, 4)]
        if isinstance(case, Call):  # also inside what looks like a data file
            contents += [pickle.dumps({"data": ARRAYS[0], "labels": case})]
        for content in contents:
            with pytest.raises(ValueError, match="read_pickle: some file is") as caught:
                read_pickle(content, "some file")
            assert "some file is refused" in str(caught.value) or name in CONFUSED, (name, caught)
            assert not witness.exists(), name
    # Nor do they change what reads the next file.
    assert before == [(f, f.__defaults__, f.__code__, dict(vars(f))) for f in FUNCTIONS]


FUNCTIONS = [f for f in ADMITTED.values() if callable(f)]
# Refused as corrupt rather than by name: what they do makes no sense to the reader.
CONFUSED = ("bytes", "a changed helper", "called ndarray")


def test_the_hostile_file_would_work(tmp_path):
    """The cases above do run code where nothing stops them."""
    witness, cases = hostile(tmp_path)
    for name in ("os.system", "builtins.exec", "numpy.memmap"):
        pickle.loads(pickle.dumps(cases[name]))
        assert witness.exists(), name
        witness.unlink()
    pickle.loads(cases["posix or nt"])
    assert witness.exists()


def test_errors_name_the_file():
    whole = pickle.dumps({"data": ARRAYS[0], "labels": [1, 2]})
    with pytest.raises(ValueError, match="read_pickle: a file is empty"):
        read_pickle(b"", "a file")
    for n in range(1, len(whole)):
        with pytest.raises(ValueError, match="read_pickle: a file is (truncated|refused)"):
            read_pickle(whole[:n], "a file")
    with pytest.raises(ValueError, match=r"asks for os\.system|asks for (posix|nt)\.system"):
        read_pickle(pickle.dumps(os.system), "a file")


def test_changed_bytes_give_data_or_an_error():
    whole = np.frombuffer(pickle.dumps({"data": ARRAYS[0], "labels": [1, 2]}), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        changed = whole.copy()
        changed[rng.integers(0, len(whole), 2)] = rng.integers(0, 256, 2)
        try:
            assert type(read_pickle(changed.tobytes(), "a file")) is dict
        except ValueError as error:
            assert "a file" in str(error)  # noqa: PT017
