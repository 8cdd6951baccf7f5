import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close
from jaxcnn.data import cutout, flip, mixup, pad_crop


def test_flip_mirrors_about_half_of_the_images():
    images = jnp.arange(2).reshape(1, 1, 2, 1).repeat(1000, axis=0)
    flipped = flip(jax.random.key(0), images)
    mirrored = flipped[:, 0, 0, 0] == 1
    assert_close(
        flipped[:, 0, :, 0],
        jnp.where(mirrored[:, None], images[0, 0, ::-1, 0], images[0, 0, :, 0]),
        "exact",
    )
    assert abs(int(mirrored.sum()) - 500) < 4 * 1000**0.5 / 2  # four standard deviations


def test_flip_same_key_same_images_and_jit():
    images = array(8, 3, 4, 2)
    once = flip(jax.random.key(1), images)
    assert_close(jax.jit(flip)(jax.random.key(1), images), once, "exact")
    assert_close(flip(jax.random.key(1), once), images, "exact")
    assert not jnp.array_equal(flip(jax.random.key(2), images), once)


def test_pad_crop_is_a_shift_of_the_padded_image():
    images = array(500, 4, 5, 2)
    cropped = pad_crop(jax.random.key(0), images, 1)
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = [padded[:, i : i + 4, j : j + 5] for i in range(3) for j in range(3)]
    same = jnp.stack([(w == cropped).all((1, 2, 3)) for w in windows])
    assert same.sum(0).tolist() == [1] * 500
    expected = 500 / 9
    assert jnp.abs(same.sum(1) - expected).max() < 4 * expected**0.5


def test_pad_crop_zero_is_the_identity_and_jits():
    images = jnp.arange(2 * 3 * 3, dtype=jnp.uint8).reshape(2, 3, 3, 1)
    assert_close(pad_crop(jax.random.key(0), images, 0), images, "exact")
    once = pad_crop(jax.random.key(0), images, 2)
    assert once.dtype == jnp.uint8
    jitted = jax.jit(pad_crop, static_argnums=2)
    assert_close(jitted(jax.random.key(0), images, 2), once, "exact")


def test_pad_crop_errors():
    with pytest.raises(ValueError, match="pad_crop: padding must not be negative, got -1"):
        pad_crop(jax.random.key(0), jnp.zeros((1, 2, 2, 1)), -1)


def test_flip_keeps_integers():
    images = jnp.zeros((2, 3, 3, 1), jnp.uint8)
    assert flip(jax.random.key(0), images).dtype == jnp.uint8


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 20])
def test_cutout_is_a_clipped_square_about_a_uniform_centre(size):
    key, images = jax.random.key(3), array(40, 5, 7, 2)
    expected = np.array(images)
    centres = jax.random.randint(key, (40, 2), 0, jnp.array([5, 7]))
    for x, (i, j) in zip(expected, centres.tolist(), strict=True):
        for row in range(i - size // 2, i - size // 2 + size):
            for column in range(j - size // 2, j - size // 2 + size):
                if 0 <= row < 5 and 0 <= column < 7:
                    x[row, column] = 0
    assert_close(cutout(key, images, size), expected, "exact")


def test_cutout_reaches_every_pixel_and_every_channel():
    cut = cutout(jax.random.key(0), jnp.ones((3500, 5, 7, 2), jnp.uint8), 1)
    assert cut.dtype == jnp.uint8
    zeros = (cut == 0).all(-1).sum(0)
    assert int(zeros.sum()) == 3500
    assert jnp.abs(zeros - 100).max() < 4.5 * 10  # deviations of a share of 1/35


def test_cutout_under_jit_and_vmap_over_keys():
    keys, images = jax.random.split(jax.random.key(4), 2), array(4, 6, 5, 1)
    expected = jnp.stack([cutout(key, images, 3) for key in keys])
    assert_close(jax.vmap(lambda key: cutout(key, images, 3))(keys), expected, "exact")
    assert_close(jax.jit(cutout, static_argnums=2)(keys[1], images, 3), expected[1], "exact")
    assert not jnp.array_equal(expected[0], expected[1])


def test_cutout_errors():
    with pytest.raises(ValueError, match="cutout: size must not be negative, got -1"):
        cutout(jax.random.key(0), jnp.zeros((1, 2, 2, 1)), -1)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 7.0])
def test_mixup_is_one_convex_combination_of_images_and_labels(alpha):
    key = jax.random.key(5)
    images = (100 * array(6, 4, 3, 2)).astype(jnp.uint8)
    labels = jax.nn.softmax(array(6, 5, seed=1).astype(jnp.float32))
    share_key, partner_key = jax.random.split(key)
    share = np.float64(jax.random.beta(share_key, alpha, alpha, dtype=jnp.float32))
    partners = jax.random.permutation(partner_key, 6)
    mixed = mixup(key, images, labels, alpha)
    for before, after in zip((images, labels), mixed, strict=True):
        x = np.asarray(before, np.float64)
        expected = [share * x[i] + (1 - share) * x[partners[i]] for i in range(6)]
        assert after.dtype == jnp.float32
        assert_close(after, expected, "float32")


def test_mixup_keeps_distributions_and_the_batch_mean():
    images, labels = array(8, 3, 3, 1), jax.nn.one_hot(jnp.arange(8) % 3, 3)
    for i in range(5):
        x, y = mixup(jax.random.key(i), images, labels, 0.5)
        assert_close(y.sum(1), jnp.ones(8), "float32")
        assert_close(y.sum(0), labels.sum(0), "float32")
        assert_close(x.sum(0), images.sum(0), "float32")


def test_mixup_under_jit_and_vmap_over_keys():
    keys, images, labels = jax.random.split(jax.random.key(6), 2), array(4, 2, 2, 1), jnp.eye(4)
    expected = [mixup(key, images, labels, 0.4) for key in keys]
    together = jax.vmap(lambda key: mixup(key, images, labels, 0.4))(keys)
    jitted = jax.jit(mixup, static_argnums=3)(keys[1], images, labels, 0.4)
    for i in range(2):
        assert_close(together[i], jnp.stack([pair[i] for pair in expected]), "float32")
        assert_close(jitted[i], expected[1][i], "float32")


def test_mixup_errors():
    for alpha in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"mixup: alpha must be positive, got {alpha}"):
            mixup(jax.random.key(0), jnp.zeros((2, 1, 1, 1)), jnp.eye(2), alpha)
