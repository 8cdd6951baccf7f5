"""3x3 convolution by Winograd's minimal filtering: fewer products, and digits lost.

y = A' [(G k G') * (B' x B)] A for each tile x of (m + 2) x (m + 2) pixels and its m x m outputs y,
where * is a matrix product over the channels for each entry of a tile. F(2x2), with m = 2,
multiplies 2.25 times less often than direct convolution, F(4x4) 4 times. `choice.use` tells what
they cost in digits.

Reference:
    Lavin & Gray (2016), Fast algorithms for convolutional neural networks, section 4,
    https://arxiv.org/abs/1509.09308.
"""

import functools
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxcnn.lowering.windows import Windows, backwards, padded, wide

# By m: B', G and A'.
MATRICES = {
    2: (
        np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
        np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2,
        np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
    ),
    4: (
        np.array(
            [
                [4, 0, -5, 0, 1, 0],
                [0, -4, -4, 1, 1, 0],
                [0, 4, -4, -1, 1, 0],
                [0, -2, -1, 2, 1, 0],
                [0, 2, -1, -2, 1, 0],
                [0, 4, 0, -5, 0, 1],
            ]
        ),
        np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24,
        np.array(
            [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
        ),
    ),
}

Tiles = list[list[Array]]  # by row and column, the pixels that stand there in the tiles


def conv(m: int, x: Array, kernel: Array, *, how: Windows) -> Array:
    """y, by tiles of m x m outputs."""
    y = _outputs(m, x, _kernel(m, wide(kernel), how), 1, how)
    return y.astype(kernel.dtype)


def by_x(m: int, y: Array, kernel: Array, *, how: Windows) -> Array:
    """x, by the convolution of y with the kernel turned round."""
    turned = _kernel(m, wide(jnp.flip(kernel, (0, 1))), how)
    x = _outputs(m, y, turned, 2, backwards(how))
    return x.astype(kernel.dtype)


def by_kernel(m: int, x: Array, y: Array, *, how: Windows) -> Array:
    """The kernel, by the transpose of each step."""
    _, g, a = MATRICES[m]
    rest = [(0, n * m - out) for n, out in zip(_counts(m, how), how.outputs, strict=True)]
    cotangents = padded(wide(y), rest)
    parts = [[cotangents[:, i::m, j::m] for j in range(m)] for i in range(m)]
    y_tiles = _stacked(_both(a.T, parts))
    products = lax.dot_general(
        _inputs(m, x, how), y_tiles, (((1,), (1,)), ((0,), (0,))), precision=how.precision
    )
    kernel = _linear(np.kron(g, g).T, products, how)
    return kernel.reshape(3, 3, *kernel.shape[1:]).astype(y.dtype)


def _outputs(m: int, x: Array, kernel: Array, contracted: int, how: Windows) -> Array:
    """y from x and the transformed kernel, one of whose axes is that of x's channels."""
    products = lax.dot_general(
        _inputs(m, x, how), kernel, (((2,), (contracted,)), ((0,), (0,))), precision=how.precision
    )
    n, t = _counts(m, how), m + 2
    products = products.reshape(t, t, x.shape[0], *n, -1)
    tiles = _both(MATRICES[m][2], [[products[i, j] for j in range(t)] for i in range(t)])
    rows = [jnp.stack(row, axis=3) for row in tiles]
    y = jnp.stack(rows, axis=2)  # b n m n m c
    y = y.reshape(y.shape[0], n[0] * m, n[1] * m, y.shape[-1])
    return y[:, : how.outputs[0], : how.outputs[1]]


def _inputs(m: int, x: Array, how: Windows) -> Array:
    """B' x B of every tile: entries of a tile, tiles, channels."""
    counts = _counts(m, how)
    pairs = [
        (low, n * m + 2 - length - low)
        for (low, _), n, length in zip(how.padding, counts, how.lengths, strict=True)
    ]
    x, t = padded(wide(x), pairs), m + 2
    rows, columns = ((n - 1) * m + 1 for n in counts)
    parts = [[x[:, i : i + rows : m, j : j + columns : m] for j in range(t)] for i in range(t)]
    return _stacked(_both(MATRICES[m][0], parts))


def _kernel(m: int, kernel: Array, how: Windows) -> Array:
    """G k G': entries, c_in, c_out."""
    g = MATRICES[m][1]
    return _linear(np.kron(g, g), kernel.reshape(9, *kernel.shape[2:]), how)


def _counts(m: int, how: Windows) -> list[int]:
    """How many tiles there are along each axis."""
    return [-(-out // m) for out in how.outputs]


def _linear(matrix: np.ndarray, a: Array, how: Windows) -> Array:
    """The matrix times the first axis."""
    left = jnp.asarray(matrix, a.dtype)
    return lax.dot_general(left, a, (((1,), (0,)), ((), ())), precision=how.precision)


def _both(matrix: np.ndarray, tiles: Tiles) -> Tiles:
    """The matrix times the tiles times its transpose."""
    columns = [_times(matrix, column) for column in zip(*tiles, strict=True)]
    return [_times(matrix, row) for row in zip(*columns, strict=True)]


def _times(matrix: np.ndarray, parts: Sequence[Array]) -> list[Array]:
    """Spelled out, for most entries are 0, 1 or -1."""
    rows = ([c * p for c, p in zip(row, parts, strict=True) if c] for row in matrix.tolist())
    return [functools.reduce(lax.add, terms) for terms in rows]


def _stacked(tiles: Tiles) -> Array:
    """Entries of a tile, all tiles, channels."""
    flat = [entry.reshape(-1, entry.shape[-1]) for row in tiles for entry in row]
    return lax.optimization_barrier(jnp.stack(flat))
