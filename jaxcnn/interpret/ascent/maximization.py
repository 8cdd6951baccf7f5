"""Gradient ascent: an image that a neuron, a channel, a layer or a class scores highly."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, PRNGKeyArray

from jaxcnn.interpret.ascent.bases import Basis, analyze, check_basis, synthesize
from jaxcnn.interpret.ascent.regularizers import (
    Number,
    Regularizers,
    check_regularizers,
    clean,
    penalty,
)
from jaxcnn.interpret.targets import Target, argument, images, scores

NOISE = 0.1  # standard deviation of a noisy start
State = tuple[Array, Array, Array]  # images, steps taken while dead, frames
Channels = float | Sequence[float] | np.ndarray | Array  # one number, or one for each channel
Limits = tuple[Channels, Channels]


class Ascent(NamedTuple):
    """Images that were made, and how that went."""

    images: Float[Array, "b h w c"]
    scores: Float[Array, "steps b"]
    """f of the images that each step starts from, as shifted by the jitter."""
    frames: Float[Array, "frames b h w c"]
    """The images after every so many steps."""


def maximize(
    f: Target,
    key: PRNGKeyArray,
    shape: tuple[int, int, int, int],
    *,
    start: str | Float[Array, "b h w c"] = "noise",
    steps: int = 128,
    learning_rate: Number = 0.02,
    regularizers: Regularizers = Regularizers(),  # noqa: B008  a tuple, which nobody changes
    basis: Basis = "pixels",
    decorrelate: bool = False,
    jitter: int = 0,
    limits: Limits | None = None,
    every: int = 0,
    progress: Callable[[Any, Any], Any] | None = None,
) -> Ascent:
    r"""Climb a score by its gradient, for each image on its own.

    With coordinates z of the basis, x = A z, step t of T is

    x <- x + learning_rate (1 - t/T) A d / rms(d),  d = A' grad_x (f(x) - penalties(x))

    where rms is the root of the mean of an image's squares; then the regularizers' clean-ups and
    the limits. Where f's gradient is exactly 0 all over an image, as for a ReLU that is off, the
    n-th such step takes it to its start plus n learning_rate A z with z drawn from a normal
    distribution: ever further away, until there is a way up.

    Args:
        f: one number for each image, such as `lambda x: model.apply(variables, x)[:, k]`. With
            labels for k, `[jnp.arange(b), labels]`, each image gets a class of its own.
        key: for the start, the jitter and the random places: the same key gives the same bits.
        shape: b, h, w, c of the images.
        start: "noise" (standard deviation 0.1, in the basis), "zeros" or images.
        steps: how many, 0 or more.
        learning_rate: how far the first step goes, as the rms of an image's numbers.
        regularizers: penalties and clean-ups.
        basis: "pixels", or "fourier", where each frequency's way is 1/f as long as a photo's is.
        decorrelate: climb along the colours that photos vary in, which takes 3 channels RGB.
        jitter: f sees the images shifted, around the borders, by up to so many pixels each
            way, anew at each step and all images alike.
        limits: lowest and highest value of pixels, a number each or one for each channel. For
            normalized images of pixels 0 to 1 they are -mean / std and (1 - mean) / std.
        every: keep a frame after every so many steps; 0 keeps none.
        progress: called with (step, scores) after each step. The same function finds the compiled
            program again, a new one does not.

    Returns:
        the images, the scores of each step, and the frames asked for.

    Raises:
        ValueError: options out of their range, or f that does not give one number for each image.

    Example:
        >>> f = lambda x: x[:, 0, 0, 0] - x[:, 0, 1, 0]
        >>> found = maximize(f, jax.random.key(0), (1, 1, 2, 1), start="zeros", steps=2)
        >>> [round(v, 3) for v in found.images.ravel().tolist()]  # 0.02 + 0.01 each way
        [0.03, -0.03]
        >>> [round(v, 3) for v in found.scores.ravel().tolist()]
        [0.0, 0.04]

    Reference:
        Erhan et al. (2009), Visualizing higher-layer features of a deep network; Simonyan et al.
        (2014), section 2, https://arxiv.org/abs/1312.6034; Olah et al. (2017),
        https://distill.pub/2017/feature-visualization.
    """
    check_basis("maximize", basis, decorrelate, shape[-1])
    check_regularizers("maximize", regularizers)
    for name, value in {"steps": steps, "jitter": jitter, "every": every}.items():
        if value < 0:
            raise ValueError(f"maximize: {name} must be 0 or more, got {value}.")
    start_key, key = jax.random.split(key)
    x = _started(start_key, shape, start, basis, decorrelate)
    found = _climb(
        argument(f),
        key,
        x,
        learning_rate,
        regularizers,
        within(limits),
        jitter or None,
        steps=steps,
        basis=basis,
        decorrelate=decorrelate,
        every=every,
        progress=progress,
    )
    if progress is not None:
        jax.effects_barrier()
    return found


def within(limits: Limits | None) -> tuple[Array, Array] | None:
    """Limits as arrays."""
    return None if limits is None else (jnp.asarray(limits[0]), jnp.asarray(limits[1]))


def kept(x: Array, limits: tuple[Array, Array] | None) -> Array:
    """Images inside the limits."""
    return x if limits is None else jnp.clip(x, *limits).astype(x.dtype)


def _started(
    key: Array, shape: tuple[int, ...], start: str | Array, basis: Basis, decorrelate: bool
) -> Array:
    if not isinstance(start, str):
        x = images("maximize", start)
        if x.shape != tuple(shape):
            raise ValueError(f"maximize: start must have the shape {shape}, got {x.shape}.")
        return x
    if start not in ("noise", "zeros"):
        raise ValueError(f"maximize: start is noise, zeros or images, got {start!r}.")
    if start == "zeros":
        return jnp.zeros(shape)
    return _noise(key, tuple(shape), basis, decorrelate)


@partial(jax.jit, static_argnames=("shape", "basis", "decorrelate"))
def _noise(key: Array, shape: tuple[int, ...], basis: Basis, decorrelate: bool) -> Array:
    return NOISE * synthesize(jax.random.normal(key, shape), basis, decorrelate)


@partial(jax.jit, static_argnames=("steps", "basis", "decorrelate", "every", "progress"))
def _climb(
    f: Target,
    key: Array,
    start: Array,
    learning_rate: Number,
    regularizers: Regularizers,
    limits: tuple[Array, Array] | None,
    jitter: int | Array | None,
    *,
    steps: int,
    basis: Basis,
    decorrelate: bool,
    every: int,
    progress: Callable[[Any, Any], Any] | None,
) -> Ascent:
    shift_key, jump_key = jax.random.split(key)
    shifts = None  # drawn at once: each drawing takes a while to compile
    if jitter is not None:
        shifts = jax.random.randint(shift_key, (steps, 2), -jitter, jitter + 1)

    def step(state: State, now: tuple[Array, Array | None]) -> tuple[State, Array]:
        (x, tries, frames), (t, shift) = state, now
        y, slope = _slope(f, x, shift)
        way = slope - jax.grad(lambda x: penalty(x, regularizers).sum())(x)
        rate = (learning_rate * (1 - t / steps)).astype(x.dtype)
        d = unit(analyze(way, basis, decorrelate))
        moved = x + rate * synthesize(d, basis, decorrelate)

        dead = (slope == 0).all((1, 2, 3))
        tries = tries + dead
        far = (learning_rate * tries).astype(x.dtype)[:, None, None, None]

        def jumped() -> Array:
            noise = jax.random.normal(jax.random.fold_in(jump_key, t), x.shape, x.dtype)
            jump = start + far * synthesize(noise, basis, decorrelate)
            return jnp.where(dead[:, None, None, None], jump, moved)

        x = lax.cond(dead.any(), jumped, lambda: moved)
        x = kept(clean(x, slope, t + 1, regularizers), limits)
        if progress is not None:
            jax.debug.callback(progress, t + 1, y)
        if every:  # each group of steps overwrites its frame; that of an unfinished one is dropped
            frames = frames.at[t // every].set(x, mode="drop")
        return (x, tries, frames), y

    frames = jnp.zeros((steps // every if every else 0, *start.shape), start.dtype)
    first = (start, jnp.zeros(start.shape[0], int), frames)
    (x, _, frames), ys = lax.scan(step, first, (jnp.arange(steps), shifts))
    return Ascent(x, ys, frames)


def _slope(f: Target, x: Array, shift: Array | None) -> tuple[Array, Array]:
    """The scores of the images as shifted, and the gradient by the images."""

    def total(x: Array) -> tuple[Array, Array]:
        seen = x if shift is None else jnp.roll(x, shift, (1, 2))
        y = scores("maximize", f, seen)
        return y.sum(), y

    (_, y), slope = jax.value_and_grad(total, has_aux=True)(x)
    return y, slope


def unit(d: Array) -> Array:
    """Each image's numbers over the root of the mean of their squares; zeros stay zeros."""
    largest = jnp.abs(d).max((1, 2, 3), keepdims=True)  # its square may be below what floats hold
    d = d / jnp.where(largest == 0, 1, largest)
    mean = (d**2).mean((1, 2, 3), keepdims=True)
    return d / jnp.sqrt(jnp.where(mean == 0, 1, mean))
