"""Files that PyTorch would not write, made by hand: none runs code or takes memory."""

import io
import pickle
import random
import re
import shlex
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from jaxcnn.weights import read


class Raw(bytes):
    """A piece of a pickle."""


def piece(value):
    """The instructions that leave a value on the stack."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, tuple):
        return Raw(b"(" + b"".join(map(piece, value)) + b"t")
    if isinstance(value, dict):
        return Raw(b"}(" + b"".join(piece(k) + piece(v) for k, v in value.items()) + b"u")
    return Raw(pickle.dumps(value, 2)[2:-1])


def named(name):
    module, _, attribute = name.rpartition(".")
    return Raw(f"c{module}\n{attribute}\n".encode())


def call(name, *args):
    return Raw(named(name) + piece(args) + b"R")


def reference(*pid):
    return Raw(piece(pid) + b"Q")


def storage(key="0", size=4, kind="FloatStorage", *more):
    return reference("storage", named(f"torch.{kind}"), key, "cpu", size, *more)


def tensor(shape=(4,), strides=(1,), start=0, of=None):
    of = storage() if of is None else of
    hooks = call("collections.OrderedDict")
    return call("torch._utils._rebuild_tensor_v2", of, start, shape, strides, False, hooks)


NUMBERS = np.arange(4, dtype="<f4").tobytes()


def zipped(content, storages=None, folder="archive", **entries):
    """A zip file of PyTorch's; content is a piece of a pickle, or a value."""
    file = io.BytesIO()
    storages = {"0": NUMBERS} if storages is None else storages
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{folder}/data.pkl", b"\x80\x02" + piece(content) + b".")
        for name, entry in entries.items():
            archive.writestr(f"{folder}/{name}", entry)
        for key, entry in storages.items():
            archive.writestr(f"{folder}/data/{key}", entry)
    return file.getvalue()


pytestmark = pytest.mark.usefixtures("unchecked")  # many small calls

MAGIC = 0x1950A86A20F9469CFC6C


def legacy(content, keys=None, machine=True, start=(MAGIC, 1001), size=None):
    if keys is None:
        keys = ["0"] if b"FloatStorage" in piece(content) else []
    header = [*start, {"protocol_version": 1001, "little_endian": machine, "type_sizes": {}}]
    out = [pickle.dumps(value, 2) for value in header]
    out += [b"\x80\x02", piece(content), b".", pickle.dumps(keys, 2)]
    out += [struct.pack("<q", 4 if size is None else size), NUMBERS] * len(keys)
    return b"".join(out)


def whole(form=legacy, size=4, kind="FloatStorage"):
    """A tensor that is all of its storage; the older format may tell of a view of that."""
    view = (None,) if form is legacy else ()
    return tensor((size,), of=storage("0", size, kind, *view))


@pytest.fixture
def reads(tmp_path):
    """Reads bytes as a file, within memory that goes with small files."""
    path = tmp_path / "file.pth"

    def reads(content, **options):
        path.write_bytes(content)
        tracemalloc.start()
        try:
            return read(path, **options)
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < (1 << 23) + 100 * len(content)

    return reads


def refused(reads, content, message, **options):
    with pytest.raises(ValueError, match=f"^read: .*file.pth is .*{message}"):
        reads(content, **options)


FORMS = {"zip": zipped, "legacy": legacy}
FORM = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def test_the_files_made_here_are_sound(reads):
    for content in (zipped({"x": tensor()}), legacy({"x": whole()})):
        np.testing.assert_array_equal(reads(content)["x"], np.arange(4, dtype=np.float32))


@FORM
def test_imports_and_calls_are_refused(form, reads, tmp_path):
    witness = tmp_path / "witness"
    touch = f"touch {shlex.quote(str(witness))}"
    source = f"open({str(witness)!r}, 'w').close()"
    cases = {
        r"asks for os\.system": call("os.system", touch),
        r"asks for posix\.system": call("posix.system", touch),
        r"asks for builtins\.eval": call("builtins.eval", source),
        r"asks for __builtin__\.eval": call("__builtin__.eval", source),
        r"asks for builtins\.getattr": call("builtins.getattr", {}, "pop"),
        r"asks for torch\.load": call("torch.load", str(witness)),
        r"asks for torch\.hub": call("torch.hub.load", "a/b", "c"),
        r"asks for torch\._utils\._rebuild_qtensor": named("torch._utils._rebuild_qtensor"),
        r"asks for torch\.QInt8Storage": whole(form, kind="QInt8Storage"),
        r"asks for argparse\.Namespace": call("argparse.Namespace"),
        r"asks for numpy.core.multiarray\.scalar": named("numpy.core.multiarray.scalar"),
        r"asks for jaxcnn\.weights\.hub\.fetch": named("jaxcnn.weights.hub.fetch"),
        r"asks for torch\.FloatStorage\.__init__": Raw(
            b"\x8c\x05torch\x8c\x15FloatStorage.__init__\x93"
        ),
        "whose name is no text": Raw(b"NN\x93"),
        "does not need its instruction INST": Raw(f"(V{source}\nibuiltins\neval\n".encode()),
        "does not need its instruction OBJ": Raw(b"(ccollections\nOrderedDict\no"),
        "does not need its instruction EXT1": Raw(b"\x82\x01"),
        "does not need its instruction NEWOBJ_EX": Raw(named("torch.Size") + b")}\x92"),
        "does not need its instruction PERSID": Raw(b"P0\n"),
        "does not need its instruction EMPTY_SET": Raw(b"\x8f"),
        "calls a str": Raw(piece("text") + b")R"),
        "calls a Float32DType": Raw(named("torch.FloatStorage") + b")R"),
        "calls a dict": Raw(b"})\x81"),
        "calls a function with a list": Raw(named("torch.Size") + b"]R"),
        "sets the state of a function": Raw(
            named("torch._utils._rebuild_tensor_v2") + piece({"__code__": 1}) + b"b"
        ),
        "sets the state of a list": Raw(b"]}b"),
        "sets items of a function": Raw(named("torch.Size") + piece("a") + piece("b") + b"s"),
        "appends to a tuple": Raw(b")Na"),
        "has a function as a key": Raw(b"}" + named("torch.Size") + b"Ns"),
        "has a list as a key": Raw(b"}]Ns"),
    }
    for message, content in cases.items():
        refused(reads, form(content), message)
        refused(reads, form({"state_dict": {"x": whole(form)}, "args": content}), message)
        assert not witness.exists()


@FORM
def test_what_refers_to_storages_wrongly(form, reads):
    more = (None,) if form is legacy else ()
    kind = named("torch.FloatStorage")
    for pid in ("0", None, (), ("storage", kind, "0"), ("module", kind, "0", "cpu", 4, *more)):
        refused(reads, form({"x": Raw(piece(pid) + b"Q")}), "no storage")
    for pid in (
        ("storage", "FloatStorage", "0", "cpu", 4),
        ("storage", named("torch.Size"), "0", "cpu", 4),
        ("storage", kind, 0, "cpu", 4),
        ("storage", kind, None, "cpu", 4),
    ):
        refused(reads, form({"x": reference(*pid, *more)}), "must have a type and a name")
    for size in (-1, 4.0, "4", None):
        pid = reference("storage", kind, "0", "cpu", size, *more)
        refused(reads, form({"x": pid}), "must be non-negative integers")


def test_shapes_and_strides(reads):
    good = {
        "overlapping": ((3, 2), (1, 1), 0),
        "expanded": ((2, 3), (0, 1), 1),
        "one_of_any_stride": ((1, 4), (10**30, 1), 0),
        "none": ((0, 7), (7, 1), 10**9),
        "number": ((), (), 3),
        "backwards_axes": ((2, 2), (1, 2), 0),
    }
    arrays = reads(zipped({k: tensor(*v) for k, v in good.items()}))
    assert arrays["overlapping"].tolist() == [[0, 1], [1, 2], [2, 3]]
    assert arrays["expanded"].tolist() == [[1, 2, 3], [1, 2, 3]]
    assert arrays["one_of_any_stride"].tolist() == [[0, 1, 2, 3]]
    assert arrays["none"].shape == (0, 7)
    assert arrays["number"] == 3
    assert arrays["backwards_axes"].tolist() == [[0, 2], [1, 3]]
    bad = {
        "beyond its storage": [
            ((5,), (1,), 0), ((4,), (1,), 1), ((2,), (4,), 0), ((2, 2), (2, 2), 0), ((), (), 4),
            ((2**62, 4), (2**62, 1), 0), ((2,), (2**70,), 0), ((1,), (1,), 2**64),
        ],
        "more than 67108864 bytes": [
            ((2**40,), (0,), 0), ((2**40, 1, 2**40), (0, 5, 0), 0), ((2**12,) * 3, (0,) * 3, 1),
        ],
        "non-negative integers": [
            ((-1,), (1,), 0), ((4,), (-1,), 3), ((4,), (1,), -1), ((2.0,), (1,), 0),
            ((True,), (1,), 0), ((1,), (1 << 128,), 0), (("4",), (1,), 0), ((None,), (1,), 0),
        ],
        "axes and": [((4,), (1, 1), 0), ((4,), (), 0), ((1,) * 70, (1,) * 70, 0)],
        "a storage, a shape and strides": [([4], (1,), 0), ((4,), None, 0), (4, 1, 0)],
    }  # fmt: skip
    for message, cases in bad.items():
        for case in cases:
            refused(reads, zipped({"x": tensor(*case)}), message)
            refused(reads, zipped({"state": {"x": tensor(*case)}, "epoch": 1}), message)
    many = {f"x{i}": tensor((2**20,), (0,)) for i in range(20)}
    refused(reads, zipped(many), "more than 67108864 bytes")


def test_rebuilt_by_other_means(reads):
    hooks = call("collections.OrderedDict")
    v3 = "torch._utils._rebuild_tensor_v3"
    bytes_ = reference("storage", named("torch.storage.UntypedStorage"), "0", "cpu", 16)
    square = call("torch.Size", [2, 2])
    good = {
        "v1": call("torch._utils._rebuild_tensor", storage(), 0, (4,), (1,)),
        "size": call("torch._utils._rebuild_tensor", storage(), 0, square, (2, 1)),
        "v3": call(v3, bytes_, 1, (3,), (1,), False, hooks, named("torch.uint32"), {}),
        "parameter": call("torch._utils._rebuild_parameter", tensor(), True, hooks),
    }  # fmt: skip
    arrays = reads(zipped(good))
    numbers = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(arrays["v1"], numbers)
    np.testing.assert_array_equal(arrays["size"], numbers.reshape(2, 2))
    np.testing.assert_array_equal(arrays["v3"], numbers[1:].view(np.uint32))
    np.testing.assert_array_equal(arrays["parameter"], numbers)
    bad = {
        "conjugated": call(
            "torch._utils._rebuild_tensor_v2",
            *(storage(), 0, (4,), (1,), False, hooks, {"conj": True}),
        ),
        "a tensor has no type": call(v3, bytes_, 0, (4,), (1,), False, hooks, "uint32"),
        "reaches beyond": call(v3, bytes_, 0, (5,), (1,), False, hooks, named("torch.uint32")),
        "a parameter must be": call("torch._utils._rebuild_parameter", {}, True, hooks),
        "corrupt .TypeError": call("torch._utils._rebuild_tensor_v2", storage()),
        "corrupt .*pairs|values": call("collections.OrderedDict", [[1, 2, 3]]),
    }
    for message, content in bad.items():
        refused(reads, zipped({"x": content}), message)


@FORM
def test_memory_and_depth(form, reads):
    nested = Raw(b"]" * 30_000 + b"a" * 29_999)
    doubled = Raw(b"(]q\1" + b"]h\1ah\1aq\1" * 200 + b"t")  # 2^200 lists for who counts
    tuples = Raw(b")" + b"\x85" * 30_000)
    state = {"x": whole(form)}
    for args in (nested, doubled, tuples):
        assert list(reads(form({"state_dict": state, "args": args}))) == ["x"]
        refused(reads, form(args), "it holds a (list|tuple), not tensors by name")
    refused(reads, form(Raw(b"}" + tuples + b"Ns")), "has a tuple as a key")
    assert reads(form({"model": state, "memo": Raw(b"N" + b"r\xff\xff\xff\x7f")}))
    assert reads(form({"model": state, "memo": Raw(b"Np" + b"9" * 4000 + b"\n")}))
    lengths = {
        "BINBYTES8": b"\x8e" + struct.pack("<Q", 2**60) + b"x",
        "BINUNICODE": b"X\xff\xff\xff\xffx",
        "BINUNICODE8": b"\x8d" + struct.pack("<Q", 2**40) + b"x",
        "BYTEARRAY8": b"\x96" + struct.pack("<Q", 2**60) + b"x",
        "LONG4": b"\x8b\xff\xff\xff\x7fx",
        "FRAME": b"\x95" + struct.pack("<Q", 2**62) + b"\x8e",
        "a huge number": b"L" + b"9" * 100_000 + b"L\n",
    }
    for content in lengths.values():
        refused(reads, form(Raw(content)), "corrupt")
    for content in (b"a", b"R", b"h\5", b"t", b"0", b"u", b"\x87", b"\x93", b"b", b"Na", b""):
        refused(reads, form(Raw(content)), "(corrupt|refused)")


@FORM
def test_what_cannot_be_printed_is_not(form, reads):
    doubled = Raw(b"(]q\1" + b"]h\1ah\1aq\1" * 200 + b"t")
    view = (None,) if form is legacy else ()
    of = storage("0", 4, "FloatStorage", *view)
    refused(
        reads, form({"x": tensor((doubled,), (1,), of=of)}), r"non-negative integers, got .*\.\.\."
    )


def test_too_many_instructions(reads, monkeypatch):
    monkeypatch.setattr("jaxcnn.data.unpickling.INSTRUCTIONS", 1000)
    content = {"x": tensor(), "y": Raw(b"]" + b"Na" * 600)}
    refused(reads, zipped(content), "more than 1000 instructions")


def test_zip_files(reads):
    good = {"x": tensor()}
    np.testing.assert_array_equal(reads(zipped(good, folder="any name"))["x"], np.arange(4))
    np.testing.assert_array_equal(reads(zipped(good, byteorder=b"little"))["x"], np.arange(4))
    swapped = np.arange(4, dtype=">f4").tobytes()
    found = reads(zipped(good, {"0": swapped}, byteorder=b"big"))["x"]
    np.testing.assert_array_equal(found, np.arange(4))
    refused(reads, zipped(good, byteorder=b"middle"), "its byte order is b'middle'")
    refused(reads, zipped(good, {}), "it has no archive/data/0")
    refused(reads, zipped(good, {"0": NUMBERS[:-1]}), "storage 0 has 15 bytes instead of 16")
    refused(reads, zipped({"x": tensor(of=storage("../../0"))}), r"no archive/data/\.\./\.\./0")
    refused(reads, zipped({"x": tensor(of=storage("/etc/passwd"))}), "no archive/data//etc/passwd")
    refused(reads, zipped(good)[:200] + b"x" * 100, "corrupt .*BadZip|corrupt .*zip file")


def test_zip_files_without_a_pickle_or_with_two(reads):
    for names in ([], ["data.pkl"], ["a/data.pkl", "b/data.pkl"], ["weights.npy"]):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name in [*names, "other"]:
                archive.writestr(name, b"")
        refused(reads, file.getvalue(), "has one data.pkl, in a folder")


def test_zip_bombs(reads):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        numbers = b"\0" * (1 << 24)
        archive.writestr("a/data/0", numbers)
        content = b"\x80\x02" + piece({"x": tensor((1 << 22,), of=storage("0", 1 << 22))}) + b"."
        archive.writestr(zipfile.ZipInfo("a/data.pkl"), content)
    refused(reads, file.getvalue(), "a/data/0 must be stored as it is")

    content = zipped({"x": tensor((2**28,), of=storage("0", 2**28))})
    directory = content.rindex(b"PK\1\2")
    for size in (2**30, 2**32 - 2):
        lying = bytearray(content)
        lying[directory + 20 : directory + 28] = struct.pack("<II", size, size)
        refused(reads, bytes(lying), "no larger than the file|more than 67108864")
    lying = bytearray(zipped({"x": tensor()}))
    directory = lying.rindex(b"PK\1\2")
    lying[directory + 20 : directory + 28] = struct.pack("<II", 2**30, 2**30)
    refused(reads, bytes(lying), "no larger than the file")
    encrypted = bytearray(zipped({"x": tensor()}))
    encrypted[directory + 8] |= 1
    refused(reads, bytes(encrypted), "encrypted")


def test_legacy_files(reads):
    good = {"x": whole()}
    refused(reads, legacy(good, machine=False), "not written by a little-endian machine")
    refused(reads, legacy(good, machine=None), "not written by a little-endian machine")
    refused(reads, legacy(good, start=(MAGIC, 1002)), "another magic number or version")
    refused(reads, legacy(good, start=([MAGIC], 1001)), "another magic number or version")
    refused(reads, legacy(good, size=3), "storage 0 has 3 numbers instead of 4")
    refused(reads, legacy(good, size=-1), "storage 0 has -1 numbers")
    refused(reads, legacy(good, size=2**62), "storage 0 has 4611686018427387904 numbers")
    refused(reads, legacy(good, keys={}), "list of storages does not fit")
    refused(reads, legacy(good, keys=["1"]), "list of storages does not fit")
    refused(reads, legacy(good, keys=[0]), "list of storages does not fit")
    refused(reads, legacy(good, keys=[["0"]]), "list of storages does not fit")
    refused(reads, legacy({"x": whole(size=2**60)}), "storage 0 should end at byte 461168601842")
    refused(reads, legacy(good)[:-1], "storage 0 should end at byte")
    two = {"x": whole(), "y": whole(kind="IntStorage")}
    refused(reads, legacy(two), "storage 0 has two types or sizes")


def test_views_of_legacy_storages(reads):
    def viewed(*view):
        return {"x": tensor((2,), of=storage("0", 4, "FloatStorage", view))}

    assert reads(legacy(viewed("1", 1, 2)))["x"].tolist() == [1, 2]
    refused(reads, legacy(viewed("1", 1, 1)), "beyond its storage")
    refused(reads, legacy(viewed("1", 3, 2)), "a view of storage 0 reaches beyond it")
    refused(reads, legacy(viewed("1", -1, 2)), "non-negative")
    refused(reads, legacy(viewed("1", 1)), "must be a key, an offset and a size")


def test_checkpoints(reads):
    state, other = {"x": tensor()}, {"y": tensor((), ())}
    epoch = {"epoch": 3, "args": {"lr": 0.1}, "best": tensor((), ()), "optimizer": {"state": {}}}
    for content in (
        state,
        {"state_dict": state},
        {"model": state, **epoch},
        {"model_ema": state, **epoch},
        {"any": state, "empty": {}},
    ):
        np.testing.assert_array_equal(reads(zipped(content))["x"], np.arange(4))
    both = zipped({"model": state, "model_ema": other, "epoch": 3})
    listed = r"its entries: model \(tensors\), model_ema \(tensors\), epoch \(int\)"
    refused(reads, both, f"no single entry of tensors .`state` names one.; {listed}")
    assert list(reads(both, state="model")) == ["x"]
    assert list(reads(both, state="model_ema")) == ["y"]
    refused(reads, both, f"no entry ema of tensors; {listed}", state="ema")
    refused(reads, both, "no entry epoch of tensors", state="epoch")
    for listed, content in {
        "epoch (int).": {"epoch": 3},
        "x (Tensor), model (tensors).": {"x": tensor(), "model": state},
        "x (Tensor), epoch (int).": {"x": tensor(), "epoch": 3},
        "model (dict).": {"model": {"x": tensor(), "epoch": 3}},
        "1 (Tensor).": {1: tensor()},
        "its entries: .": {},
    }.items():
        refused(reads, zipped(content), re.escape(listed))
    refused(reads, zipped([1]), "it holds a list, not tensors by name")


def test_only_what_is_taken_is_read(reads):
    """The optimizer's storages may be damaged, or of types that nobody knows."""
    content = {"model": {"x": tensor()}, "optimizer": {"state": {0: tensor(of=storage("1"))}}}
    assert list(reads(zipped(content))) == ["x"]


def damaged(content, flips):
    """All truncations of it, and copies with one or two other bytes."""
    yield from (content[:n] for n in range(len(content)))
    choose = random.Random(0)
    for _ in range(flips):
        changed = bytearray(content)
        for _ in range(choose.choice((1, 2))):
            changed[choose.randrange(len(content))] = choose.randrange(256)
        yield bytes(changed)


@FORM
def test_damaged_files_give_arrays_or_an_error(form, tmp_path):
    state = {"kernel": whole(form)}
    content = form({"state_dict": state, "epoch": 3, "lr": 0.5, "names": ("a", [2])})
    errors = 0
    path = tmp_path / "damaged"
    with open(path, "wb", buffering=0) as file:
        for changed in damaged(content, 400):
            file.seek(0)
            file.write(changed)
            file.truncate()
            try:
                assert all(type(v) is np.ndarray for v in read(path).values())
            except ValueError as error:
                assert str(error).startswith(f"read: {path} is ")  # noqa: PT017
                errors += 1
    assert errors > len(content)
