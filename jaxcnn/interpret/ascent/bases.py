"""Bases that images are climbed in: pixels, or frequencies and colours as photos mix them.

An image is x = A z. The steepest way up in z is the image's way A A' g for a gradient g by pixels,
so that images themselves are all that is kept; A need not be inverted.
"""

from typing import Literal, get_args

import jax.numpy as jnp
from jax import Array

Basis = Literal["pixels", "fourier"]

# The root of the covariance of ImageNet's colours, of RGB scaled to [0, 1]: tensorflow/lucid,
# optvis/param/color.py, https://github.com/tensorflow/lucid. Below it is taken to unit variance.
COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


def check_basis(caller: str, basis: str, decorrelate: bool, channels: int) -> None:
    """Raise ValueError for an unknown basis, or colours of other than three channels."""
    if basis not in get_args(Basis):
        raise ValueError(f"{caller}: basis is one of {', '.join(get_args(Basis))}, got {basis!r}.")
    if decorrelate and channels != 3:
        raise ValueError(f"{caller}: decorrelate needs the 3 channels RGB, got {channels}.")


def synthesize(z: Array, basis: Basis, decorrelate: bool) -> Array:
    """A z: images from their coordinates, both b h w c.

    In the Fourier basis each frequency is multiplied by 1 over it (cycles per pixel; by that of
    the longest wave that fits at least), scaled so that white noise keeps its variance. Colours
    are mixed by the root of their covariance in photos, of unit variance.

    Reference:
        Olah, Mordvintsev & Schubert (2017), Feature visualization, "Preconditioning and
        parameterization", https://distill.pub/2017/feature-visualization.
    """
    if basis == "fourier":
        z = _filtered(z)
    return z @ _colours(z).T if decorrelate else z


def analyze(gradient: Array, basis: Basis, decorrelate: bool) -> Array:
    """A' g: the gradient by coordinates from that by pixels."""
    if decorrelate:
        gradient = gradient @ _colours(gradient)
    return _filtered(gradient) if basis == "fourier" else gradient


def _colours(x: Array) -> Array:
    root = jnp.array(COLOURS, x.dtype)
    return root / jnp.sqrt((root**2).sum(1).mean())


def _filtered(x: Array) -> Array:
    """x with its spectrum times 1/f: symmetric, as the factors are even."""
    h, w = x.shape[1:3]
    f = jnp.hypot(jnp.fft.fftfreq(h)[:, None], jnp.fft.fftfreq(w))
    factors = 1 / jnp.maximum(f, 1 / max(h, w))
    factors /= jnp.sqrt((factors**2).mean())
    spectrum = jnp.fft.rfft2(x, axes=(1, 2)) * factors[:, : w // 2 + 1, None]
    return jnp.fft.irfft2(spectrum, s=(h, w), axes=(1, 2)).astype(x.dtype)
