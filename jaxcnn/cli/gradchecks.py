"""The verb `gradcheck`: a function by name, or a model's loss, through `check_gradients`."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import jax
import numpy as np
import tyro

from jaxcnn import losses, models
from jaxcnn.autodiff.checking import check_gradients
from jaxcnn.autodiff.loading import load_function, parse_input, required_inputs


def gradcheck(
    function: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODULE:FUNCTION [INPUT ...]")
    ] = (),
    model: str | None = None,
    order: int | None = None,
    seed: int = 0,
    dtype: Literal["float64", "float32", "float16", "bfloat16"] = "float64",
    modes: tuple[Literal["forward", "reverse"], ...] = ("forward", "reverse"),
) -> int:
    """Check a function's derivatives, or those of a model's loss, against differences.

    Args:
        function: Function by name, such as jaxcnn.losses:mse, and its inputs: a shape such as
            2x8x8x3 for normal random numbers, or numbers such as 2.5 or [[0.1,0.5]] ('--'
            goes before negative ones). With no input, 8 normal random numbers for each
            parameter that it requires.
        model: Model by name in place of a function: its loss on two random images of the
            smallest size, with train=False, by every parameter.
        order: Highest derivatives to check; by default 2, for a model 1.
        seed: Of the random numbers.
        dtype: Precision to compute in.
        modes: Modes to check.
    """
    if (model is None) != bool(function):
        given = "both" if function else "neither"
        raise ValueError(f"gradcheck: takes MODULE:FUNCTION or --model NAME, got {given}.")
    if model is not None:
        f, params = model_loss(model, seed)
        args = [params]
    else:
        f, rng = load_function(function[0]), np.random.default_rng(seed)
        words = function[1:] or ("8x",) * required_inputs(f, function[0])
        args = [parse_input(word, rng) for word in words]
    if order is None:
        order = 2 if model is None else 1
    found = check_gradients(f, *args, modes=modes, order=order, dtype=dtype, seed=seed)
    print(found)
    return 0 if found.ok else 1


def model_loss(name: str, seed: int = 0) -> tuple[Callable[[Any], jax.Array], Any]:
    """A model's mean cross-entropy on two random images, and its parameters.

    The images have the smallest size that the model takes, the labels are random.
    """
    keys = jax.random.split(jax.random.key(seed), 3)
    row = models.entry(name)
    images = jax.random.normal(keys[0], (2, row.smallest, row.smallest, row.input_shape[2]))
    model = models.create(name)
    variables = jax.jit(model.init)(keys[1], images)
    fixed = {kind: values for kind, values in variables.items() if kind != "params"}
    classes = jax.eval_shape(model.apply, variables, images).shape[-1]
    labels = jax.random.randint(keys[2], (2,), 0, classes)

    def loss(params: Any) -> jax.Array:
        dtype = jax.tree.leaves(params)[0].dtype
        moved = jax.tree.map(lambda a: a.astype(dtype), (fixed, images))
        logits: Any = model.apply({"params": params, **moved[0]}, moved[1], train=False)
        return losses.cross_entropy(logits, labels).mean()

    return loss, variables["params"]
