"""Normalization of activations: by batch, layer, group, instance and neighbouring channels.

Statistics are taken in float32 at least and in two passes, first the mean and then the squared
deviations from it, because E[x^2] - E[x]^2 cancels where the mean is large.
"""

import math
from collections.abc import Hashable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from jaxcnn.functional.windows import check_floating, wide


def batch_norm(
    x: Float[Array, "*batch c"],
    scale: Float[Array, " c"] | None,
    bias: Float[Array, " c"] | None,
    mean: Float[Array, " c"],
    var: Float[Array, " c"],
    *,
    train: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
    axis_name: Hashable | None = None,
) -> tuple[Float[Array, "*batch c"], tuple[Float[Array, " c"], Float[Array, " c"]]]:
    r"""Give every channel mean 0 and variance 1 over the batch, then scale and shift it.

    y = scale (x - m) / sqrt(v + eps) + bias. In training m and v are the mean and the (biased)
    variance of the n values that x has in a channel, and the running statistics become
    (1 - momentum) mean + momentum m and (1 - momentum) var + momentum v n / (n - 1): PyTorch's
    convention. Otherwise m and v are the running statistics.

    Args:
        x: activations, channels last.
        scale: one number per channel, or None for 1; in x's dtype, or float32 beside a
            narrower x.
        bias: one number per channel, or None for 0; in the same dtypes.
        mean: running mean.
        var: running variance.
        train: whether to normalize by the batch's own statistics.
        momentum: weight of the batch in the running statistics. Flax and Keras call one minus
            this momentum.
        eps: added to the variance.
        axis_name: the mapped axis (of `jax.vmap`, `jax.shard_map`, `jax.pmap`) over which the
            batch is spread; m, v and n are then those of the whole batch. A plain `jax.jit` of a
            sharded batch needs none.

    Returns:
        y in x's dtype, and the running mean and variance in theirs; the ones given where `train`
        is False.

    Raises:
        ValueError: shapes or dtypes that do not match, or fewer than two values per channel in
            training.

    Gradient:
        Through m and v too, in training; 0 with respect to x where a channel is constant.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0], [3.0]])
        >>> zero, one = jnp.zeros(1), jnp.ones(1)
        >>> y, (mean, var) = batch_norm(x, None, None, zero, one, train=True, eps=0.0)
        >>> y.ravel().round(), mean, var
        (Array([-1.,  1.], dtype=float32), Array([0.2], dtype=float32), Array([1.1], dtype=float32))

    Reference:
        Ioffe & Szegedy (2015), Batch normalization, algorithms 1 and 2,
        https://arxiv.org/abs/1502.03167.
    """
    shape = x.shape[-1:]
    _check("batch_norm", x, {"scale": scale, "bias": bias}, shape)
    for name, statistic in (("mean", mean), ("var", var)):
        if statistic.shape != shape:
            raise ValueError(f"batch_norm: {name} needs shape {shape}, got {statistic.shape}.")
    if not train:
        y = _scaled(wide(x) - wide(mean), wide(var), scale, bias, eps)
        return y.astype(x.dtype), (mean, var)
    n = math.prod(x.shape[:-1])
    n = n if axis_name is None else n * lax.axis_size(axis_name)
    if n < 2:
        raise ValueError(
            f"batch_norm: training needs more than one value per channel, got x {x.shape}."
        )
    deviation, m, v = _moments(x, tuple(range(x.ndim - 1)), axis_name)
    y = _scaled(deviation, v, scale, bias, eps)
    running_mean = (1 - momentum) * wide(mean) + momentum * m.reshape(shape)
    running_var = (1 - momentum) * wide(var) + momentum * v.reshape(shape) * (n / (n - 1))
    return y.astype(x.dtype), (running_mean.astype(mean.dtype), running_var.astype(var.dtype))


def layer_norm(
    x: Float[Array, "*axes"],
    scale: Float[Array, "*normalized"] | None = None,
    bias: Float[Array, "*normalized"] | None = None,
    *,
    axis: int | Sequence[int] = -1,
    eps: float = 1e-5,
) -> Float[Array, "*axes"]:
    r"""Give every example mean 0 and variance 1 over some of its axes, then scale and shift it.

    y = scale (x - m) / sqrt(v + eps) + bias, with m and v the mean and the biased variance of x
    over `axis`.

    Args:
        x: activations.
        scale: of the shape of the normalized axes, or None for 1; in x's dtype, or float32
            beside a narrower x.
        bias: of the same shape, or None for 0; in the same dtypes.
        axis: the axes to normalize over: the channels, or (1, 2, 3) for whole images.
        eps: added to the variance.

    Returns:
        y in x's dtype.

    Raises:
        ValueError: axes that x does not have, or shapes or dtypes that do not match.

    Gradient:
        0 with respect to x where the values normalized together are equal.

    Example:
        >>> import jax.numpy as jnp
        >>> layer_norm(jnp.array([[1.0, 3.0], [10.0, 30.0]]), eps=0.0).round()
        Array([[-1.,  1.],
               [-1.,  1.]], dtype=float32)

    Reference:
        Ba, Kiros & Hinton (2016), Layer normalization, equation 3,
        https://arxiv.org/abs/1607.06450.
    """
    axes = _axes("layer_norm", x, axis)
    shape = tuple(n for a, n in enumerate(x.shape) if a in axes)
    _check("layer_norm", x, {"scale": scale, "bias": bias}, shape)
    across = tuple(n if a in axes else 1 for a, n in enumerate(x.shape))
    scale, bias = _reshaped(scale, across), _reshaped(bias, across)
    deviation, _, var = _moments(x, axes)
    return _scaled(deviation, var, scale, bias, eps).astype(x.dtype)


def group_norm(
    x: Float[Array, "b *space c"],
    scale: Float[Array, " c"] | None = None,
    bias: Float[Array, " c"] | None = None,
    *,
    groups: int,
    eps: float = 1e-5,
) -> Float[Array, "b *space c"]:
    r"""Give every group of channels of every image mean 0 and variance 1, then scale and shift.

    y = scale (x - m) / sqrt(v + eps) + bias, with m and v the mean and the biased variance over
    all pixels and the c / groups neighbouring channels of a group.

    Args:
        x: feature maps, channels last.
        scale: one number per channel, or None for 1; in x's dtype, or float32 beside a
            narrower x.
        bias: one number per channel, or None for 0; in the same dtypes.
        groups: how many groups the channels are cut into: 1 normalizes whole images, c is
            `instance_norm`.
        eps: added to the variance.

    Returns:
        y in x's dtype.

    Raises:
        ValueError: groups that do not divide the channels, groups of one value, or shapes or
            dtypes that do not match.

    Gradient:
        0 with respect to x where a group is constant.

    Example:
        >>> import jax.numpy as jnp
        >>> group_norm(jnp.array([[1.0, 3.0, 10.0, 30.0]]), groups=2, eps=0.0).round()
        Array([[-1.,  1., -1.,  1.]], dtype=float32)

    Reference:
        Wu & He (2018), Group normalization, section 3, https://arxiv.org/abs/1803.08494.
    """
    c = x.shape[-1]
    _check("group_norm", x, {"scale": scale, "bias": bias}, (c,))
    if groups < 1 or c % groups:
        raise ValueError(f"group_norm: groups must divide c = {c}, got {groups}.")
    if math.prod(x.shape[1:]) // groups < 2:
        raise ValueError(
            f"group_norm: a group needs more than one value, got x {x.shape} in {groups} group(s)."
        )
    channels = (groups, c // groups)
    scale, bias = _reshaped(scale, channels), _reshaped(bias, channels)
    grouped = x.reshape(*x.shape[:-1], *channels)
    deviation, _, var = _moments(grouped, (*range(1, x.ndim - 1), x.ndim))
    return _scaled(deviation, var, scale, bias, eps).reshape(x.shape).astype(x.dtype)


def instance_norm(
    x: Float[Array, "b *space c"],
    scale: Float[Array, " c"] | None = None,
    bias: Float[Array, " c"] | None = None,
    *,
    eps: float = 1e-5,
) -> Float[Array, "b *space c"]:
    r"""Give every channel of every image mean 0 and variance 1, then scale and shift it.

    y = scale (x - m) / sqrt(v + eps) + bias, with m and v the mean and the biased variance over
    the pixels.

    Args:
        x: feature maps, channels last.
        scale: one number per channel, or None for 1; in x's dtype, or float32 beside a
            narrower x.
        bias: one number per channel, or None for 0; in the same dtypes.
        eps: added to the variance.

    Returns:
        y in x's dtype.

    Raises:
        ValueError: images of one pixel, or shapes or dtypes that do not match.

    Gradient:
        0 with respect to x where a channel is constant.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0, 10.0], [3.0, 30.0]])[None]
        >>> instance_norm(x, eps=0.0)[0].round()
        Array([[-1., -1.],
               [ 1.,  1.]], dtype=float32)

    Reference:
        Ulyanov, Vedaldi & Lempitsky (2016), Instance normalization, equation 3,
        https://arxiv.org/abs/1607.08022.
    """
    _check("instance_norm", x, {"scale": scale, "bias": bias}, x.shape[-1:])
    if math.prod(x.shape[1:-1]) < 2:
        raise ValueError(f"instance_norm: x needs more than one pixel, got x {x.shape}.")
    deviation, _, var = _moments(x, tuple(range(1, x.ndim - 1)))
    return _scaled(deviation, var, scale, bias, eps).astype(x.dtype)


def local_response_norm(
    x: Float[Array, "*batch c"],
    *,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> Float[Array, "*batch c"]:
    r"""Divide every value by the energy of its pixel's neighbouring channels.

    y_i = x_i / (k + (alpha / size) sum_j x_j^2)^beta over the channels j from i - size // 2 to
    i + (size - 1) // 2 that exist: PyTorch's definition. Krizhevsky's alpha is not divided by
    size, so his n = 5, alpha = 1e-4, k = 2 are alpha=5e-4 and k=2 here.

    Args:
        x: activations, channels last.
        size: how many channels, the value's own among them.
        alpha: weight of their mean square.
        beta: exponent.
        k: what is added to it; above 0.

    Returns:
        y in x's dtype.

    Raises:
        ValueError: a size below 1, or an x that is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[3.0, 4.0, 3.0]])
        >>> y = local_response_norm(x, size=2, alpha=2.0, beta=1.0, k=7.0)
        >>> [round(v, 5) for v in y[0].tolist()]  # 3 / 16, 4 / 32, 3 / 32
        [0.1875, 0.125, 0.09375]

    Reference:
        Krizhevsky, Sutskever & Hinton (2012), ImageNet classification with deep convolutional
        neural networks, section 3.3.
    """
    _check("local_response_norm", x, {}, ())
    if size < 1:
        raise ValueError(f"local_response_norm: size must be at least 1, got {size}.")
    values = wide(x)
    ones, unpadded = (1,) * (x.ndim - 1), [(0, 0)] * (x.ndim - 1)
    # XLA's sum over channels: of shifted slices the derivative takes 2 to 4 times as long.
    squares = lax.reduce_window(
        values**2,
        np.zeros((), values.dtype),
        lax.add,
        (*ones, size),
        (*ones, 1),
        [*unpadded, (size // 2, (size - 1) // 2)],
    )
    s = k + alpha * squares / size
    if beta == 0.75:  # 11 times faster than the power on a CPU
        root = lax.rsqrt(s)
        return (values * root * jnp.sqrt(root)).astype(x.dtype)
    return (values * s**-beta).astype(x.dtype)


def mean_subtraction(
    x: Float[Array, "*axes"], *, axis: int | Sequence[int] = 0
) -> Float[Array, "*axes"]:
    r"""Subtract the mean: centre a batch, an image or its channels.

    y = x - mean(x) over `axis`, a linear projection.

    Args:
        x: numbers.
        axis: the axes to take the mean over: 0 for the mean image of a batch, (1, 2) for the
            mean colour of each image.

    Returns:
        y in x's dtype; the mean is taken in float32 at least.

    Raises:
        ValueError: axes that x does not have, or an x that is not floating point.

    Gradient:
        The projection is symmetric, so the backward pass is the forward pass.

    Example:
        >>> import jax.numpy as jnp
        >>> mean_subtraction(jnp.array([[1.0, 10.0], [3.0, 30.0]]))
        Array([[ -1., -10.],
               [  1.,  10.]], dtype=float32)
    """
    _check("mean_subtraction", x, {}, ())
    values = wide(x)
    axes = _axes("mean_subtraction", x, axis)
    return (values - values.mean(axes, keepdims=True)).astype(x.dtype)


def _axes(function: str, x: Array, axis: int | Sequence[int]) -> tuple[int, ...]:
    """The axes that `axis` names, counted from the front and in x's order."""
    given = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    axes = {a % x.ndim for a in given if -x.ndim <= a < x.ndim}
    if not given or len(axes) != len(given):
        raise ValueError(f"{function}: axis must name axes of x {x.shape} once each, got {axis!r}.")
    return tuple(sorted(axes))


def _moments(
    x: Array, axes: tuple[int, ...], axis_name: Hashable | None = None
) -> tuple[Array, Array, Array]:
    """Deviations from the mean, the mean and the biased variance, all with x's rank."""
    x = wide(x)
    mean = x.mean(axes, keepdims=True)
    mean = mean if axis_name is None else lax.pmean(mean, axis_name)
    deviation = x - mean
    var = (deviation**2).mean(axes, keepdims=True)
    var = var if axis_name is None else lax.pmean(var, axis_name)
    return deviation, mean, var


def _scaled(
    deviation: Array, var: Array, scale: Array | None, bias: Array | None, eps: float
) -> Array:
    # One factor per channel: scaling each value twice took 1.5 times as long or more, on a CPU.
    factor = lax.rsqrt(var + eps)
    factor = factor if scale is None else factor * scale.astype(factor.dtype)
    y = deviation * factor
    return y if bias is None else y + bias.astype(y.dtype)


def _reshaped(parameter: Array | None, shape: tuple[int, ...]) -> Array | None:
    return None if parameter is None else parameter.reshape(shape)


def _check(
    function: str, x: Array, parameters: dict[str, Array | None], shape: tuple[int, ...]
) -> None:
    check_floating(function, x)
    allowed = list(dict.fromkeys([x.dtype.name, wide(x).dtype.name]))
    for name, value in parameters.items():
        if value is None:
            continue
        if value.shape != shape:
            raise ValueError(f"{function}: {name} needs shape {shape}, got {value.shape}.")
        if value.dtype.name not in allowed:
            raise ValueError(
                f"{function}: {name} must be {' or '.join(allowed)} for x in {x.dtype.name}, "
                f"got {value.dtype.name}."
            )
