"""A run's best model for those who have no jaxcnn: a program of StableHLO, or its bare weights."""

import importlib.metadata
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, export

from jaxcnn.train.directories import write_json, write_whole
from jaxcnn.train.inputs import make_prepare
from jaxcnn.train.runs import Run
from jaxcnn.weights import save_safetensors

PLATFORMS = ("cpu", "cuda", "tpu")
LOADING = """\
from jax import export  # pip install "jax>={version}" flatbuffers
with open("{file}", "rb") as file:
    program = export.deserialize(bytearray(file.read()))
logits = program.call(pixels)  # pixels: uint8, b x {h} x {w} x {c}, 0 to 255; any b
"""


def exported(run: Run, *, platforms: Sequence[str] = PLATFORMS) -> export.Exported:
    """The best model of a run as one program for any batch size.

    Args:
        run: of `load_run`.
        platforms: what it can be compiled for where it is loaded; none need be here.

    Returns:
        a program whose `call` takes pixels 0 to 255, uint8 b h w c, normalizes them and gives
        logits, float32 b classes. The parameters are constants in it.

    Reference: https://docs.jax.dev/en/latest/export/export.html
    """
    prepare = make_prepare(run.input)
    variables = jax.device_get(run.variables)  # bound to no device

    def logits(pixels: Array) -> Array:
        computed: Any = run.model.apply(variables, prepare(pixels), train=False)
        return computed.astype(jnp.float32)

    (b,) = export.symbolic_shape("b")
    pixels = jax.ShapeDtypeStruct((b, *run.input.shape), jnp.uint8)
    return export.export(jax.jit(logits), platforms=platforms)(pixels)


def export_program(run: Run, path: Path, *, overwrite: bool = False) -> tuple[Path, ...]:
    """Write `exported(run)` to a file, and what its user must know to a .json file beside it.

    Who loads it needs the packages jax and flatbuffers alone. Versions of JAX from this one on read
    it, for six months at least, as JAX promises; older ones may not.

    Args:
        run: of `load_run`.
        path: ends in .stablehlo.
        overwrite: replace files that are there.

    Returns:
        the files written.

    Raises:
        ValueError: another ending, or a file that is there already.
        FileNotFoundError: no such directory.
        ImportError: the package flatbuffers is missing.
    """
    about = path.with_suffix(".json")
    _check("export_program", (path, about), ".stablehlo", overwrite)
    if importlib.util.find_spec("flatbuffers") is None:
        raise ImportError(
            "export_program: needs the package flatbuffers; install it with: "
            "pip install flatbuffers"
        )
    program = exported(run)
    write_json(about, _description(run, program, path.name))
    write_whole(path, program.serialize())
    return path, about


def export_weights(run: Run, path: Path, *, overwrite: bool = False) -> tuple[Path, ...]:
    """Write the best variables of a run as `jaxcnn.weights.load` takes them.

    Args:
        run: of `load_run`.
        path: ends in .safetensors.
        overwrite: replace a file that is there.

    Returns:
        the file written.

    Raises:
        ValueError: another ending, or a file that is there already.
        FileNotFoundError: no such directory.
    """
    _check("export_weights", (path,), ".safetensors", overwrite)
    texts = {
        "model": run.config.model,
        "model_options": json.dumps(run.config.model_options),
        "input": json.dumps(run.input._asdict()),
    }
    save_safetensors(path, run.variables, texts)
    return (path,)


FORMATS: Mapping[str, Callable[..., tuple[Path, ...]]] = {
    "stablehlo": export_program,
    "safetensors": export_weights,
}


def _check(function: str, paths: Sequence[Path], ending: str, overwrite: bool) -> None:
    """Before the work: what would fail after it."""
    path = paths[0]
    if path.suffix != ending:
        raise ValueError(f"{function}: the file's name must end in {ending}, got {path}.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{function}: there is no directory {path.parent} for {path.name}.")
    for there in paths:
        if there.exists() and not overwrite:
            raise ValueError(
                f"{function}: {there} is there already; overwrite it, or choose another."
            )


def _description(run: Run, program: export.Exported, name: str) -> dict[str, Any]:
    """What a user of the program must know, as JSON values."""
    h, w, c = run.input.shape
    packages = ("jaxcnn", "jax", "jaxlib", "flax")
    return {
        "file": name,
        "model": run.config.model,
        "model_options": run.config.model_options,
        "format": "StableHLO, serialized by jax.export",
        "load": LOADING.format(file=name, version=jax.__version__, h=h, w=w, c=c).splitlines(),
        "input": {
            "shape": ["b", h, w, c],
            "dtype": "uint8",
            "meaning": "pixels, 0 to 255, as they are in the file: the program normalizes them",
        },
        "output": {
            "shape": ["b", len(run.input.classes)],
            "dtype": "float32",
            "meaning": "logits of the classes",
        },
        "classes": list(run.input.classes),
        "normalization": {
            "formula": "(pixels / 255 - mean) / std, in the program",
            "mean": list(run.input.mean),
            "std": list(run.input.std),
        },
        "platforms": list(program.platforms),
        "versions": {
            **{name: importlib.metadata.version(name) for name in packages},
            "calling convention": program.calling_convention_version,
        },
    }
