"""Each operation of CNNs, forward and backward: ours beside `jax.lax` and PyTorch.

All candidates take turns, on 2 threads each. `ours` is what `jaxcnn.functional` calls, in the form
that its table chooses; with `--forms` each form that fits is measured as well, which is how the
table came about. `torch` is eager PyTorch with channels_last, in a process of its own. `of peak` is
our rate, counted in the products of direct convolution, over that of a matrix product by turns.

Command:  python experiments/benchmark_operations.py --seconds 1
Hardware: 2 CPU cores (AMD EPYC with AVX-512), jax 0.10.2 (and 0.12), torch 2.13, float32
Time:     5 min
Result:   depthwise convolution takes 1/7 to 1/175 of lax's time, grouped kernels' gradients 1/7 to
          1/330, max pooling's gradient 1/3 to 1/62, 3x3 on 2x2 pixels 1/60
          (results/benchmark_operations.md). Ahead of PyTorch: pooling, small maps, most gradients
          by x of strided and of few channels. Behind: depthwise by up to 4.6 times, narrow groups
          by up to 10, and where XLA's own convolution is best, at 0.2 to 0.9 of a product's rate.
          Batch norm's forward pass alone takes twice Flax's time: its variance reads x once more
"""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array
from recording import recorded, save, save_table
from timing import TORCH, Call, Peer, interleaved

from jaxcnn import lowering
from jaxcnn.functional import avg_pool, batch_norm, conv, conv_transpose, max_pool
from jaxcnn.functional.shapes import multiply_adds
from jaxcnn.lowering.choice import FORMS


class Conv(NamedTuple):
    """A convolution of square images."""

    batch: int
    size: int
    c_in: int
    c_out: int
    window: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    dilation: int = 1
    transposed: bool = False


class Pool(NamedTuple):
    """Pooling of square images."""

    kind: str
    batch: int
    size: int
    channels: int
    window: int
    stride: int
    padding: int = 0


class Norm(NamedTuple):
    """Batch norm of square images."""

    batch: int
    size: int
    channels: int


OPERATIONS: dict[str, Conv | Pool | Norm] = {
    "depthwise 3x3": Conv(16, 56, 96, 96, 3, 1, 1, 96),
    "depthwise 3x3/2": Conv(16, 56, 96, 96, 3, 2, 1, 96),
    "depthwise 3x3, small map": Conv(16, 14, 384, 384, 3, 1, 1, 384),
    "depthwise 5x5": Conv(16, 28, 240, 240, 5, 1, 2, 240),
    "depthwise 7x7": Conv(16, 28, 192, 192, 7, 1, 3, 192),
    "grouped 3x3, 32 groups": Conv(8, 28, 256, 256, 3, 1, 1, 32),
    "grouped 3x3, 32 groups, small map": Conv(8, 14, 512, 512, 3, 1, 1, 32),
    "grouped 5x5, 2 groups": Conv(8, 27, 96, 256, 5, 1, 2, 2),
    "grouped 3x3, 2 groups": Conv(16, 13, 384, 384, 3, 1, 1, 2),
    "3x3 on 2x2": Conv(64, 2, 512, 512, 3, 1, 1),
    "3x3 on 3x3": Conv(64, 3, 512, 512, 3, 1, 1),
    "3x3 on 4x4": Conv(64, 4, 512, 512, 3, 1, 1),
    "LeNet 1": Conv(128, 28, 1, 6, 5, 1, 2),
    "LeNet 2": Conv(128, 14, 6, 16, 5),
    "stem 7x7/2": Conv(8, 224, 3, 64, 7, 2, 3),
    "stem 3x3/2": Conv(16, 96, 3, 32, 3, 2, 1),
    "stem 11x11/4": Conv(16, 224, 3, 64, 11, 4, 2),
    "stem 4x4/4": Conv(8, 224, 3, 96, 4, 4),
    "stem 3x3": Conv(64, 32, 3, 64, 3, 1, 1),
    "1x1": Conv(32, 14, 256, 64, 1),
    "1x1, widening": Conv(16, 48, 16, 96, 1),
    "1x1/2": Conv(32, 16, 128, 256, 1, 2),
    "2x2/2": Conv(8, 56, 96, 192, 2, 2),
    "3x3": Conv(64, 32, 64, 64, 3, 1, 1),
    "3x3, wide": Conv(64, 8, 256, 256, 3, 1, 1),
    "3x3/2": Conv(64, 32, 64, 128, 3, 2, 1),
    "3x3/2, small map": Conv(16, 6, 256, 512, 3, 2, 1),
    "5x5": Conv(16, 12, 32, 96, 5, 1, 2),
    "3x3, dilation 2": Conv(8, 28, 128, 128, 3, 1, 2, 1, 2),
    "transposed 4x4/2": Conv(8, 14, 128, 64, 4, 2, 1, transposed=True),
    "transposed 2x2/2": Conv(8, 28, 128, 64, 2, 2, transposed=True),
    "max 3x3/2": Pool("max", 16, 112, 64, 3, 2, 1),
    "max 3x3/2, AlexNet": Pool("max", 16, 55, 96, 3, 2),
    "max 2x2/2": Pool("max", 64, 32, 64, 2, 2),
    "max 2x2/2, LeNet": Pool("max", 128, 28, 6, 2, 2),
    "max 3x3/1": Pool("max", 32, 28, 192, 3, 1, 1),
    "max 13x13/1": Pool("max", 8, 13, 256, 13, 1, 6),
    "average 3x3/1": Pool("avg", 32, 28, 192, 3, 1, 1),
    "average 2x2/2": Pool("avg", 64, 32, 64, 2, 2),
    "batch norm": Norm(64, 32, 64),
    "batch norm, large map": Norm(16, 56, 96),
}

Pass = tuple[Callable[..., Any], tuple[Array, ...]]


@dataclasses.dataclass(frozen=True)
class Config:
    """What to run."""

    names: tuple[str, ...] = ()
    """Operations whose name holds one of these; by default all."""
    seconds: float = 2.0
    """How long the turns of one pass last, about."""
    forms: bool = False
    """Also every form that fits; nothing is written then."""
    options: bool = False
    """Ours and lax's compiled with `lowering.compiler_options()`."""
    torch: str = TORCH
    """A Python that has PyTorch, this one or another; none where empty."""
    product: int = 1024
    """Rows and columns of the matrices whose product is the peak."""
    label: str = ""
    """Ending of the record's name, for another machine or version."""
    smoke: bool = False
    """A few small operations of one image, nothing written."""


def random(*shape: int, seed: int = 0) -> Array:
    """Standard normal float32."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def conv_passes(c: Conv) -> dict[str, Pass]:
    """The three passes of a convolution, as functions of arrays."""
    x = random(c.batch, c.size, c.size, c.c_in)
    options: dict[str, Any] = {"stride": c.stride, "padding": c.padding, "groups": c.groups}
    options["dilation"] = c.dilation
    if c.transposed:
        kernel, apply = random(c.window, c.window, c.c_out, c.c_in), conv_transpose
    else:
        kernel, apply = random(c.window, c.window, c.c_in // c.groups, c.c_out), conv

    def f(x: Array, kernel: Array) -> Array:
        return apply(x, kernel, **options)

    y = jax.eval_shape(f, x, kernel)
    dy = random(*y.shape, seed=1)
    return {
        "forward": (f, (x, kernel)),
        "by x": (lambda y, k: jax.linear_transpose(lambda x: f(x, k), x)(y)[0], (dy, kernel)),
        "by kernel": (
            lambda x, y: jax.linear_transpose(lambda k: f(x, k), kernel)(y)[0],
            (x, dy),
        ),
    }


def gradient(f: Callable[..., Array], *args: Array) -> dict[str, Pass]:
    """The forward pass of a function, and it with the gradient by all arguments."""
    dy = random(*jax.eval_shape(f, *args).shape, seed=1)

    def both(dy: Array, *args: Array) -> tuple[Array, ...]:
        y, back = jax.vjp(f, *args)
        return y, *back(dy)

    return {"forward": (f, args), "forward and back": (both, (dy, *args))}


def pool_passes(p: Pool) -> dict[str, Pass]:
    """Both passes of pooling."""
    pool = {"max": max_pool, "avg": avg_pool}[p.kind]
    x = random(p.batch, p.size, p.size, p.channels)
    return gradient(lambda x: pool(x, p.window, stride=p.stride, padding=p.padding), x)


def norm_passes(batch: int, size: int, c: int) -> dict[str, Pass]:
    """Both passes of batch norm in training."""
    zero, one = jnp.zeros(c), jnp.ones(c)

    def f(x: Array, scale: Array, bias: Array) -> Array:
        return batch_norm(x, scale, bias, zero, one, train=True)[0]

    return gradient(f, random(batch, size, size, c), one, zero)


def stock_norm(batch: int, size: int, c: int) -> dict[str, Pass]:
    """Both passes of Flax's batch norm."""
    from flax import linen as nn

    norm = nn.BatchNorm(use_running_average=False)
    statistics = {"mean": jnp.zeros(c), "var": jnp.ones(c)}

    def f(x: Array, scale: Array, bias: Array) -> Array:
        variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": statistics}
        return norm.apply(variables, x, mutable=["batch_stats"])[0]

    return gradient(f, random(batch, size, size, c), jnp.ones(c), jnp.zeros(c))


class Case(NamedTuple):
    """What is measured of an operation."""

    passes: dict[str, Pass]
    torch: str  # what `torch_peer` makes of the same sizes
    flops: int | None = None  # of each pass
    stock: dict[str, Pass] | None = None  # the peer's, where it is not ours under `use("xla")`


def case_of(sizes: Conv | Pool | Norm) -> Case:
    """The passes of an operation of these sizes."""
    match sizes:
        case Conv():
            passes = conv_passes(sizes)
            f, args = passes["forward"]
            return Case(passes, "conv", flops=2 * multiply_adds(f, *args))
        case Pool():
            return Case(pool_passes(sizes), "pool")
        case Norm():
            return Case(norm_passes(*sizes), "norm", stock=stock_norm(*sizes))


def compiled(f: Callable[..., Any], args: tuple[Array, ...], form: str | None, options: Any) -> Any:
    """A call that waits for its result."""
    with lowering.use(form) if form else contextlib.nullcontext():
        program = jax.jit(lambda *args: f(*args)).lower(*args).compile(options)
    return lambda: jax.block_until_ready(program(*args))


def measured(
    case: Case, torch: dict[str, Call], product: Call, config: Config
) -> dict[str, dict[str, Any]]:
    """Our form, milliseconds of each candidate and ratios, by pass."""
    options = lowering.compiler_options() if config.options else {}
    rows = {}
    for what, (f, args) in case.passes.items():
        calls = {"ours": compiled(f, args, None, options)}
        other, other_args = case.stock[what] if case.stock else (f, args)
        calls["lax"] = compiled(other, other_args, "xla", options)
        if config.forms:
            for form in FORMS:
                with lowering.use(form):
                    fits = any(d.form == form for d in lowering.explain(f, *args))
                if fits:
                    calls[form] = compiled(f, args, form, options)
        if what in torch:
            calls["torch"] = torch[what]
        if case.flops:
            calls["product"] = product
        ms = {name: 1e3 * s for name, s in interleaved(calls, config.seconds, turns=3).items()}
        row = rows[what] = {
            "form": " ".join(decision.form for decision in lowering.explain(f, *args)),
            **{name: t for name, t in ms.items() if name != "product"},
            "lax / ours": ms["lax"] / ms["ours"],
        }
        if "torch" in ms:
            row["torch / ours"] = ms["torch"] / ms["ours"]
        if case.flops:
            row["of peak"] = (case.flops / ms["ours"]) / (2 * config.product**3 / ms["product"])
    return rows


def rounded(row: dict[str, Any]) -> dict[str, str]:
    """A row for people."""
    return {key: v if isinstance(v, str) else f"{v:.2f}" for key, v in row.items()}


def main(config: Config) -> dict[str, Any]:
    """Print and record a row for each pass of each operation."""
    name = "benchmark_operations" + (f"-{config.label}" if config.label else "")
    peer = Peer(config.torch) if config.torch and not config.smoke else None
    if config.smoke:
        names = ("LeNet 2", "max 2x2/2, LeNet")
        config = dataclasses.replace(config, names=names, seconds=0.0, product=64)
    else:
        lowering.keep_memory()
    rows = {} if config.smoke or config.forms else recorded(name)
    matrix = random(config.product, config.product)
    product = compiled(jnp.matmul, (matrix, matrix), None, {})
    for operation, sizes in OPERATIONS.items():
        if config.names and not any(part in operation for part in config.names):
            continue
        if config.smoke:
            sizes = sizes._replace(batch=1)
        case = case_of(sizes)
        torch = peer.calls(case.torch, **sizes._asdict()) if peer else {}
        for what, row in measured(case, torch, product, config).items():
            rows[f"{operation}, {what}"] = row
            print(f"{operation}, {what}:", rounded(row), flush=True)
        if peer:
            peer.forget()
        if not config.smoke and not config.forms:
            save(name, rows)
    if not config.smoke and not config.forms:
        save_table(name, {key: rounded(row) for key, row in rows.items()})
    return rows


if __name__ == "__main__":
    main(tyro.cli(Config))
