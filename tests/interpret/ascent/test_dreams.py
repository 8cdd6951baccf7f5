import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from helpers import array, assert_close
from jaxcnn.functional import conv
from jaxcnn.interpret.ascent.dreams import deep_dream, octave_sizes
from jaxcnn.interpret.ascent.objectives import layer_score

KERNEL = array(3, 3, 2, 4, seed=5)


def net(x):
    return checkpoint_name(jax.nn.relu(conv(x, KERNEL)), "conv")


def local(x):
    """The mean of a function of each pixel by itself."""
    return (x**3).mean((1, 2, 3))


@pytest.mark.parametrize("octaves", [1, 3])
def test_zero_steps_give_the_image_back(octaves):
    x = array(2, 13, 17, 3).at[0, 0, 0, 0].set(-0.0)
    found = deep_dream(local, x, octaves=octaves, steps=0, limits=(-0.1, 0.1))
    assert np.asarray(found.images).tobytes() == np.asarray(x).tobytes()
    assert found.scores.shape == (octaves, 0, 2)


def test_the_rule_by_hand():
    """One octave of two steps, in NumPy; the shift does not show in a local score."""
    x = array(2, 4, 5, 1)
    found = deep_dream(local, x, octaves=1, steps=2, step_size=0.1)
    y = np.asarray(x)
    for t in range(2):
        assert_close(found.scores[0, t], (y**3).mean((1, 2, 3)))
        g = 3 * y**2
        y = y + 0.1 * g / np.abs(g).mean((1, 2, 3), keepdims=True)
    assert_close(found.images, y)


def test_octaves_by_hand():
    """Each starts from the photo at its size plus what the smaller one added."""
    x, add = array(1, 8, 8, 1), 0.25
    f = lambda x: x.mean((1, 2, 3))  # noqa: E731  each step adds step_size everywhere
    found = deep_dream(f, x, octaves=3, octave_scale=2.0, steps=1, step_size=add)
    assert_close(found.images, x + 3 * add)
    for i, size in enumerate([2, 4, 8]):
        photo = jax.image.resize(x, (1, size, size, 1), "linear")
        assert_close(found.scores[i, 0], photo.mean((1, 2, 3)) + i * add)


def test_the_layer_sees_more():
    x = array(2, 20, 24, 2)
    f = layer_score(net, "conv")
    found = deep_dream(f, x, octaves=2, jitter=4)
    assert (f(found.images) > 1.5 * f(x)).all()
    assert (found.scores[:, -1] > found.scores[:, 0]).all()


def test_each_image_dreams_for_itself():
    x = array(2, 8, 9, 2)
    both, one = (deep_dream(local, y, octaves=2, jitter=4) for y in (x, x[1:]))
    assert_close(one.images[0], both.images[1], "float32 sums")
    assert_close(one.scores[..., 0], both.scores[..., 1], "float32 sums")


def test_limits():
    found = deep_dream(local, array(1, 8, 8, 2), octaves=2, limits=((-0.5, -1.0), 0.5))
    assert found.images.max() == 0.5
    assert (found.images.min((0, 1, 2)) >= jnp.array([-0.5, -1.0])).all()


def test_tiles_that_divide_a_local_score_change_nothing():
    x = array(1, 12, 8, 2)
    whole = deep_dream(local, x, octaves=1, steps=3)
    for tile in (4, 5):  # 5 does not divide: the last tile lies over the one before
        tiled = deep_dream(local, x, octaves=1, steps=3, tile=tile)
        assert_close(tiled.images, whole.images)
        if tile == 4:
            assert_close(tiled.scores, whole.scores)


def test_no_seam_shows_where_tiles_meet():
    """Tiles cut what a convolution sees; moved at each step, the cuts are spread evenly."""
    x = array(1, 32, 32, 2)
    f = layer_score(net, "conv")
    whole, tiled = (
        deep_dream(f, x, octaves=1, steps=500, step_size=5e-4, jitter=0, tile=tile).images - x
        for tile in (None, 8)
    )
    assert jnp.vdot(whole, tiled) > 0.97 * jnp.linalg.norm(whole) * jnp.linalg.norm(tiled)
    off = jnp.abs(whole - tiled)[:, 8:24, 8:24].mean((0, 2, 3))  # away from the image's borders
    seams = off.reshape(2, 8).mean(0)  # by the place within a tile that never moves
    assert seams.max() < 1.6 * seams.min()  # about 60 of the 500 cuts fall on each place


def test_f_is_asked_of_tiles_only():
    seen = set()

    def f(x):
        seen.add(x.shape)
        return local(x)

    deep_dream(f, array(2, 40, 30, 1), octaves=2, octave_scale=2.0, steps=1, tile=16)
    assert seen == {(2, 16, 15, 1), (2, 16, 16, 1)}


def test_same_key_same_bits():
    x, f = array(1, 12, 12, 2), layer_score(net, "conv")

    def run(seed):
        return deep_dream(f, x, octaves=1, jitter=5, key=jax.random.key(seed)).images

    assert (run(1) == run(1)).all()
    assert (run(1) != run(2)).any()
    assert (deep_dream(f, x, octaves=1, jitter=5).images == run(0)).all()


def test_a_second_call_compiles_nothing():
    traces = []

    def f(x):
        traces.append(1)
        return local(x)

    x = array(1, 8, 8, 1)
    deep_dream(f, x, octaves=2, steps=2)
    before = len(traces)
    deep_dream(f, x + 1, octaves=2, steps=2, step_size=0.2, jitter=3)
    assert len(traces) == before


def test_a_flat_score_changes_nothing():
    x = array(1, 6, 6, 1)
    found = deep_dream(lambda x: 0 * x.mean((1, 2, 3)), x, octaves=1)
    assert (found.images == x).all()


def test_sizes():
    assert octave_sizes(300, 451, 4, 1.4) == [(109, 164), (153, 230), (214, 322), (300, 451)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"octaves": 0},
            "octaves must be at least 1, steps and jitter 0 or more, got 0, 10 and 32",
        ),
        ({"steps": -1}, "got 4, -1 and 32"),
        ({"octave_scale": 1.0}, "deep_dream: octave_scale must be above 1, got 1.0"),
        ({"tile": 0}, "deep_dream: tile must be at least 1 pixel, got 0"),
        ({"octaves": 9}, r"the smallest octave needs a pixel each way, got \(0, 0\) for 9 octaves"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        deep_dream(local, array(1, 6, 6, 1), **options)
