from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from helpers import array, assert_close
from jaxcnn.functional import conv
from jaxcnn.interpret.ascent.maximization import maximize, unit
from jaxcnn.interpret.ascent.regularizers import Regularizers, total_variation

KEY = jax.random.key(0)


def cosine(a, b):
    a, b = np.ravel(a), np.ravel(b)
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def filtered(template, x):
    return jnp.einsum("hwc,bhwc->b", template, x)


def slopes(template, scale=1.0):
    """The target <template, x>, whose gradient is the template."""
    return Partial(lambda t, x: scale * filtered(t, x), template)


def logits(weights, x):
    """Two dense layers with a ReLU between them: 12x12x3 to four classes."""
    return jax.nn.relu(x.reshape(len(x), -1) @ weights[0]) @ weights[1]


def conv_logits(weights, x):
    """Two convolutions with ReLUs, the mean over the image, four classes."""
    for kernel in weights[:-1]:
        x = jax.nn.relu(conv(x, kernel))
    return x.mean((1, 2)) @ weights[-1]


def class_score(net, weights, labels, x):
    return net(weights, x)[jnp.arange(len(x)), labels]


DENSE, CONV = partial(class_score, logits), partial(class_score, conv_logits)


@pytest.fixture(scope="module")
def net():
    """labels -> the target "the class of each image"."""
    return partial(Partial, DENSE, [array(432, 16, seed=9) / 20, array(16, 4, seed=8)])


def test_a_planted_template_is_found():
    template, options = array(9, 8, 3), {"learning_rate": 0.05}
    found = maximize(slopes(template), KEY, (2, 9, 8, 3), **options)
    for image in found.images:
        assert cosine(image, template) > 0.99


@pytest.mark.parametrize("decorrelate", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_planted_template_is_found_in_the_fourier_basis(decorrelate):
    """<t, x> - lambda ||x||^2 is highest at t / (2 lambda), in every basis."""
    template = array(9, 8, 3)
    found = maximize(
        slopes(template),
        KEY,
        (1, 9, 8, 3),
        start="zeros",
        steps=2000,
        learning_rate=0.1,
        basis="fourier",
        decorrelate=decorrelate,
        regularizers=Regularizers(l2=0.5),
    )
    assert cosine(found.images[0], template) > 0.99
    assert abs(np.linalg.norm(found.images) / np.linalg.norm(template) - 1) < 0.05


def test_the_rule_by_hand():
    """x + rate (1 - t / T) g / rms(g), step by step in NumPy."""
    f = lambda x: (x**3).sum((1, 2, 3))  # noqa: E731
    x = array(2, 3, 4, 2)
    found = maximize(f, KEY, x.shape, start=x, steps=5, learning_rate=0.1, every=2)
    y, frames = np.asarray(x, np.float64), []
    for t in range(5):
        assert_close(found.scores[t], (y**3).sum((1, 2, 3)))
        g = 3 * y**2
        rms = np.sqrt((g**2).mean((1, 2, 3), keepdims=True))
        y = y + 0.1 * (1 - t / 5) * g / rms
        frames.append(y)
    assert_close(found.images, y)
    assert_close(found.frames, np.stack([frames[1], frames[3]]))


def test_the_score_beats_the_best_of_1000_random_images():
    shapes = [(3, 3, 3, 6), (3, 3, 6, 8), (8, 4)]
    net = partial(Partial, CONV, [array(*shape, seed=9) for shape in shapes])
    score = jax.jit(lambda f, x: f(x))
    found = maximize(net(jnp.arange(4)), KEY, (4, 12, 12, 3), steps=60)
    reached = score(net(jnp.arange(4)), found.images)
    noise = array(1000, 12, 12, 3)
    noise = noise / jnp.linalg.norm(noise.reshape(1000, -1), axis=1).reshape(-1, 1, 1, 1)
    uniform = jax.random.uniform(KEY, noise.shape)
    for k, image in enumerate(found.images):
        same_norm = noise * jnp.linalg.norm(image)
        same_range = image.min() + (image.max() - image.min()) * uniform
        for x in (same_norm, same_range):  # both kinds and all classes in one compiled program
            assert reached[k] > 1.2 * score(net(jnp.full(1000, k)), x).max()
    assert (found.scores[-1] > found.scores[0]).all()


def test_each_image_is_climbed_by_itself(net):
    x = array(3, 12, 12, 3)
    labels = jnp.array([2, 0, 3])
    options = {"steps": 8, "jitter": 2, "regularizers": Regularizers(l2=1e-3, small_norm=20.0)}
    batch = maximize(net(labels), KEY, x.shape, start=x, **options)
    for i in range(3):
        one = maximize(net(labels[i : i + 1]), KEY, (1, 12, 12, 3), start=x[i : i + 1], **options)
        assert_close(one.images[0], batch.images[i], "float32 sums")
        assert_close(one.scores[:, 0], batch.scores[:, i], "float32 sums")


@pytest.fixture(scope="module")
def ascent(net):
    """The images that an ascent with regularizers gives, the same in all else."""

    def images(**options):
        kinds = Regularizers(**options)
        f, shape = net(jnp.arange(2)), (2, 12, 12, 3)
        found = maximize(f, KEY, shape, steps=40, learning_rate=0.1, regularizers=kinds)
        assert jnp.isfinite(found.images).all()
        return np.asarray(found.images)

    return images


def test_l2_makes_the_norm_smaller(ascent):
    with_it, without = (np.linalg.norm(ascent(l2=v).reshape(2, -1), axis=1) for v in (0.5, None))
    assert (with_it < 0.8 * without).all()


def test_total_variation_gets_smaller(ascent):
    with_it, without = (
        total_variation(jnp.asarray(ascent(total_variation=v))) for v in (0.2, None)
    )
    assert (with_it < 0.8 * without).all()


def test_blur_takes_high_frequencies(ascent):
    def high(x):
        spectrum = np.abs(np.fft.fft2(x, axes=(1, 2))) ** 2
        f = np.hypot(np.fft.fftfreq(12)[:, None], np.fft.fftfreq(12))
        return spectrum[:, f > 0.3].sum() / spectrum[:, f <= 0.3].sum()

    assert high(ascent(blur=1.0, blur_every=2)) < 0.3 * high(ascent())


def test_clippings_leave_exact_zeros_each_its_own(ascent):
    by_norm, by_contribution = ascent(small_norm=25.0), ascent(small_contribution=25.0)
    for x in (by_norm, by_contribution):
        assert ((x == 0).all(-1).mean((1, 2)) >= 0.24).all()
    assert (by_norm != by_contribution).any()
    assert not (ascent() == 0).any()


def test_jitter_spreads_what_one_place_wants():
    """A target of one pixel: shifted by up to 1 either way, all nine neighbours get their turn."""
    f = lambda x: x[:, 4, 4, 0]  # noqa: E731
    shape = (1, 9, 9, 1)
    still = maximize(f, KEY, shape, start="zeros", steps=60).images[0, ..., 0]
    moved = maximize(f, KEY, shape, start="zeros", steps=60, jitter=1).images[0, ..., 0]
    assert np.argwhere(still > 0).tolist() == [[4, 4]]
    assert np.argwhere(moved > 0).tolist() == [[i, j] for i in (3, 4, 5) for j in (3, 4, 5)]


def test_limits_hold_for_each_channel():
    low, high = (-0.1, -0.2), jnp.array([0.3, 0.05])
    found = maximize(slopes(array(4, 4, 2)), KEY, (1, 4, 4, 2), steps=80, limits=(low, high))
    assert_close(found.images.min((0, 1, 2)), low)
    assert_close(found.images.max((0, 1, 2)), high)


@pytest.mark.parametrize("basis", [pytest.param("pixels", marks=pytest.mark.slow), "fourier"])
def test_a_dead_unit_gets_going(basis):
    """A ReLU that is off at the start, where its gradient is exactly 0."""
    template = array(4, 4, 1)
    f = lambda x: jax.nn.relu(filtered(template, x) - 0.1)  # noqa: E731
    zeros = jnp.zeros((3, 4, 4, 1))
    assert not jax.grad(lambda x: f(x).sum())(zeros).any()
    found = maximize(f, KEY, zeros.shape, start="zeros", basis=basis)
    assert (found.scores[0] == 0).all()
    assert (f(found.images) > 1).all()


def test_a_unit_far_from_going_is_reached():
    """ReLU(<t, x> - 20) for a template of norm 3, far more than the path of 400 steps."""
    template = array(3, 3, 1)
    f = lambda x: jax.nn.relu(filtered(template, x) - 20)  # noqa: E731
    found = maximize(f, KEY, (4, 3, 3, 1), start="zeros", steps=400)
    assert (f(found.images) > 0).all()


def test_a_live_image_beside_a_dead_one_stays_where_it_is():
    f = lambda x: jnp.array([1.0, 0.0]) * x.sum((1, 2, 3))  # noqa: E731
    found = maximize(f, KEY, (2, 3, 3, 1), start="zeros", steps=5)
    assert_close(found.images[0], jnp.full((3, 3, 1), found.images[0, 0, 0, 0]))
    assert len(np.unique(found.images[1])) == 9


def test_tiny_gradients_count_in_full():
    big, small = (maximize(slopes(array(4, 4, 1), s), KEY, (1, 4, 4, 1)) for s in (1.0, 1e-25))
    assert_close(small.images, big.images)
    assert not unit(jnp.zeros((1, 2, 2, 1))).any()


def test_same_key_same_bits(net):
    def run(seed):
        f, key = net(jnp.arange(2)), jax.random.key(seed)
        return maximize(f, key, (2, 12, 12, 3), steps=5, jitter=2, basis="fourier").images

    assert (run(3) == run(3)).all()
    assert (run(3) != run(4)).any()


def test_starts():
    f, shape = slopes(array(50, 50, 3)), (1, 50, 50, 3)
    assert not maximize(f, KEY, shape, start="zeros", steps=0).images.any()
    noise = maximize(f, KEY, shape, steps=0)
    assert abs(noise.images.std() - 0.1) < 0.002  # of 7,500 draws
    assert noise.scores.shape == (0, 1)
    x = array(*shape)
    assert (maximize(f, KEY, shape, start=x, steps=0).images == x).all()


def test_frames_and_progress():
    seen = []
    found = maximize(
        slopes(array(4, 4, 1)),
        KEY,
        (1, 4, 4, 1),
        steps=7,
        every=3,
        progress=lambda step, y: seen.append((int(step), float(y[0]))),
    )
    assert found.frames.shape == (2, 1, 4, 4, 1)
    steps, scores = zip(*sorted(seen), strict=True)
    assert steps == tuple(range(1, 8))
    assert_close(scores, found.scores[:, 0])
    whole = maximize(slopes(array(4, 4, 1)), KEY, (1, 4, 4, 1), steps=7, every=7)
    assert_close(whole.frames[0], whole.images)
    assert maximize(slopes(array(4, 4, 1)), KEY, (1, 4, 4, 1)).frames.shape[0] == 0


def test_a_second_call_compiles_nothing():
    traces = []

    def f(x):
        traces.append(1)
        return x.sum((1, 2, 3))

    def run(rate, l2, limit):
        options = {"regularizers": Regularizers(l2=l2), "limits": (-limit, limit), "jitter": 1}
        return maximize(f, KEY, (1, 4, 4, 1), steps=3, learning_rate=rate, **options)

    run(0.1, 0.1, 1.0)
    before = len(traces)
    run(0.2, 0.3, 2.0)
    assert len(traces) == before


@pytest.mark.slow
def test_inside_jit(net):
    def f(key):
        return maximize(net(jnp.arange(2)), key, (2, 12, 12, 3), steps=3, jitter=1).images

    assert_close(jax.jit(f)(KEY), f(KEY))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "maximize: steps must be 0 or more, got -1"),
        ({"jitter": -2}, "maximize: jitter must be 0 or more, got -2"),
        ({"start": "ones"}, "maximize: start is noise, zeros or images, got 'ones'"),
        (
            {"start": jnp.ones((1, 5, 4, 1))},
            r"start must have the shape \(1, 4, 4, 1\), got \(1, 5",
        ),
        ({"basis": "cosine"}, "maximize: basis is one of pixels, fourier, got 'cosine'"),
        ({"decorrelate": True}, "maximize: decorrelate needs the 3 channels RGB, got 1"),
        ({"regularizers": Regularizers(l2=-1.0)}, "maximize: l2 must lie in"),
    ],
)
def test_errors(options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        maximize(slopes(array(4, 4, 1)), KEY, (1, 4, 4, 1), **options)


def test_a_target_of_another_shape():
    with pytest.raises(ValueError, match="maximize: f.x. needs one number for each image"):
        maximize(lambda x: x.sum(), KEY, (1, 4, 4, 1))
