"""The smallest change of an image that changes its class."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.core import Tracer
from jaxtyping import Bool, Float, Int

from jaxcnn.interpret.ascent.maximization import Channels, Limits
from jaxcnn.interpret.ascent.regularizers import Number
from jaxcnn.interpret.targets import argument, images

HALVINGS = 8  # coarse: from the largest epsilon down to its 128th part
BISECTIONS = 10  # fine: what is left between two of them to a 1024th of it


State = tuple[Array, Array, Array, Array]  # change, bound, whether it flips, a bound too small


class Counterfactual(NamedTuple):
    """Images that a net takes for another class, and how little that took."""

    images: Float[Array, "b h w c"]
    perturbation: Float[Array, "b h w c"]
    """What was added, in pixel units: (images - x) std."""
    epsilon: Float[Array, " b"]
    """The size of the smallest change found, max |perturbation|; infinite where none flips."""
    flipped: Bool[Array, " b"]
    before: Int[Array, " b"]
    """The class of x."""
    after: Int[Array, " b"]
    """The class of `images`."""


def counterfactual(
    f: Callable[[Array], Array],
    x: Float[Array, "b h w c"],
    labels: Int[Any, " b"] | None = None,
    *,
    epsilon: Number = 8 / 255,
    steps: int = 1,
    step_size: Number | None = None,
    targeted: bool = False,
    mean: Channels = 0.0,
    std: Channels = 1.0,
    limits: Limits | None = (0.0, 1.0),
) -> Counterfactual:
    r"""The least l_inf change of x for which f gives another class, found by one jitted search.

    With pixels p = x std + mean, ascent of the margin m (the largest logit of another class minus
    that of the label; targeted, the label's minus the largest other), from d = 0:

    d <- clip(d + step_size epsilon sign(grad_d m), [-epsilon, epsilon] and the limits)

    stops where m > 0. One step of the whole epsilon is the fast gradient sign method (FGSM), more
    are projected gradient descent (PGD). The largest epsilon is halved seven times, and between the
    smallest that flips an image and the next below it is bisected, for each image on its own: to
    1/1024 of the epsilon found where it is above 1/128 of the largest.
    A net need not flip at all larger ones, and a smaller way may exist that signs do not find.

    Args:
        f: images to logits (b, classes).
        x: images, as f takes them.
        labels: the classes to leave, or, `targeted`, the classes to reach; by default what f says
            of x, which is to be left.
        epsilon: the largest change of a pixel that is tried, in pixel units.
        steps: 1 or more.
        step_size: in epsilons; by default 1 for one step, 2.5 / steps for more (Madry et al.).
        targeted: reach the labels.
        mean: of each channel, and
        std: of each channel, that x was normalized with: x = (pixels - mean) / std. Pixel units
            are those of the pixels before it, so that epsilon = 8/255 means the same for every
            net of photos scaled to [0, 1].
        limits: lowest and highest pixel, in pixel units; None for none.

    Returns:
        the images with the smallest change found; where none flips, those of the largest epsilon.

    Raises:
        ValueError: options out of their range, or f that does not give logits of two classes at
            least.

    Example:
        >>> f = lambda x: x[:, 0, 0, :] * 2.0  # two channels, two classes
        >>> x = jnp.array([0.6, 0.5]).reshape(1, 1, 1, 2)
        >>> found = counterfactual(f, x, epsilon=0.2)  # margin 0.2 over a slope of |2| + |-2|
        >>> [round(v, 3) for v in found.epsilon.tolist()], found.before, found.after
        ([0.05], Array([0], dtype=int32), Array([1], dtype=int32))

    Reference:
        Goodfellow et al. (2015), Explaining and harnessing adversarial examples, section 4,
        https://arxiv.org/abs/1412.6572. Madry et al. (2018), Towards deep learning models resistant
        to adversarial attacks, sections 2.1 and C, https://arxiv.org/abs/1706.06083. Carlini &
        Wagner (2017), section V.A (the margin f6, whose slope never saturates),
        https://arxiv.org/abs/1608.04644.
    """
    x = images("counterfactual", x)
    logits = jax.eval_shape(f, x)
    if len(logits.shape) != 2 or logits.shape[0] != x.shape[0] or logits.shape[1] < 2:
        raise ValueError(
            f"counterfactual: f needs logits (b, classes) of two classes or more, got "
            f"{logits.shape} for {x.shape[0]} images."
        )
    if steps < 1:
        raise ValueError(f"counterfactual: steps must be at least 1, got {steps}.")
    if not isinstance(epsilon, Tracer) and not epsilon > 0:
        raise ValueError(f"counterfactual: epsilon must be above 0, got {epsilon}.")
    if labels is None and targeted:
        raise ValueError("counterfactual: targeted needs the labels to reach, got none.")
    if step_size is None:
        step_size = 1.0 if steps == 1 else 2.5 / steps
    low, high = (-jnp.inf, jnp.inf) if limits is None else limits
    numbers = [jnp.asarray(value, x.dtype) for value in (epsilon, step_size, mean, std, low, high)]
    labels = None if labels is None else jnp.asarray(labels)
    return _search(argument(f), x, labels, *numbers, steps=steps, targeted=targeted)


@partial(jax.jit, static_argnames=("steps", "targeted"))
def _search(
    f: Callable[[Array], Array],
    x: Array,
    labels: Array | None,
    epsilon: Array,
    step_size: Array,
    mean: Array,
    std: Array,
    low: Array,
    high: Array,
    *,
    steps: int,
    targeted: bool,
) -> Counterfactual:
    before = f(x).argmax(-1)
    labels = before if labels is None else labels
    pixels = x * std + mean
    # Rounding may put x a little outside; then it stays.
    down, up = jnp.minimum(low - pixels, 0), jnp.maximum(high - pixels, 0)

    def margin(d: Array) -> Array:
        return _margins(f(x + d / std), labels, targeted)

    def attempt(bound: Array) -> tuple[Array, Array]:
        """The change within a bound for each image, and whether it flips."""
        bound = bound[:, None, None, None]

        def step(_: Array, d: Array) -> Array:
            m, back = jax.vjp(margin, d)
            (slope,) = back(jnp.ones_like(m))
            moved = jnp.clip(d + step_size * bound * jnp.sign(slope), -bound, bound)
            moved = jnp.clip(moved, down, up)
            return jnp.where((m > 0)[:, None, None, None], d, moved)

        d = lax.fori_loop(0, steps, step, jnp.zeros_like(x))
        return d, margin(d) > 0

    d, flipped = _smallest(attempt, jnp.full(x.shape[:1], epsilon))
    found = jnp.where(flipped, jnp.abs(d).max((1, 2, 3)), jnp.inf)
    y = x + d / std
    return Counterfactual(y, d, found, flipped, before, f(y).argmax(-1))


def _margins(logits: Array, labels: Array, targeted: bool) -> Array:
    own = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    label = jnp.where(own, logits, 0).sum(-1)
    other = jnp.where(own, -jnp.inf, logits).max(-1)
    return label - other if targeted else other - label


def _smallest(
    attempt: Callable[[Array], tuple[Array, Array]], largest: Array
) -> tuple[Array, Array]:
    """The change by the smallest bound found for each image, and whether it flips."""
    smallest = largest / 2.0 ** (HALVINGS - 1)

    def turn(i: Array, state: State) -> State:
        """First the coarse bounds, then the bisection: one loop, so that f is compiled once."""
        d, bound, flipped, low = state
        coarse = i < HALVINGS
        below = jnp.where(bound > smallest, bound / 2, 0)
        low = jnp.where(i == HALVINGS, below, low)
        tried = jnp.where(coarse, largest / 2.0**i, (low + bound) / 2)
        found, flips = attempt(tried)
        better = flips & ((tried < bound) | ~flipped)
        low = jnp.where(coarse | better, low, tried)
        d = jnp.where((better | (i == 0))[:, None, None, None], found, d)
        return d, jnp.where(better, tried, bound), flipped | better, low

    b = largest.shape
    d, _ = jax.eval_shape(attempt, largest)
    start = (jnp.zeros(d.shape, d.dtype), largest, jnp.zeros(b, bool), jnp.zeros(b, d.dtype))
    d, _, flipped, _ = lax.fori_loop(0, HALVINGS + BISECTIONS, turn, start)
    return d, flipped
