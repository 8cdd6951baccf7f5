"""Penalties on the size of parameters, summed over a pytree, and which parameters they take."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, PyTree

from jaxcnn.losses.examples import wide

Mask = PyTree[bool] | Callable[[PyTree], PyTree[bool]]


def weights_mask(params: PyTree) -> PyTree[bool]:
    r"""True for weights, False for the leaves named "bias" or "scale": what decay should shrink.

    Biases and the scales of normalizations are few and set levels, so shrinking them costs accuracy
    and simplifies nothing.

    Args:
        params: a pytree of parameters, such as Linen's nested dict.

    Returns:
        a pytree of the same structure; optax's `mask` arguments take it, or this function.

    Example:
        >>> weights_mask({"conv1": {"kernel": 0.5, "bias": 1.0}, "norm1": {"scale": 1.0}})
        {'conv1': {'bias': False, 'kernel': True}, 'norm1': {'scale': False}}

    Reference:
        He et al. (2019), Bag of tricks for image classification, section 3.1,
        https://arxiv.org/abs/1812.01187.
    """

    def is_weight(path: tuple, _: object) -> bool:
        return jax.tree_util.keystr(path[-1:], simple=True) not in ("bias", "scale")

    return jax.tree_util.tree_map_with_path(is_weight, params)


def l2_penalty(
    params: PyTree[Float[Array, "..."] | float], mask: Mask | None = None
) -> Float[Array, ""]:
    r"""The sum of w^2 over all weights, no half.

    Its gradient is 2 w, so l2_penalty times lambda / 2 in the loss is weight decay by lambda under
    gradient descent.

    Args:
        params: a pytree of parameters, arrays or Python numbers.
        mask: which leaves count: a pytree of bools with params' structure or a prefix of it,
            or a function from params to one; by default `weights_mask`, all but biases and
            scales.

    Returns:
        one number, in the parameters' dtype; 0 where no leaf counts.

    Raises:
        ValueError: a mask of another structure, or of something else than bools.

    Example:
        >>> import jax.numpy as jnp
        >>> l2_penalty({"kernel": jnp.array([3.0, -4.0]), "bias": jnp.array([10.0])})
        Array(25., dtype=float32)

    Reference:
        Hoerl & Kennard (1970), Ridge regression.
    """
    return _penalty("l2_penalty", jnp.square, params, mask)


def l1_penalty(
    params: PyTree[Float[Array, "..."] | float], mask: Mask | None = None
) -> Float[Array, ""]:
    r"""The sum of |w| over all weights.

    Args:
        params: a pytree of parameters, arrays or Python numbers.
        mask: as for `l2_penalty`.

    Returns:
        one number, in the parameters' dtype; 0 where no leaf counts.

    Raises:
        ValueError: a mask of another structure, or of something else than bools.

    Gradient:
        0 for a weight that is 0.

    Example:
        >>> import jax.numpy as jnp
        >>> l1_penalty({"kernel": jnp.array([3.0, -4.0]), "bias": jnp.array([10.0])})
        Array(7., dtype=float32)

    Reference:
        Tibshirani (1996), Regression shrinkage and selection via the lasso.
    """
    return _penalty("l1_penalty", _absolute, params, mask)


def _absolute(w: Array) -> Array:
    return w * jnp.sign(w)  # jnp.abs has slope 1 at 0


def _penalty(
    function: str, measure: Callable[[Array], Array], params: PyTree, mask: Mask | None
) -> Array:
    mask = weights_mask if mask is None else mask
    keep = mask(params) if callable(mask) else mask
    wrong = [k for k in jax.tree.leaves(keep) if not isinstance(k, bool | np.bool_)]
    if wrong:
        raise ValueError(f"{function}: mask must hold bools, got {wrong[0]!r}.")
    try:
        kept = jax.tree.map(lambda k, part: part if k else None, keep, params)
    except ValueError as error:
        raise ValueError(
            f"{function}: mask needs the structure of params or a prefix of it, got "
            f"{jax.tree.structure(keep)} for {jax.tree.structure(params)}."
        ) from error
    leaves = jax.tree.leaves(kept)
    if not leaves:
        return jnp.zeros(())
    total = sum(jnp.sum(measure(wide(jnp.asarray(leaf)))) for leaf in leaves)
    return jnp.asarray(total, jnp.result_type(float, *leaves))
