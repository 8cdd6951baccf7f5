"""Makes torch_files/: small files as PyTorch saves them, in both formats, and their values.

Needs PyTorch (2.13 made the committed files); the tests do not.
    python tests/golden/make_torch_files.py

`big_endian.pth` and `of_2017.pth` are written by hand, as no PyTorch of today writes such files;
that it reads them is checked here.
"""

import copyreg
import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).with_name("torch_files")
TYPES = (
    "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex128 complex64 "
    "uint16 uint32 uint64 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"
).split()


def main() -> None:
    import torch

    HERE.mkdir(exist_ok=True)
    values = {}

    def note(file: str, state: dict) -> None:
        """The bits of every tensor, as bytes; its type and shape are part of the name."""
        for name, tensor in state.items():
            bits = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
            key = f"{file}:{name}:{str(tensor.dtype).removeprefix('torch.')}"
            values[key] = bits.numpy().reshape(*tensor.shape, tensor.element_size())

    x = torch.tensor([[0.0, 1.0, 2.0], [0.5, -3.0, -0.25]])
    types = {t: x.abs().to(getattr(torch, t)) for t in TYPES}
    types["complex64"] = x * (1 + 2j)

    base = torch.arange(24.0)
    shared = base.reshape(2, 3, 4)
    views = {
        "whole": shared,
        "same": shared,
        "transposed": shared.permute(2, 0, 1),
        "slice": shared[1, :, 1:3],
        "steps": base[1::5],
        "number": base[7],
        "alone": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "empty_slice": base[24:],
        "expanded": torch.tensor([[1.0], [2.0]]).expand(2, 5),
        "windows": base.unfold(0, 4, 2),
        "channels_last": base.reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
        "bfloat16_column": torch.arange(6.0).reshape(3, 2).to(torch.bfloat16)[:, 1],
        "uint16_row": types["uint16"][1],
    }  # fmt: skip

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "arch": "net",
        "args": {"lr": 0.1, "betas": (0.9, 0.999), "sizes": [1, 2], "note": None, "amp": True},
        "best_acc1": torch.tensor(76.1),
        "state_dict": net.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    parameters = OrderedDict(net.named_parameters())

    cases = {
        "types": (types, types, 2),
        "views": (views, views, 2),
        "parameters": (parameters, parameters, 2),
        "checkpoint": (checkpoint, checkpoint["state_dict"], 4),
    }
    for name, (saved, state, protocol) in cases.items():
        for form in ("zip", "legacy"):
            path = HERE / f"{name}_{form}.pth"
            new = form == "zip"
            torch.save(saved, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
        note(name, state)

    typed = {k: v for k, v in types.items() if k in TYPES[:12]}  # PyTorch does not swap the others
    (HERE / "big_endian.pth").write_bytes(big_endian(typed))
    again = torch.load(HERE / "big_endian.pth", weights_only=True)
    assert all(torch.equal(again[k], v) for k, v in typed.items())
    note("big_endian", typed)

    (HERE / "of_2017.pth").write_bytes(of_2017())
    note("of_2017", torch.load(HERE / "of_2017.pth", weights_only=True))
    np.savez_compressed(HERE / "values.npz", **values)


def big_endian(state: dict) -> bytes:
    """The zip file that a machine of the other byte order would write."""
    import torch

    plain, swapped = io.BytesIO(), io.BytesIO()
    torch.save(state, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(swapped, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            _, is_storage, key = name.partition("/data/")
            if is_storage:
                tensor = list(state.values())[int(key)]
                size = tensor.element_size() // (2 if tensor.is_complex() else 1)
                content = np.frombuffer(content, f"u{size}").byteswap().tobytes()
            target.writestr(name, b"big" if name.endswith("/byteorder") else content)
    return swapped.getvalue()


def of_2017() -> bytes:
    """The older format with what it held then: Parameter objects, views of a storage, a list of
    pairs in the OrderedDict (Python 2)."""
    import torch

    class Storage(NamedTuple):
        view: tuple[str, int, int] | None

    class Tensor:
        def __init__(self, *args):
            self.args = args

        def __reduce__(self):
            return torch._utils._rebuild_tensor, self.args

    class Parameter:
        __class__ = property(lambda self: torch.nn.Parameter)  # what a pickler asks for

        def __init__(self, data):
            self.data = data

        def __reduce_ex__(self, protocol):
            return copyreg.__newobj__, (torch.nn.Parameter, self.data), (True, False, OrderedDict())

    class Dictionary:
        def __reduce__(self):
            whole, part = Storage(None), Storage(("101", 4, 6))
            kernel = Parameter(Tensor(part, 1, (2, 2), (1, 2)))
            return OrderedDict, ([["bias", Tensor(whole, 0, (10,), (1,))], ["kernel", kernel]],)

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, Storage):
                return "storage", torch.FloatStorage, "100", "cpu", 10, obj.view
            return None

    file = io.BytesIO()
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    for header in (0x1950A86A20F9469CFC6C, 1001, machine):
        pickle.dump(header, file, 2)
    Pickler(file, 2).dump(Dictionary())
    pickle.dump(["100"], file, 2)
    file.write(struct.pack("<q", 10) + np.arange(10, dtype="<f4").tobytes())
    return file.getvalue()


if __name__ == "__main__":
    main()
