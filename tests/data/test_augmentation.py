import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close
from jaxcnn.data import cutout, flip, mixup, pad_crop


def test_flip_mirrors_about_half_of_the_images():
    images = np.arange(2).reshape(1, 1, 2, 1).repeat(1000, axis=0)
    flipped = np.asarray(jax.jit(flip)(jax.random.key(0), images))
    mirrored = flipped[:, 0, 0, 0] == 1
    expected = np.where(mirrored[:, None], images[0, 0, ::-1, 0], images[0, 0, :, 0])
    assert_close(flipped[:, 0, :, 0], expected, "exact")
    assert abs(mirrored.sum() - 500) < 4 * 1000**0.5 / 2  # four standard deviations


def test_flip_same_key_same_images_and_jit():
    images = array(8, 3, 4, 2)
    once, jitted = flip(jax.random.key(1), images), jax.jit(flip)
    assert_close(jitted(jax.random.key(1), images), once, "exact")
    assert_close(jitted(jax.random.key(1), once), images, "exact")
    assert not np.array_equal(jitted(jax.random.key(2), images), once)


def test_pad_crop_is_a_shift_of_the_padded_image():
    images = np.asarray(array(500, 4, 5, 2))
    cropped = jax.jit(pad_crop, static_argnums=2)(jax.random.key(0), images, 1)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = [padded[:, i : i + 4, j : j + 5] for i in range(3) for j in range(3)]
    same = np.stack([(w == np.asarray(cropped)).all((1, 2, 3)) for w in windows])
    assert same.sum(0).tolist() == [1] * 500
    expected = 500 / 9
    assert np.abs(same.sum(1) - expected).max() < 4 * expected**0.5


def test_pad_crop_zero_is_the_identity_and_jits():
    images = jnp.asarray(np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 1))
    jitted = jax.jit(pad_crop, static_argnums=2)
    assert_close(jitted(jax.random.key(0), images, 0), images, "exact")
    once = pad_crop(jax.random.key(0), images, 2)
    assert once.dtype == jnp.uint8
    assert_close(jitted(jax.random.key(0), images, 2), once, "exact")


def test_pad_crop_errors():
    with pytest.raises(ValueError, match="pad_crop: padding must not be negative, got -1"):
        pad_crop(jax.random.key(0), jnp.zeros((1, 2, 2, 1)), -1)


def test_flip_keeps_integers():
    images = np.zeros((2, 3, 3, 1), np.uint8)
    assert jax.jit(flip)(jax.random.key(0), images).dtype == jnp.uint8


def test_cutout_is_a_clipped_square_about_a_uniform_centre():
    key, images, sizes = jax.random.key(3), array(40, 5, 7, 2), (0, 1, 2, 3, 4, 20)
    centres = jax.random.randint(key, (40, 2), 0, jnp.array([5, 7])).tolist()
    found = jax.jit(lambda key, images: [cutout(key, images, size) for size in sizes])(key, images)
    for size, cut in zip(sizes, found, strict=True):
        expected = np.array(images)
        for x, (i, j) in zip(expected, centres, strict=True):
            for row in range(i - size // 2, i - size // 2 + size):
                for column in range(j - size // 2, j - size // 2 + size):
                    if 0 <= row < 5 and 0 <= column < 7:
                        x[row, column] = 0
        assert_close(cut, expected, "exact", where=f"size {size}")


def test_cutout_reaches_every_pixel_and_every_channel():
    images = np.ones((3500, 5, 7, 2), np.uint8)
    cut = np.asarray(jax.jit(cutout, static_argnums=2)(jax.random.key(0), images, 1))
    assert cut.dtype == np.uint8
    zeros = (cut == 0).all(-1).sum(0)
    assert zeros.sum() == 3500
    assert np.abs(zeros - 100).max() < 4.5 * 10  # deviations of a share of 1/35


def test_cutout_under_jit_and_vmap_over_keys():
    keys, images = jax.random.split(jax.random.key(4), 2), array(4, 6, 5, 1)
    first = cutout(keys[0], images, 3)
    jitted = jax.jit(cutout, static_argnums=2)
    assert_close(jitted(keys[0], images, 3), first, "exact")
    second = np.asarray(jitted(keys[1], images, 3))
    assert not np.array_equal(first, second)
    mapped = jax.jit(jax.vmap(lambda key: cutout(key, images, 3)))(keys)
    assert_close(mapped, np.stack([first, second]), "exact")


def test_cutout_errors():
    with pytest.raises(ValueError, match="cutout: size must not be negative, got -1"):
        cutout(jax.random.key(0), jnp.zeros((1, 2, 2, 1)), -1)


# Eagerly: the beta distribution takes two seconds to compile, and that program serves all tests.
@pytest.mark.parametrize("alpha", [0.2, 1.0, 7.0])
def test_mixup_is_one_convex_combination_of_images_and_labels(alpha):
    key = jax.random.key(5)
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (6, 4, 3, 2), np.uint8))
    labels = jnp.asarray(np.random.default_rng(1).dirichlet(np.ones(5), 6), jnp.float32)
    share_key, partner_key = jax.random.split(key)
    share = np.float64(jax.random.beta(share_key, alpha, alpha, dtype=jnp.float32))
    partners = np.asarray(jax.random.permutation(partner_key, 6))
    mixed = mixup(key, images, labels, alpha)
    for before, after in zip((images, labels), mixed, strict=True):
        x = np.asarray(before, np.float64)
        assert after.dtype == jnp.float32
        assert_close(after, share * x + (1 - share) * x[partners], "float32")


def test_mixup_keeps_distributions_and_the_batch_mean():
    images, labels = array(6, 4, 3, 2), jnp.asarray(np.eye(5)[np.arange(6) % 3], jnp.float32)
    for i in range(5):
        x, y = map(np.asarray, mixup(jax.random.key(i), images, labels, 0.5))
        assert_close(y.sum(1), np.ones(6), "float32")
        assert_close(y.sum(0), np.sum(labels, axis=0), "float32")
        assert_close(x.sum(0), np.sum(images, axis=0), "float32")


def test_mixup_under_jit_and_vmap_over_keys():
    keys = jax.random.split(jax.random.key(6), 2)
    images, labels = array(6, 4, 3, 2), jnp.asarray(np.eye(6, 5), jnp.float32)
    expected = [mixup(key, images, labels, 0.4) for key in keys]
    mapped = jax.jit(jax.vmap(lambda key: mixup(key, images, labels, 0.4)))(keys)
    jitted = jax.jit(mixup, static_argnums=3)(keys[1], images, labels, 0.4)
    for i in range(2):
        assert_close(mapped[i], np.stack([pair[i] for pair in expected]), "float32")
        assert_close(jitted[i], expected[1][i], "float32")


def test_mixup_errors():
    for alpha in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"mixup: alpha must be positive, got {alpha}"):
            mixup(jax.random.key(0), jnp.zeros((2, 1, 1, 1)), jnp.eye(2), alpha)
