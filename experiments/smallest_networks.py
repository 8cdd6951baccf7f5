"""The smallest networks, where every number can be followed, trained by automatic derivatives.

1. One weight: y = w x fitted to four points by gradient descent finds the least-squares w.
2. Nine inputs, three classes: a 3x3 convolution with three filters tells a horizontal bar, a
   vertical bar and a diagonal apart (30 parameters, softmax cross-entropy).
3. Two layers: 1000 inputs, 100 sigmoid units, 10 outputs, squared error, 64 examples. The gradient
   written by hand equals `jax.grad` at every step of training.

Command:  python experiments/smallest_networks.py
Hardware: 2 CPU cores (AMD EPYC) that had other work to do, jax 0.10.2, float32
Time:     17 s, of which 6 s of processor time, mostly compilation
Result:   1. w = 1.004691 after 100 steps, least squares 1.004691, mean squared error 0.00936.
          2. Loss 1.0986 (log 3) to 0.0179 nats in 300 steps; 99.9 % of 3000 new patterns right.
          3. Worst of 2000 steps: 2.3e-7 of the gradient's largest entry (the claim is 1e-5);
             the loss falls from 31733 to 5.84.

Reference: the third is the two-layer net of Stanford's CS231n (2017), lecture 4, "Full
implementation of training a 2-layer Neural Network needs ~20 lines", with its learning rate.
"""

from dataclasses import dataclass
from functools import partial
from time import perf_counter

import jax
import jax.numpy as jnp
import tyro
from jax import Array
from recording import record

from jaxcnn.functional.activations import sigmoid
from jaxcnn.functional.convolution import conv
from jaxcnn.functional.linear import dense
from jaxcnn.losses import cross_entropy, mse, squared_error

POINTS = ((10.0, 10.1), (2.0, 1.9), (3.5, 3.4), (1.0, 1.1))
PATTERNS = (
    ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
    ((0.0, 1.0, 0.0), (0.0, 1.0, 0.0), (0.0, 1.0, 0.0)),
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
)


@dataclass(frozen=True)
class Config:
    """What to run."""

    seed: int = 0
    """Of the patterns' noise and of the two-layer net's data and weights."""
    perceptron_steps: int = 100
    """Steps of gradient descent on the one weight, rate 0.01."""
    pattern_steps: int = 300
    """Steps on the 3x3 patterns, rate 0.5."""
    two_layer_steps: int = 2000
    """Steps on the two-layer net, rate 1e-4."""
    smoke: bool = False
    """Two steps of each, nothing written."""


@partial(jax.jit, static_argnames="steps")
def perceptron(steps: int) -> dict[str, Array]:
    """Gradient descent on the mean squared error of y = w x, from w = 0, beside least squares."""
    x, y = jnp.array(POINTS).T

    def loss(w: Array) -> Array:
        return mse(w * x, y).mean()

    def step(w: Array, _: None) -> tuple[Array, None]:
        return w - 0.01 * jax.grad(loss)(w), None

    w, _ = jax.lax.scan(step, jnp.zeros(()), length=steps)
    return {
        "perceptron_w": w,
        "perceptron_least_squares_w": x @ y / (x @ x),
        "perceptron_loss": loss(w),
    }


def noisy_patterns(key: Array, images: int) -> tuple[Array, Array]:
    """The patterns in turn, with normal noise of standard deviation 0.3 on every pixel."""
    labels = jnp.arange(images) % 3
    clean = jnp.array(PATTERNS)[labels, :, :, None]
    return clean + 0.3 * jax.random.normal(key, clean.shape), labels


@partial(jax.jit, static_argnames="steps")
def patterns(key: Array, steps: int) -> dict[str, Array]:
    """Softmax regression as a convolution: one 3x3 filter a class, from zero weights.

    300 noisy patterns to learn from, 3000 others to test on.
    """
    images, classes = noisy_patterns(key, 3300)
    x, labels = images[:300], classes[:300]

    def logits(params: tuple[Array, Array], x: Array) -> Array:
        return conv(x, *params, padding="VALID").reshape(-1, 3)

    def loss(params: tuple[Array, Array]) -> Array:
        return cross_entropy(logits(params, x), labels).mean()

    def step(params: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        value, gradient = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.5 * g, params, gradient), value

    params, losses = jax.lax.scan(step, (jnp.zeros((3, 3, 1, 3)), jnp.zeros(3)), length=steps)
    right = logits(params, images[300:]).argmax(axis=-1) == classes[300:]
    return {
        "patterns_first_loss": losses[0],
        "patterns_loss": loss(params),
        "patterns_test_accuracy": right.mean(),
    }


def by_hand(w1: Array, w2: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """The gradient of |sigmoid(x w1) w2 - y|^2 in w1 and w2, by the chain rule on paper."""
    hidden = 1 / (1 + jnp.exp(-x @ w1))
    slope = 2 * (hidden @ w2 - y)
    return x.T @ (slope @ w2.T * hidden * (1 - hidden)), hidden.T @ slope


@partial(jax.jit, static_argnames="steps")
def two_layer(key: Array, steps: int) -> dict[str, Array]:
    """Train the two-layer net by `jax.grad` and compare with `by_hand` at every step.

    The difference is relative: largest |hand - jax.grad| over largest |jax.grad|, for each of the
    two weight matrices; the worse of them, and the worst over all steps, is reported.
    """
    n, d_in, h, d_out = 64, 1000, 100, 10
    wide_key, narrow_key = jax.random.split(key)
    x, w1 = jnp.split(jax.random.normal(wide_key, (n + h, d_in)), [n])
    y, w2 = jnp.split(jax.random.normal(narrow_key, (n + h, d_out)), [n])

    def loss(weights: list[Array]) -> Array:
        w1, w2 = weights
        return squared_error(dense(sigmoid(dense(x, w1)), w2), y).sum()

    def step(weights: list[Array], _: None) -> tuple[list[Array], tuple[Array, Array]]:
        w1, w2 = weights
        value, gradient = jax.value_and_grad(loss)(weights)
        pairs = zip(by_hand(w1, w2, x, y), gradient, strict=True)
        apart = [jnp.abs(hand - auto).max() / jnp.abs(auto).max() for hand, auto in pairs]
        weights = [w - 1e-4 * g for w, g in zip(weights, gradient, strict=True)]
        return weights, (value, jnp.stack(apart).max())

    # Accelerators would multiply float32 in fewer bits than the comparison needs.
    with jax.default_matmul_precision("highest"):
        weights, (losses, apart) = jax.lax.scan(step, [w1.T, w2], length=steps)
        last = loss(weights)
    return {
        "two_layer_first_loss": losses[0],
        "two_layer_loss": last,
        "two_layer_worst_gradient_difference": apart.max(),
    }


def main(config: Config) -> dict[str, float]:
    """Train the three networks."""
    start = perf_counter()
    pattern_key, layer_key = jax.random.split(jax.random.key(config.seed))
    measured = {
        **perceptron(steps=2 if config.smoke else config.perceptron_steps),
        **patterns(pattern_key, steps=2 if config.smoke else config.pattern_steps),
        **two_layer(layer_key, steps=2 if config.smoke else config.two_layer_steps),
    }
    result = {name: value.item() for name, value in measured.items()}
    result["seconds"] = round(perf_counter() - start, 1)
    record("smallest_networks", result, config.smoke)
    return result


if __name__ == "__main__":
    main(tyro.cli(Config))
