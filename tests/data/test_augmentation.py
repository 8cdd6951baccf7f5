import jax
import jax.numpy as jnp
import pytest

from helpers import array, assert_close
from jaxcnn.data import flip, pad_crop


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
