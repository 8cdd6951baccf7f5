"""Dropout: zeroing elements, whole channels or whole examples at random while training.

Each function scales what it keeps by 1 / (1 - rate), so that the expectation stays x and nothing
needs scaling in evaluation. One random 32-bit number (64-bit in double precision) is drawn per
decision, so the rate is exact to 2**-23; eight bits would be six times faster on a CPU, and round
the rate to 1/256.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, PRNGKeyArray


def dropout(
    key: PRNGKeyArray | None, x: Float[Array, "*shape"], rate: float, *, train: bool
) -> Float[Array, "*shape"]:
    r"""Each element is zero with probability `rate`, independently.

    y = m x / (1 - rate), m ~ Bernoulli(1 - rate) for each element.

    Args:
        key: a random key; may be None where nothing is drawn.
        x: any array.
        rate: probability of zero, in [0, 1]; at 1 everything is zero. A Python number, static
            under jit.
        train: False gives x itself.

    Returns:
        an array in x's dtype.

    Raises:
        ValueError: `rate` outside [0, 1], or no key in training with a rate above 0.

    Gradient:
        m / (1 - rate), the mask that was drawn.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y = dropout(jax.random.key(0), jnp.ones(1000), 0.75, train=True)
        >>> sorted(set(y.tolist()))
        [0.0, 4.0]
        >>> bool(200 < jnp.sum(y > 0) < 300)
        True

    Reference:
        Srivastava et al. (2014), Dropout: a simple way to prevent neural networks from
        overfitting, section 10 (scaling while training),
        https://jmlr.org/papers/v15/srivastava14a.html.
    """
    return _drop("dropout", key, x, rate, x.shape, train)


def spatial_dropout(
    key: PRNGKeyArray | None, x: Float[Array, "b *space c"], rate: float, *, train: bool
) -> Float[Array, "b *space c"]:
    r"""Each channel of each example is zero everywhere with probability `rate`.

    y[b, ..., c] = m[b, c] x[b, ..., c] / (1 - rate), m ~ Bernoulli(1 - rate) for each b and c.

    Args:
        key: a random key; may be None where nothing is drawn.
        x: feature maps, channels last.
        rate: probability of zero, in [0, 1]; at 1 everything is zero. A Python number, static
            under jit.
        train: False gives x itself.

    Returns:
        an array in x's dtype.

    Raises:
        ValueError: x without a batch and a channel axis, `rate` outside [0, 1], or no key in
            training with a rate above 0.

    Gradient:
        m / (1 - rate), the mask that was drawn.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y = spatial_dropout(jax.random.key(0), jnp.ones((1, 2, 2, 100)), 0.5, train=True)
        >>> sorted(set(y.sum(axis=(1, 2)).ravel().tolist()))
        [0.0, 8.0]

    Reference:
        Tompson et al. (2015), Efficient object localization using convolutional networks,
        section 3.2, https://arxiv.org/abs/1411.4280; PyTorch's `Dropout2d`.
    """
    if x.ndim < 2:
        raise ValueError(f"spatial_dropout: x needs axes (b, *space, c), got {x.shape}.")
    shape = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1])
    return _drop("spatial_dropout", key, x, rate, shape, train)


def drop_path(
    key: PRNGKeyArray | None, x: Float[Array, "b *rest"], rate: float, *, train: bool
) -> Float[Array, "b *rest"]:
    r"""Each example is zero as a whole with probability `rate` (stochastic depth).

    y[b] = m[b] x[b] / (1 - rate), m ~ Bernoulli(1 - rate) for each b. Applied to the branch of a
    residual block, it leaves the block out for some examples.

    Args:
        key: a random key; may be None where nothing is drawn.
        x: examples along the first axis.
        rate: probability of zero, in [0, 1]; at 1 everything is zero. A Python number, static
            under jit.
        train: False gives x itself.

    Returns:
        an array in x's dtype.

    Raises:
        ValueError: x without a batch axis, `rate` outside [0, 1], or no key in training with a
            rate above 0.

    Gradient:
        m / (1 - rate), the mask that was drawn.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y = drop_path(jax.random.key(0), jnp.ones((100, 2, 2)), 0.5, train=True)
        >>> sorted(set(y.sum(axis=(1, 2)).tolist()))
        [0.0, 8.0]

    Reference:
        Huang et al. (2016), Deep networks with stochastic depth, section 3 (one draw per batch
        and scaled in evaluation there; per example and scaled while training here, as in timm
        and torchvision), https://arxiv.org/abs/1603.09382.
    """
    if x.ndim < 1:
        raise ValueError(f"drop_path: x needs axes (b, ...), got {x.shape}.")
    return _drop("drop_path", key, x, rate, (x.shape[0], *(1,) * (x.ndim - 1)), train)


def _drop(
    function: str, key: Array | None, x: Array, rate: float, shape: tuple[int, ...], train: bool
) -> Array:
    """One draw for each entry of `shape`, which broadcasts against x."""
    if not 0 <= rate <= 1:
        raise ValueError(f"{function}: rate must lie in [0, 1], got {rate}.")
    if not train or rate == 0:
        return x
    if key is None:
        raise ValueError(f"{function}: training needs a random key, got None.")
    if rate == 1:  # where 1 / (1 - rate) is infinite and the gradient would be 0 times that
        return jnp.zeros_like(x)
    keep = jax.random.bernoulli(key, 1 - rate, shape)
    return jnp.where(keep, x / (1 - rate), 0)
