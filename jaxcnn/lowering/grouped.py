"""Grouped convolution as dense ones, each of a few neighbouring groups.

The dense kernel is zero between groups, so that a block of n groups does n times the products; but
convolutions of few channels waste more than that, and many of them take long to compile. A value
that is not finite spreads over its block.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import Array

from jaxcnn.lowering.windows import Windows

WIDE = 32  # channels of a block's input at most,
MANY = 8  # or what makes it so many blocks,
WIDEST = 128  # but no more than this

Dense = Callable[..., Array]


def conv(dense: Dense, x: Array, kernel: Array, *, how: Windows) -> Array:
    """y, or with `dense` by x, x, block by block: both are cut by their channels."""
    blocks = _blocks(how, kernel.shape[-2])
    one, kernels = how._replace(groups=1), _block_diagonal(kernel, how.groups, blocks)
    parts = zip(jnp.split(x, blocks, axis=-1), kernels, strict=True)
    return jnp.concatenate([dense(a, b, how=one) for a, b in parts], axis=-1)


def by_kernel(dense: Dense, x: Array, y: Array, *, how: Windows) -> Array:
    """The kernel: the diagonal of each block's."""
    blocks = _blocks(how, x.shape[-1] // how.groups)
    n = how.groups // blocks
    parts = zip(jnp.split(x, blocks, axis=-1), jnp.split(y, blocks, axis=-1), strict=True)
    kernels = [dense(a, b, how=how._replace(groups=1)) for a, b in parts]
    return jnp.concatenate([_diagonal(k, n) for k in kernels], axis=-1)


def _blocks(how: Windows, channels: int) -> int:
    """How many blocks, each of as many groups as fit into its width."""
    n = how.groups
    wide = max(WIDE, min(n * channels // MANY, WIDEST))
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    return n // max(d for d in divisors if d == 1 or d * channels <= wide)


def _block_diagonal(kernel: Array, groups: int, blocks: int) -> Sequence[Array]:
    """*window c_in/groups c_out -> for each block *window c_in/blocks c_out/blocks."""
    n = groups // blocks
    parts = jnp.split(kernel, blocks, axis=-1)
    if n == 1:
        return parts
    *window, c_in, _ = kernel.shape
    same = jnp.eye(n, dtype=bool)[:, None, :, None]
    cut = [p.reshape(*window, 1, c_in, n, -1) for p in parts]
    return [jnp.where(same, p, 0).reshape(*window, n * c_in, -1) for p in cut]


def _diagonal(kernel: Array, n: int) -> Array:
    """*window (n c_in) (n c_out) -> *window c_in (n c_out): undoes `_block_diagonal`."""
    if n == 1:
        return kernel
    *window, c_in, c_out = kernel.shape
    cut = kernel.reshape(*window, n, c_in // n, n, c_out // n)
    return jnp.concatenate([cut[..., a, :, a, :] for a in range(n)], axis=-1)
