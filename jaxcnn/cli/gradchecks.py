"""The verb `gradcheck`: a function by name, or a model's loss, through `check_gradients`."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import jax
import numpy as np
import tyro

from jaxcnn import models
from jaxcnn.autodiff.checks.checking import check_gradients
from jaxcnn.autodiff.checks.loading import load_function, parse_input, required_inputs


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
        f, args = _of_parameters(model, seed)
    else:
        f, rng = load_function(function[0]), np.random.default_rng(seed)
        words = function[1:] or ("8x",) * required_inputs(f, function[0])
        args = [parse_input(word, rng) for word in words]
    if order is None:
        order = 2 if model is None else 1
    try:
        found = check_gradients(f, *args, modes=modes, order=order, dtype=dtype, seed=seed)
    except jax.errors.TracerArrayConversionError as error:
        raise ValueError(
            f"gradcheck: {function[0]} is no function that JAX can trace; it turns its input into "
            "a NumPy array."
        ) from error
    print(found)
    return 0 if found.ok else 1


def _of_parameters(model: str, seed: int) -> tuple[Callable[[Any], Any], list[Any]]:
    example, params, images = models.example_loss(model, seed)

    def loss(params: Any) -> Any:
        return example(params, images)

    return loss, [params]
