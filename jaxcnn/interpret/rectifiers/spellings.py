"""How rectifiers are written: each spelling is JAX code, and what it traces to is looked for.

To add a spelling, add a line. Arguments of a spelling stand for:

    x       what is rectified;
    a       a slope: a number between 0 and 1, or anything that does not depend on the input;
    known   a slope between 0 and 1 that is known while tracing;
    number  any number that is known while tracing;
    cap     such a number below 6, or 255: the ends of gates and of images;
    others  anything at all.

The order of the operands of +, *, max and min, and that of comparisons, does not matter, nor do
copies to other shapes and types.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.interpret.rectifiers.values import Value, copied, read

Spelling = Callable[..., Any]

RELUS: tuple[Spelling, ...] = (
    jax.nn.relu,
    lambda x: jnp.maximum(x, 0),
    lambda x: jnp.where(x > 0, x, 0),
    lambda x: jnp.where(x >= 0, x, 0),
    lambda x: jnp.where(x < 0, 0, x),
    lambda x: jnp.where(x <= 0, 0, x),
    lambda x: x * (x > 0),
    lambda x: x * (x >= 0),
    lambda x: jnp.clip(x, 0, jnp.inf),
    lambda x: lax.clamp(0.0, x, jnp.inf),
    lambda x: (x + jnp.abs(x)) / 2,
    lambda x: (x + jnp.abs(x)) * 0.5,
)


def _capped(relu: Spelling) -> Spelling:
    return lambda x: jnp.minimum(relu(x), 6)


RECTIFIERS: Mapping[str, tuple[Spelling, ...]] = {
    "relu": RELUS,
    "relu6": (
        jax.nn.relu6,
        *map(_capped, RELUS),
        lambda x: jnp.maximum(jnp.minimum(x, 6), 0),
        lambda x: lax.clamp(0.0, x, 6.0),
    ),
    "leaky_relu": (
        lambda x, a: jax.nn.leaky_relu(x, a),
        lambda x, a: jnp.where(x > 0, x, a * x),
        lambda x, a: jnp.where(x >= 0, x, a * x),
        lambda x, a: jnp.where(x < 0, a * x, x),
        lambda x, a: jnp.where(x <= 0, a * x, x),
        lambda x, known: jnp.maximum(x, known * x),
        lambda x, a: jnp.maximum(x, 0) + a * jnp.minimum(x, 0),
    ),
}

# What holds the like of a rectifier and is none. `jax.nn`'s elu, selu, gelu, silu, softmax,
# logsumexp and hard_tanh hold nothing of the kind.
OTHERS: tuple[Spelling, ...] = (
    # softplus and log_sigmoid, JAX's and by hand, and the cross entropy of a sigmoid
    lambda x: jnp.logaddexp(x, 0),
    lambda x: jnp.logaddexp(0, x),
    lambda x: jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x))),
    lambda x, z: jnp.maximum(x, 0) - x * z + jnp.log1p(jnp.exp(-jnp.abs(x))),
    # celu and elu
    lambda x, number: jax.nn.celu(x, number),
    lambda x: jnp.maximum(x, 0) + jnp.minimum(jnp.expm1(x), 0),
    lambda x: jnp.maximum(x, 0) + jnp.minimum(jnp.exp(x) - 1, 0),
    lambda x, number: jnp.maximum(x, 0) + jnp.minimum(number * jnp.expm1(x), 0),
    lambda x, number: jnp.maximum(x, 0) + jnp.minimum(number * (jnp.exp(x) - 1), 0),
    # hard_sigmoid and hard_swish, and what is clipped to the range of gates or images
    lambda x: jnp.clip(x + 3, 0, 6),
    lambda x: jnp.maximum(jnp.minimum(x + 3, 6), 0),
    lambda x: lax.clamp(0.0, x + 3, 6.0),
    lambda x, cap: jnp.clip(x, 0, cap),
    lambda x, cap: jnp.maximum(jnp.minimum(x, cap), 0),
    # a variance that rounding could make negative
    lambda mean, mean2: jnp.maximum(mean2 - jnp.square(mean), 0),
    lambda mean, mean2: jnp.maximum(mean2 - mean**2, 0),
    lambda mean, mean2: jnp.maximum(mean2 - mean * mean, 0),
    lambda x: jnp.sqrt(jnp.maximum(x, 0)),
    lambda x: lax.rsqrt(jnp.maximum(x, 0)),
    lambda x, eps: jnp.sqrt(jnp.maximum(x, 0) + eps),
    lambda x, eps: lax.rsqrt(jnp.maximum(x, 0) + eps),
)


@dataclass(frozen=True)
class Pattern:
    """A spelling as a graph.

    Args:
        kind: of rectifier; None where it is none.
        end: the value it gives.
        arguments: its inputs, and their names in the spelling.
        size: how many equations it has.
    """

    kind: str | None
    end: Value
    arguments: Mapping[Value, str]
    size: int


@cache
def patterns() -> tuple[Pattern, ...]:
    """All spellings, the larger ones first: relu6 before the relu in it."""
    found = [_pattern(kind, code) for kind, codes in RECTIFIERS.items() for code in codes]
    found += [_pattern(None, code) for code in OTHERS]
    return tuple(sorted(found, key=lambda pattern: -pattern.size))


def _pattern(kind: str | None, code: Spelling) -> Pattern:
    names = list(inspect.signature(code).parameters)
    like = jax.ShapeDtypeStruct((2,), np.float32)
    inputs, (end,) = read(jax.make_jaxpr(code)(*(like for _ in names)))
    return Pattern(kind, end, dict(zip(inputs, names, strict=True)), _size(end))


def _size(value: Value) -> int:
    value = copied(value)[-1]
    return 0 if value.equation is None else 1 + sum(map(_size, value.operands))
