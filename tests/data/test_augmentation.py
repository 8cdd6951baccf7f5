import jax
import jax.numpy as jnp

from helpers import array, assert_close
from jaxcnn.data import flip


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


def test_flip_keeps_integers():
    images = jnp.zeros((2, 3, 3, 1), jnp.uint8)
    assert flip(jax.random.key(0), images).dtype == jnp.uint8
