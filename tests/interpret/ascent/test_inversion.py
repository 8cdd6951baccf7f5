import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close
from jaxcnn.functional import conv
from jaxcnn.interpret.ascent.inversion import invert
from jaxcnn.interpret.ascent.regularizers import total_variation

KEY = jax.random.key(0)
BARE = {"norm": 0.0, "total_variation": 0.0}
SHAPE = (2, 4, 4, 2)


LEFT, _, RIGHT = np.linalg.svd(np.asarray(array(32, 32, seed=2)))
MATRIX = LEFT * np.linspace(0.5, 1.5, 32) @ RIGHT


def mixed(x):
    """An invertible linear map, all of whose singular values lie between 0.5 and 1.5."""
    return x.reshape(len(x), -1) @ jnp.asarray(MATRIX, x.dtype)


def test_an_invertible_map_gives_the_image_back():
    x = array(*SHAPE)
    found = invert(mixed, mixed(x), KEY, SHAPE, steps=600, **BARE)
    assert jnp.abs(found.images - x).max() < 1e-3
    assert (found.losses[-1] < 1e-8).all()


def test_the_loss_by_hand():
    x, features = array(*SHAPE), array(2, 32, seed=1)
    weights = {"norm": 0.3, "total_variation": 0.2, "alpha": 3.0, "beta": 1.5}
    found = invert(mixed, features, KEY, SHAPE, start=x, steps=1, **weights)
    y = np.asarray(x)
    distance = ((mixed(x) - features) ** 2).sum(1) / (features**2).sum(1)
    norm = (np.abs(y) ** 3).sum((1, 2, 3)) / 32
    variation = np.asarray(total_variation(x, beta=1.5)) / 32
    assert_close(found.losses[0], distance + 0.3 * norm + 0.2 * variation)


def test_each_penalty_makes_the_image_plainer():
    x = array(*SHAPE)

    def found(**weights):
        return invert(mixed, mixed(x), KEY, SHAPE, **(BARE | weights)).images

    plain = found()
    assert (total_variation(found(total_variation=0.3)) < 0.8 * total_variation(plain)).all()
    assert jnp.abs(found(norm=0.03)).max() < 0.8 * jnp.abs(plain).max()


def test_features_of_a_net_are_met():
    kernel, x = array(3, 3, 1, 6, seed=4), array(1, 10, 10, 1)
    f = lambda x: jax.nn.relu(conv(x, kernel))  # noqa: E731
    found = invert(f, f(x), KEY, x.shape, total_variation=0.0)
    assert ((f(found.images) - f(x)) ** 2).sum() < 1e-3 * (f(x) ** 2).sum()


def test_a_batch_is_its_images_and_keys_are_bits():
    x = array(*SHAPE)
    start = array(*SHAPE, seed=8)
    both = invert(mixed, mixed(x), KEY, SHAPE, start=start, steps=20)
    one = invert(mixed, mixed(x[1:]), KEY, (1, 4, 4, 2), start=start[1:], steps=20)
    assert_close(one.images[0], both.images[1], "float32 sums")
    again = invert(mixed, mixed(x), KEY, SHAPE, steps=20).images
    assert (again == invert(mixed, mixed(x), KEY, SHAPE, steps=20).images).all()
    assert (again != invert(mixed, mixed(x), jax.random.key(1), SHAPE, steps=20).images).any()


def test_limits():
    found = invert(mixed, mixed(array(*SHAPE)), KEY, SHAPE, limits=(-0.3, (0.2, 0.4)), **BARE)
    assert_close(found.images.max((0, 1, 2)), [0.2, 0.4])
    assert_close(found.images.min(), -0.3)


def test_a_second_call_compiles_nothing():
    traces = []

    def f(x):
        traces.append(1)
        return x**2

    x = array(*SHAPE)
    invert(f, x**2, KEY, SHAPE, steps=3)
    before = len(traces)
    invert(f, x, KEY, SHAPE, steps=3, norm=0.5, learning_rate=0.2)
    assert len(traces) == before


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (jnp.ones((2, 31)), {}, r"features must have f\(x\)'s shape \(2, 32\), got \(2, 31\)"),
        (jnp.ones((2, 32)), {"steps": -1}, "invert: steps must be 0 or more, got -1"),
        (jnp.ones((2, 32)), {"norm": -1.0}, "invert: norm must be 0 or more, got -1.0"),
        (jnp.ones((2, 32)), {"start": jnp.ones((1, 4, 4, 2))}, r"start must have the shape"),
    ],
)
def test_errors(features, options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        invert(mixed, features, KEY, SHAPE, **options)
