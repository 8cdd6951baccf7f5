"""Integrated gradients: the path integral of the score's gradient from a baseline to the image."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxcnn.interpret.attribution.sums import sum_over
from jaxcnn.interpret.targets import Target, argument, broadcastable, images, scores, total


class IntegratedGradients(NamedTuple):
    """What `integrated_gradients` gives."""

    attribution: Float[Array, "b h w c"]
    """In units of the score; it sums to the score's rise from the baseline to the image."""
    residual: Float[Array, " b"]
    """f(x) - f(baseline) - the sum of the attribution: the error of the quadrature."""


def integrated_gradients(
    f: Target, x: Float[Array, "b h w c"], *, baseline: ArrayLike = 0.0, steps: int = 32
) -> IntegratedGradients:
    r"""What each pixel adds to the score on the straight way from the baseline x' to the image.

    (x - x') int_0^1 df/dx (x' + a (x - x')) da, by Gauss-Legendre quadrature: exact where the
    gradient is a polynomial of a degree under 2 steps along the way.

    Args:
        f: images -> one number for each.
        x: images, in f's units.
        baseline: the image that tells nothing, a number or an array that broadcasts to x.
        steps: nodes of the quadrature, 1 or more. Memory does not grow with them.

    Returns:
        the attribution, and by how much it fails to sum to f(x) - f(x') (completeness).

    Raises:
        ValueError: less than one step, a baseline that does not fit, or as `saliency`.

    Example:
        >>> x = jnp.array([1.0, 2.0, -3.0]).reshape(1, 1, 1, 3)
        >>> found = integrated_gradients(lambda x: (x**2).sum((1, 2, 3)), x, steps=1)
        >>> found.attribution.ravel(), found.residual
        (Array([1., 4., 9.], dtype=float32), Array([0.], dtype=float32))

    Reference:
        Sundararajan, Taly & Yan (2017), Axiomatic attribution for deep networks, section 3,
        https://arxiv.org/abs/1703.01365.
    """
    caller = "integrated_gradients"
    x = images(caller, x)
    if steps < 1:
        raise ValueError(f"{caller}: steps must be 1 or more, got {steps}.")
    f, baseline = argument(f), broadcastable(caller, "baseline", baseline, x)
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # on [-1, 1]
    places = (((1 + nodes) / 2).astype(x.dtype), (weights / 2).astype(x.dtype))
    mean = sum_over(partial(_weighted_gradient, f, baseline), x, *places)
    return _complete(f, baseline, x, mean)


@jax.jit
def _weighted_gradient(f: Target, baseline: Array, x: Array, node: Array, weight: Array) -> Array:
    return weight * jax.grad(total("integrated_gradients", f))(baseline + node * (x - baseline))


@jax.jit
def _complete(f: Target, baseline: Array, x: Array, mean: Array) -> IntegratedGradients:
    """The attribution by the mean gradient along the way, and what is missing."""
    attribution = (x - baseline) * mean
    at_baseline = scores("integrated_gradients", f, jnp.broadcast_to(baseline, x.shape))
    rise = scores("integrated_gradients", f, x) - at_baseline
    residual = rise - attribution.sum((1, 2, 3))
    return IntegratedGradients(attribution.astype(x.dtype), residual.astype(x.dtype))
