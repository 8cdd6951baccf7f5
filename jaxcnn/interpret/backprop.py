r"""Guided backpropagation and the deconvnet: gradients that keep the positive signal.

At each ReLU the gradient lets the signal R from above through where the input x was positive,
R [x > 0]; the deconvnet where the signal is, max(R, 0); guided backpropagation where both are,
max(R, 0) [x > 0]. ReLU6 keeps its gate at 6 in both, [x < 6], and the leaky ReLU its slopes.
All else is the gradient: it goes through convolutions by their transposed filters and through
max pooling to the places of the maxima, which are Zeiler & Fergus's switches.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxcnn.interpret.rectifiers.matching import find
from jaxcnn.interpret.rectifiers.replacements import with_rectifiers
from jaxcnn.interpret.rewriting import unshared
from jaxcnn.interpret.targets import Target, argument, images, total

Gate = Callable[[Array, Any], Array]  # (input, negative slope) -> what the signal is multiplied by


def guided_backprop(f: Target, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    r"""The gradient of f by x, with positive signals alone passed down at every ReLU.

    R_in = max(R_out, 0) relu'(x), where relu' is 0 at 0.

    Args:
        f: images -> one number for each: a class score, or a neuron or channel of any layer.
        x: images, in f's units.

    Returns:
        the signal at x. `count_rectifiers(f, x)` tells how many ReLUs it went through.

    Raises:
        ValueError: no ReLU between x and f(x), or f that gives no number per image.

    Example:
        >>> w, x = jnp.array([4.0, -5.0, 6.0]), jnp.array([1.0, 2.0, -3.0]).reshape(1, 1, 1, 3)
        >>> guided_backprop(lambda x: jax.nn.relu(x).reshape(1, 3) @ w, x).ravel()
        Array([4., 0., 0.], dtype=float32)

    Reference:
        Springenberg, Dosovitskiy, Brox & Riedmiller (2015), Striving for simplicity, section 3.4,
        https://arxiv.org/abs/1412.6806.
    """
    return _signal(argument(f), images("guided_backprop", x), caller="guided_backprop")


def deconvnet(f: Target, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    r"""The signal of f projected down to x: a ReLU where the net has one, and switched unpooling.

    R_in = max(R_out, 0), whatever the ReLU's input was.

    Args:
        f: images -> one number for each: a class score, or a neuron or channel of any layer.
        x: images, in f's units.

    Returns:
        the signal at x. `count_rectifiers(f, x)` tells how many ReLUs it went through.

    Raises:
        ValueError: no ReLU between x and f(x), or f that gives no number per image.

    Example:
        >>> w, x = jnp.array([4.0, -5.0, 6.0]), jnp.array([1.0, 2.0, -3.0]).reshape(1, 1, 1, 3)
        >>> deconvnet(lambda x: jax.nn.relu(x).reshape(1, 3) @ w, x).ravel()
        Array([4., 0., 6.], dtype=float32)

    Reference:
        Zeiler & Fergus (2014), Visualizing and understanding convolutional networks, section 2.1,
        https://arxiv.org/abs/1311.2901.
    """
    return _signal(argument(f), images("deconvnet", x), caller="deconvnet")


def _leaky(x: Array, a: Any) -> Array:
    return jnp.where(x >= 0, 1, a)


GATES: Mapping[str, Mapping[str, Gate]] = {
    "guided_backprop": {
        "relu": lambda x, _: x > 0,
        "relu6": lambda x, _: (x > 0) & (x < 6),
        "leaky_relu": _leaky,
    },
    "deconvnet": {
        "relu": lambda x, _: jnp.ones((), x.dtype),
        "relu6": lambda x, _: x < 6,
        "leaky_relu": _leaky,
    },
}


@partial(jax.jit, static_argnames="caller")
def _signal(f: Target, x: Array, *, caller: str) -> Array:
    jaxpr = unshared(jax.make_jaxpr(total(caller, f))(x))
    found = find(jaxpr)
    if not found:
        raise ValueError(
            f"{caller}: f needs a ReLU between x and f(x), got none. Known are jax.nn.relu, relu6 "
            "and leaky_relu, and what equals them written with maximum, where, clip or clamp."
        )
    gates = GATES[caller]

    def change(kind: str, x: Array, y: Array, slope: Any) -> Array:
        gate = gates[kind](x, slope).astype(y.dtype)
        return _passing(x, *jax.lax.stop_gradient((y, gate)))

    return jax.grad(lambda x: with_rectifiers(jaxpr, found, [x], change)[0])(x)


@jax.custom_vjp
def _passing(x: Array, y: Array, gate: Array) -> Array:
    """y; backwards the positive part of the signal goes to x, times the gate."""
    return y


def _forward(x: Array, y: Array, gate: Array) -> tuple[Array, Array]:
    return y, gate


def _backward(gate: Array, signal: Array) -> tuple[Array, None, None]:
    return jnp.maximum(signal, 0) * gate, None, None


_passing.defvjp(_forward, _backward)
