import jax
import numpy as np
import pytest

from jaxcnn.data.batching import batches, split_validation, steps_per_epoch
from jaxcnn.data.datasets import Split


def split(labels):
    """Every image is its own number, to be recognised by."""
    n = len(labels)
    images = np.arange(n).astype(np.uint8).reshape(n, 1, 1, 1)
    return Split(images, np.asarray(labels, np.int32))


def seen(epoch):
    """The numbers of the images with weight 1, in order."""
    return [int(i) for b in epoch for i in b["image"][b["weight"] == 1].ravel()]


LABELS = [0] * 50 + [1] * 31 + [2] * 17 + [7] * 3 + [9]


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.2, 0.5, 0.77])
def test_split_validation_is_stratified(fraction):
    train, validation = split_validation(split(LABELS), fraction, seed=3)
    both = [i.images.ravel().tolist() for i in (train, validation)]
    assert sorted(both[0] + both[1]) == list(range(len(LABELS)))
    assert both[0] == sorted(both[0])
    assert both[1] == sorted(both[1])
    assert abs(len(validation) - fraction * len(LABELS)) <= 1
    for c in set(LABELS):
        share = fraction * LABELS.count(c)
        assert abs(np.sum(validation.labels == c) - share) < 1
        assert np.sum(train.labels == c) >= 1
    for part in (train, validation):
        np.testing.assert_array_equal(np.array(LABELS)[part.images.ravel()], part.labels)


def test_split_validation_is_fixed_by_its_seed():
    first = split_validation(split(LABELS), 0.1, seed=0)[1].images.ravel().tolist()
    # Committed: another machine or NumPy must hold out the same images.
    assert first == [2, 3, 11, 13, 20, 53, 59, 62, 88, 92]
    other = split_validation(split(LABELS), 0.1, seed=1)[1].images.ravel().tolist()
    assert other != first


def test_split_validation_of_one_example_each():
    train, validation = split_validation(split(range(9)), 0.5, seed=0)
    assert (len(train), len(validation)) == (9, 0)


def test_steps_per_epoch():
    assert [steps_per_epoch(n, 4) for n in (0, 1, 4, 5, 8)] == [0, 1, 1, 2, 2]
    assert [steps_per_epoch(n, 4, drop_last=True) for n in (0, 1, 4, 5, 8)] == [0, 0, 1, 1, 2]


def test_batches_in_order():
    epoch = list(batches(split(range(10)), 4))
    assert len(epoch) == steps_per_epoch(10, 4) == 3
    for b in epoch:
        assert {k: (v.shape, v.dtype.name) for k, v in b.items()} == {
            "image": ((4, 1, 1, 1), "uint8"),
            "label": ((4,), "int32"),
            "weight": ((4,), "float32"),
        }
    assert seen(epoch) == list(range(10))
    assert epoch[2]["weight"].tolist() == [1, 1, 0, 0]
    assert epoch[2]["label"].tolist() == [8, 9, 0, 0]
    assert epoch[2]["image"].ravel().tolist() == [8, 9, 0, 0]


def test_batches_drop_last():
    epoch = list(batches(split(range(10)), 4, drop_last=True))
    assert seen(epoch) == list(range(8))
    assert all(b["weight"].all() for b in epoch)


def test_batches_are_shuffled_alike_everywhere():
    key = jax.random.key(0)
    order = seen(batches(split(range(100)), 16, key=key))
    assert sorted(order) == list(range(100))
    # Committed: another machine or jax must shuffle the same.
    assert order[:8] == [0, 36, 1, 40, 19, 31, 39, 37]
    assert order == seen(batches(split(range(100)), 7, key=key))
    assert order != seen(batches(split(range(100)), 16, key=jax.random.key(1)))


def test_batches_keep_images_and_labels_together():
    for b in batches(split(range(100)), 16, key=jax.random.key(5)):
        np.testing.assert_array_equal(b["image"].ravel(), b["label"])


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_batches_go_on(start):
    key = jax.random.key(2)
    whole = list(batches(split(range(10)), 4, key=key))
    rest = list(batches(split(range(10)), 4, key=key, start=start))
    assert len(rest) == 3 - start
    for a, b in zip(whole[start:], rest, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_batches_of_nothing():
    assert list(batches(split([]), 4)) == []


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_shards_are_the_parts_of_every_batch(count):
    key = jax.random.key(3)
    whole = list(batches(split(range(20)), 6, key=key, start=1))
    shards = [
        list(batches(split(range(20)), 6, key=key, start=1, shard=(i, count))) for i in range(count)
    ]
    for batch, *parts in zip(whole, *shards, strict=True):
        for name, values in batch.items():
            np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), values)
            assert {len(p[name]) for p in parts} == {6 // count}


def test_errors():
    with pytest.raises(ValueError, match=r"split_validation: fraction must lie in .0, 1., got 1"):
        split_validation(split(LABELS), 1.0, seed=0)
    with pytest.raises(ValueError, match="split_validation: fraction must lie in"):
        split_validation(split(LABELS), -0.1, seed=0)
    with pytest.raises(ValueError, match="steps_per_epoch: batch_size must be at least 1, got 0"):
        steps_per_epoch(10, 0)
    # At the call, not at the first batch:
    with pytest.raises(ValueError, match="batches: batch_size must be at least 1, got 0"):
        batches(split(LABELS), 0)
    with pytest.raises(ValueError, match="batches: drop_last leaves no batch of 4 out of 3"):
        batches(split(range(3)), 4, drop_last=True)
    with pytest.raises(ValueError, match=r"batches: start must lie in 0..3, got 4"):
        batches(split(range(10)), 4, start=4)
    with pytest.raises(ValueError, match="batches: workers must not be negative, got -1"):
        batches(split(range(10)), 4, workers=-1)
    for shard in ((2, 2), (-1, 2), (0, 0)):
        with pytest.raises(
            ValueError, match=r"batches: shard must be \(index, count\), 0 <= index"
        ):
            batches(split(range(10)), 4, shard=shard)
    with pytest.raises(ValueError, match="batches: batch_size must be a multiple of the 3 shards"):
        batches(split(range(10)), 4, shard=(0, 3))
