"""Splits cut in two, and into batches."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing

import jax
import numpy as np

from jaxcnn.data.datasets import Split
from jaxcnn.data.pictures import Pictures
from jaxcnn.data.streaming import stream


def split_validation(split: Split, fraction: float, *, seed: int) -> tuple[Split, Split]:
    """Hold out a stratified part: every class keeps its share within one example.

    The held-out part has round(fraction n) examples, shared among the classes by the largest
    remainder; the last example of a class stays in training. Both parts keep the order.

    Args:
        split: what to cut.
        fraction: held out, in [0, 1).
        seed: the same seed cuts alike on any machine.

    Returns:
        (train, validation).

    Raises:
        ValueError: a fraction outside [0, 1).

    Example:
        >>> labels = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.int32)
        >>> split = Split(np.zeros((8, 1, 1, 1), np.uint8), labels)
        >>> train, validation = split_validation(split, 0.25, seed=0)
        >>> train.labels.tolist(), validation.labels.tolist()
        ([0, 0, 0, 1, 1, 1], [0, 1])

    """
    if not 0 <= fraction < 1:
        raise ValueError(f"split_validation: fraction must lie in [0, 1), got {fraction}.")
    n = len(split)
    _, group, counts = np.unique(split.labels, return_inverse=True, return_counts=True)
    share = fraction * counts
    take = np.floor(share).astype(int)
    spare = round(fraction * n) - take.sum()
    most_left = np.argsort(take - share, kind="stable")
    take[most_left[:spare]] += 1
    take = np.minimum(take, np.maximum(counts - 1, 0))
    # Sorting the generator's raw output: of NumPy's streams only that one never changes (NEP 19).
    order = np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")
    held = np.zeros(n, bool)
    for c, k in enumerate(take):
        held[order[group[order] == c][:k]] = True
    return _select(split, ~held), _select(split, held)


def steps_per_epoch(n: int, batch_size: int, drop_last: bool = False) -> int:
    """How many batches cover n examples: n / batch_size, rounded up, or down with drop_last.

    Example:
        >>> steps_per_epoch(10, 4), steps_per_epoch(10, 4, drop_last=True)
        (3, 2)

    """
    if batch_size < 1:
        raise ValueError(f"steps_per_epoch: batch_size must be at least 1, got {batch_size}.")
    return n // batch_size if drop_last else -(-n // batch_size)


def batches(
    split: Split,
    batch_size: int,
    *,
    key: jax.Array | None = None,
    drop_last: bool = False,
    start: int = 0,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> Iterator[dict[str, np.ndarray]]:
    """One epoch of batches, all of one shape, so that one compiled program serves them.

    The same key gives the same batches whatever `workers` and `shard` are.

    Args:
        split: the examples. Pictures on the disk are read ahead of the consumer.
        batch_size: examples in a batch, those of all shards together.
        key: shuffles by `jax.random.permutation(key, n)`, alike on any machine; None keeps the
            order.
        drop_last: leave out the last batch where it is short. Otherwise it is filled up with
            zeros whose weight is 0.
        start: batches to leave out at the beginning, to go on with an epoch cut short; they are
            not read.
        workers: processes that read pictures from the disk; 0 reads them in threads of this one.
            They take about two seconds to start, and each holds up to four batches. Images in
            memory need none.
        shard: (index, count): give the index-th of `count` equal parts of every batch, for one
            of `count` processes.

    Returns:
        dictionaries of "image" (uint8, b h w c), "label" (int32, b) and "weight" (float32, b): 1
        for an example, 0 for filling and for a corrupt picture that is skipped.

    Raises:
        ValueError: a batch size below 1 or that the shards do not divide, drop_last that leaves
            nothing, a start outside the epoch, negative workers, or no such shard; while
            reading, a picture that cannot be decoded.
        OSError: while reading, a file that is gone, or a worker that died.

    Example:
        >>> split = Split(np.zeros((3, 1, 1, 1), np.uint8), np.array([7, 8, 9], np.int32))
        >>> [(b["label"].tolist(), b["weight"].tolist()) for b in batches(split, 2)]
        [([7, 8], [1.0, 1.0]), ([9, 0], [1.0, 0.0])]
        >>> [b["label"].tolist() for b in batches(split, 2, shard=(1, 2))]
        [[8], [0]]

    """
    n = len(split)
    if batch_size < 1:
        raise ValueError(f"batches: batch_size must be at least 1, got {batch_size}.")
    if drop_last and 0 < n < batch_size:
        raise ValueError(f"batches: drop_last leaves no batch of {batch_size} out of {n} examples.")
    steps = steps_per_epoch(n, batch_size, drop_last)
    if not 0 <= start <= steps:
        raise ValueError(f"batches: start must lie in 0..{steps}, got {start}.")
    if workers < 0:
        raise ValueError(f"batches: workers must not be negative, got {workers}.")
    index, count = shard
    if not 0 <= index < count:
        raise ValueError(f"batches: shard must be (index, count), 0 <= index < count, got {shard}.")
    if batch_size % count:
        raise ValueError(
            f"batches: batch_size must be a multiple of the {count} shards, got {batch_size}."
        )
    order = np.arange(n) if key is None else np.asarray(jax.random.permutation(key, n))
    size = batch_size // count
    whole = (order[i * batch_size : (i + 1) * batch_size] for i in range(start, steps))
    parts = [batch[index * size : (index + 1) * size] for batch in whole]
    if isinstance(split.images, Pictures):
        return _streamed(split.images, split.labels, parts, size, workers)
    images = split.images
    return (_batch(images[chosen], split.labels[chosen], (), size) for chosen in parts)


def _streamed(
    pictures: Pictures, labels: np.ndarray, parts: Sequence[np.ndarray], size: int, workers: int
) -> Iterator[dict[str, np.ndarray]]:
    with closing(stream(pictures, parts, workers)) as reading:
        for chosen, (image, faults) in zip(parts, reading, strict=True):
            pictures.warn(faults)
            yield _batch(image, labels[chosen], faults, size)


def _batch(
    image: np.ndarray, label: np.ndarray, left_out: Collection[int], size: int
) -> dict[str, np.ndarray]:
    weight = np.ones(len(label), np.float32)
    weight[list(left_out)] = 0
    missing = size - len(label)
    if missing:
        image = np.pad(image, ((0, missing), (0, 0), (0, 0), (0, 0)))
        label, weight = np.pad(label, (0, missing)), np.pad(weight, (0, missing))
    return {"image": image, "label": label, "weight": weight}


def _select(split: Split, mask: np.ndarray) -> Split:
    images = split.images
    chosen = images.select(mask) if isinstance(images, Pictures) else images[mask]
    return Split(chosen, split.labels[mask])
