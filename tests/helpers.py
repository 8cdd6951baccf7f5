"""What the tests share: the tolerances, and the checks of the test template."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

# Relative to the largest magnitude in the expected array.
TOLERANCES = {
    "exact": 0.0,
    "float64": 1e-12,
    "float32": 1e-5,
    "float32 sums": 1e-4,  # the sum of up to a million products of either sign
    "golden": 1e-6,  # PyTorch's values
    "bfloat16": 3e-2,  # eight bits of mantissa, and sums of a few dozen terms
    "bfloat16 models": 8e-2,  # the same through up to seven layers
    "large mean": 1e-3,  # beside a mean of 1e4 one float32 step is 1e-3, the largest values 4
    "zoo float32": 1e-4,  # through up to 400 layers
    "zoo float64": 1e-9,
    "gradient": 1e-6,  # central differences in float64 with steps of 1e-5
}


def assert_close(actual: Any, expected: Any, kind: str = "float32", *, where: str = "") -> None:
    """Equal shapes, infinities and NaNs, and finite values within the tolerance of `kind`."""
    a = np.asarray(actual).astype(np.float64)
    e = np.asarray(expected).astype(np.float64)
    assert a.shape == e.shape, f"{where} shape {a.shape}, expected {e.shape}"
    if not e.size:
        return
    finite = np.isfinite(e)
    np.testing.assert_array_equal(np.where(finite, 0, a), np.where(finite, 0, e), err_msg=where)
    if not finite.any():
        return
    scale = np.abs(e[finite]).max()
    worst = np.abs(a[finite] - e[finite]).max()
    limit = TOLERANCES[kind] * max(scale, 1e-30)
    assert worst <= limit, f"{where} differs by {worst:.3g}, allowed {limit:.3g} ({kind})"


def array(*shape: int, seed: int = 0) -> jax.Array:
    """Normal numbers, the same on any machine; float64 under the fixture `x64`, else float32."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def cast(args: Any, dtype: Any) -> Any:
    """All arrays of a pytree in another type, by NumPy: no program is compiled for it."""
    return jax.tree.map(lambda a: np.asarray(a).astype(dtype), args)


def skip_unless_compiled(dtype: Any) -> None:
    """Skip where XLA cannot compile a cast: to float16 on processors without F16C, before 2012."""
    try:
        jax.jit(lambda x: x.astype(dtype))(np.float32(1))
    except jax.errors.JaxRuntimeError as error:
        if dtype != jnp.float16:
            raise
        pytest.skip(f"XLA cannot cast to float16 on this processor: {error}")


def assert_gradients(f: Callable[..., Any], *args: Any, step: float = 1e-5) -> None:
    """The whole Jacobian of f, an array or several, in both modes against central differences."""

    @jax.jit
    def jacobians(*args: Any) -> tuple[jax.Array, ...]:
        flat, unravel = ravel_pytree(args)

        def g(v: jax.Array) -> jax.Array:
            return ravel_pytree(f(*unravel(v)))[0]

        steps = step * jnp.eye(flat.size, dtype=flat.dtype)
        differences = jax.vmap(lambda h: (g(flat + h) - g(flat - h)) / (2 * step))(steps).T
        return differences, jax.jacfwd(g)(flat), jax.jacrev(g)(flat)

    with jax.enable_x64(True):
        differences, forward, reverse = jacobians(*cast(args, np.float64))
    assert differences.size, "nothing to differentiate"
    assert_close(forward, differences, "gradient", where="forward mode")
    assert_close(reverse, differences, "gradient", where="reverse mode")


def assert_transforms(f: Callable[..., jax.Array], *args: Any, bfloat16: bool = True) -> None:
    """f gives the same under jit and under vmap over all arguments, and nearly so in bfloat16."""
    args, low = cast(args, np.float32), cast(args, jnp.bfloat16)
    halves = jax.tree.map(lambda a: a / 2, args)
    stacked = jax.tree.map(lambda a, half: np.stack([a, half]), args, halves)

    @jax.jit
    def transformed(args: Any, stacked: Any, low: Any) -> tuple[Any, Any, Any]:
        return f(*args), jax.vmap(f)(*stacked), f(*low) if bfloat16 else None

    def eager(args: Any) -> jax.Array:
        return f(*jax.tree.map(jnp.asarray, args))

    jitted, mapped, y = transformed(args, stacked, low)
    assert_close(jitted, eager(args), where="jit")
    assert_close(mapped, np.stack([eager(args), eager(halves)]), where="vmap")
    if bfloat16:
        assert y.dtype == jnp.bfloat16
        assert_close(y, eager(cast(low, np.float32)), "bfloat16", where="bfloat16")


def assert_finite(f: Callable[..., jax.Array], *args: Any) -> None:
    """f, its jvp and its vjp have no infinity and no NaN, in float32 and bfloat16."""

    def all_of_it(args: Any, tangents: Any) -> Any:
        y, back = jax.vjp(f, *args)
        return y, jax.jvp(f, args, tangents)[1], back(jnp.ones_like(y))

    # Unlike tangents: equal ones would cancel in a difference.
    tangents = jax.tree.map(lambda a: np.asarray(array(*np.shape(a), seed=9)), args)
    inputs = {kind: cast((args, tangents), kind) for kind in ("float32", "bfloat16")}
    found = jax.jit(lambda inputs: {kind: all_of_it(*given) for kind, given in inputs.items()})(
        inputs
    )
    for kind, values in found.items():
        for leaf in jax.tree.leaves(cast(values, np.float32)):
            assert np.isfinite(leaf).all(), f"{kind}: {leaf}"


def golden(name: str) -> dict[str, np.ndarray]:
    """Values computed by PyTorch and committed, with the script that made them."""
    with np.load(Path(__file__).parent / "golden" / f"{name}.npz") as file:
        return dict(file)


def assert_golden(
    f: Callable[..., jax.Array], values: dict[str, np.ndarray], case: str, *names: str
) -> None:
    """f of the case's `names`, and the gradients of sum(sin(f)), as recorded in float64."""

    @jax.jit
    def value_and_gradients(*args: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        y, pullback = jax.vjp(f, *args)
        return y, pullback(jnp.cos(y))

    with jax.enable_x64(True):
        y, gradients = value_and_gradients(*(values[f"{case}.{name}"] for name in names))
        assert_close(y, values[f"{case}.y"], "golden", where=case)
        for name, gradient in zip(names, gradients, strict=True):
            assert_close(gradient, values[f"{case}.d{name}"], "golden", where=f"{case}.d{name}")
