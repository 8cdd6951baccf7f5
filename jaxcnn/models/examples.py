"""A small example of each model's loss, for those who look at derivatives."""

from collections.abc import Callable
from typing import Any

import jax

from jaxcnn import losses
from jaxcnn.models.table import create, entry


def example_loss(
    name: str, seed: int = 0
) -> tuple[Callable[[Any, jax.Array], jax.Array], Any, jax.Array]:
    """A model's mean cross-entropy on two random images, its parameters and the images.

    The images have the smallest size that the model takes; images, labels and parameters are
    random, batch statistics and dropout are those of evaluation.

    Args:
        name: as `names()` has it.
        seed: of all that is random.

    Returns:
        the loss as a function of parameters and images, which computes in the parameters' dtype;
        parameters; images.

    Raises:
        ValueError: no model of that name.

    Example:
        >>> loss, params, images = example_loss("tiny")
        >>> loss(params, images).shape
        ()
    """
    keys = jax.random.split(jax.random.key(seed), 3)
    row = entry(name)
    images = jax.random.normal(keys[0], (2, row.smallest, row.smallest, row.input_shape[2]))
    model = create(name)
    variables = jax.jit(model.init)(keys[1], images)
    fixed = {kind: values for kind, values in variables.items() if kind != "params"}
    classes = jax.eval_shape(model.apply, variables, images).shape[-1]
    labels = jax.random.randint(keys[2], (2,), 0, classes)

    def loss(params: Any, images: jax.Array) -> jax.Array:
        dtype = jax.tree.leaves(params)[0].dtype
        moved = jax.tree.map(lambda a: a.astype(dtype), (fixed, images))
        logits: Any = model.apply({"params": params, **moved[0]}, moved[1], train=False)
        with jax.named_scope("cross_entropy"):
            return losses.cross_entropy(logits, labels).mean()

    return loss, variables["params"], images
