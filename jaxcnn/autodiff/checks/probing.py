"""Where a function is probed: directions of all inputs, of blocks, of arrays and of one."""

import numpy as np

from jaxcnn.autodiff.checks.flattening import Elements

FULL = 256  # up to so many inputs or outputs each is probed alone


def supports(
    rng: np.random.Generator, inputs: Elements, count: int, blocks: int, large: np.ndarray | None
) -> list[np.ndarray]:
    """The inputs that move together, for each probe; the first moves them all.

    Args:
        rng: draws blocks and probes.
        inputs: the flat vector's arrays.
        count: about how many probes move one input; an eighth as many move all.
        blocks: how many random parts the inputs are split in.
        large: some gradient; the inputs where it is largest are probed alone.
    """
    n, everything = inputs.size, np.arange(inputs.size)
    if n <= FULL:
        return [everything, *np.split(everything, n)]
    # In a block of n / 64 a single wrong number stands out eight times as much as in all.
    parts = np.array_split(rng.permutation(n), min(n, blocks))
    spans, few = inputs.spans, -(-count // 4)
    arrays = [np.arange(*spans[i]) for i in rng.permutation(len(spans))[: 2 * few]]
    ends = rng.permutation(np.unique([end for a, b in spans for end in (a, b - 1)]))
    largest = [] if large is None else np.argsort(-np.abs(large))[:few]
    alone = np.concatenate([rng.choice(n, few, replace=False), ends[: 2 * few], largest])
    ones = [np.array([i]) for i in np.unique(alone.astype(int))]
    return [*[everything] * max(1, few // 2), *parts, *arrays, *ones]


def output_weights(rng: np.random.Generator, outputs: int, count: int) -> np.ndarray:
    """Rows u of the products <u, f>: each output alone where they are few, else sums of blocks."""
    if outputs <= FULL:
        return np.eye(outputs)
    few = -(-count // 4)
    blocks = np.array_split(rng.permutation(outputs), few)
    everything = [np.arange(outputs)] * max(1, few // 2)
    return np.stack([on(rng, support, outputs) for support in [*everything, *blocks]])


def on(rng: np.random.Generator, support: np.ndarray, size: int) -> np.ndarray:
    """A random vector of that support: either sign, magnitudes from 1/2 to 1."""
    v = np.zeros(size)
    v[support] = rng.choice([-1.0, 1.0], len(support)) * rng.uniform(0.5, 1, len(support))
    return v
