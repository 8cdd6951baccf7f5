"""Run by test_parallel.py in a process of its own, on eight simulated devices; prints JSON."""

import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxcnn.data import Split
from jaxcnn.functional.activations import relu
from jaxcnn.functional.pooling import max_pool
from jaxcnn.models.layers import BatchNorm, Conv, Dense, Dropout, flatten
from jaxcnn.train import create_state, fit, make_layout
from jaxcnn.train.epochs import _many_steps, empty_totals
from jaxcnn.train.parallel import SHORT, per_device, place, state_shardings, whole_gradients

COLLECTIVE = (
    r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(-start)?\("
)
BATCH = 16


def images(n=160):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 8, n).astype(np.int32)
    pixels = rng.integers(0, 120, (n, 8, 8, 3)).astype(np.uint8)
    pixels[np.arange(n), labels] += 100
    return Split(pixels, labels)


def scaled(x):
    return jnp.asarray(x, jnp.float32) / 255


def darkened(key, x, labels):
    return x * jax.random.bernoulli(key, 0.9, (x.shape[0], 1, 1, 1)), labels


class Net(nn.Module):
    """The layers of "convnet", one of each kind."""

    batch_norm: bool = False
    drop_rate: float = 0.0

    @nn.compact
    def __call__(self, x, train=False):
        x = Conv(8, (3, 3), use_bias=not self.batch_norm, name="conv")(x)
        if self.batch_norm:
            x = BatchNorm(name="norm")(x, train)
        x = flatten(max_pool(relu(x), window=2))
        x = relu(Dense(32, name="dense")(x))
        if self.drop_rate:
            x = Dropout(self.drop_rate, name="dropout")(x, train)
        return Dense(8, name="logits")(x)


def fresh(**options):
    """A state of variables from NumPy, which compiles nothing."""
    model = Net(**options)
    image = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    rng = np.random.default_rng(1)

    def draw(v):
        """Kernels of variance 1 / inputs, and vectors of ones."""
        if v.ndim > 1:
            return rng.normal(0, math.prod(v.shape[:-1]) ** -0.5, v.shape).astype(np.float32)
        return np.ones(v.shape, np.float32)

    variables = jax.tree.map(draw, jax.eval_shape(model.init, jax.random.key(0), image))
    key = jax.random.key(0)
    return create_state(model, optax.sgd(0.05, 0.9), key, image, variables=variables)


def losses(state, layout, **options):
    """Of each of 50 steps: epochs of one step."""
    options = {"prepare": scaled, "augment": darkened, "key": jax.random.key(1), **options}
    split = images(BATCH * 10)
    fitted = fit(state, split, None, epochs=5, batch_size=BATCH, layout=layout, **options)
    return [row["train_loss"] for row in fitted.history], fitted.state


def collectives(state, layout, augment=None):
    """kind -> the shapes of what it moves, in the compiled loop of steps."""
    split = images()
    steps = _many_steps(scaled, augment, layout, BATCH)
    placed = place(state, state_shardings(state, layout))
    if layout.shard_optimizer:
        placed = whole_gradients(placed, layout)
    totals = place(empty_totals(), layout.replicated)
    data = place({"image": split.images, "label": split.labels}, layout.replicated)
    order = place(jnp.arange(len(split)), layout.replicated)
    text = steps.lower(placed, totals, data, order, 0, 10).compile().as_text()
    found = [re.search(COLLECTIVE, line) for line in text.splitlines()]
    return [(m[2], re.findall(r"\w+\[[\d,]*\]", m[1])) for m in found if m]


def main():
    one, eight = make_layout(1), make_layout()
    sharded = make_layout(shard_optimizer=True)
    options = {"batch_norm": True, "drop_rate": 0.1}
    found = {"devices": len(jax.devices())}
    found["one"], _ = losses(fresh(**options), one)
    found["eight"], _ = losses(fresh(**options), eight)
    found["sharded"], state = losses(fresh(**options), sharded)
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.size >= SHORT]
    found["shares"] = [leaf.addressable_shards[0].data.size / leaf.size for leaf in moments]
    own = fresh(**options)
    apart = own.replace(apply=per_device(own.apply, eight))
    found["parameters"] = sum(leaf.size for leaf in jax.tree.leaves(own.params))
    found["plain_parameters"] = sum(leaf.size for leaf in jax.tree.leaves(fresh().params))
    found["collectives"] = {
        "plain": collectives(fresh(), eight),
        "synchronised": collectives(own, eight, darkened),  # the program compiled above
        "per_device": collectives(apart, eight, darkened),
        "sharded": collectives(own, sharded, darkened),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
