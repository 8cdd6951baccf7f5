import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name

from helpers import array, assert_close
from jaxcnn.functional import avg_pool, conv, max_pool, relu
from jaxcnn.interpret import patches
from jaxcnn.interpret.layers import layer_shapes, with_layer
from jaxcnn.interpret.patches import Box, receptive_field, top_patches
from jaxcnn.models import create
from jaxcnn.models.cifar_resnet import PaddedBlock
from jaxcnn.models.layers import Conv
from jaxcnn.models.mobilenet_v2 import InvertedResidual

# Whole numbers, as the images: sums are exact, so that ties are ties in batches of any size.
KERNEL = jnp.round(2 * array(3, 3, 2, 4, seed=1))


def f(x):
    y = checkpoint_name(relu(conv(x, KERNEL, stride=2, padding=1)), "conv")
    return checkpoint_name(y.sum((1, 2)), "sums")


def brute(f, layer, channel, data, k, one_per_image=True):
    """Every position of every image, sorted in NumPy."""
    y = np.asarray(jax.jit(lambda x: with_layer("test", f, x, layer)[1])(data))
    maps = y.reshape(len(y), *(y.shape[1:-1] or (1, 1)), y.shape[-1])[..., channel]
    rows = [(-maps[i, r, c], i, r, c) for i, r, c in np.ndindex(maps.shape)]
    rows = sorted(row for row in rows if not np.isnan(row[0]))
    if one_per_image:
        first = {}
        for row in rows:
            first.setdefault(row[1], row)
        rows = list(first.values())
    scores, images, r, c = map(np.array, zip(*rows[:k], strict=True))
    return -scores, images, np.stack([r, c], axis=1)


@pytest.mark.parametrize("one_per_image", [True, False])
@pytest.mark.parametrize("layer", ["conv", "sums"])
def test_equal_to_brute_force(layer, one_per_image):
    data = np.round(2 * np.array(array(23, 7, 9, 2)))
    data[5] = data[11]  # ties between images and, with zeros, between positions
    data[[2, 3]] = 0
    for k in (1, 9, 23):
        scores, images, positions = brute(f, layer, 2, data, k, one_per_image)
        found = top_patches(f, layer, 2, data, k, one_per_image=one_per_image, batch_size=5)
        assert_close(found.scores, scores)
        np.testing.assert_array_equal(found.images, images)
        np.testing.assert_array_equal(found.positions, positions)


def test_patches_are_the_pixels_that_are_seen():
    data = array(6, 7, 9, 2)
    found = top_patches(f, "conv", 1, data, 40, one_per_image=False)
    padded = np.pad(data, ((0, 0), (1, 2), (1, 2), (0, 0)), constant_values=np.nan)
    for i, (row, column), box, patch in zip(
        found.images, found.positions, found.boxes, found.patches, strict=True
    ):
        assert box.tolist() == [2 * row - 1, 2 * column - 1, 3, 3]
        top, left = box[:2] + 1
        np.testing.assert_array_equal(patch, padded[i, top : top + 3, left : left + 3])
    assert np.isnan(found.patches).any()
    whole = top_patches(f, "sums", 1, data, 2)
    assert whole.boxes.tolist() == [[0, 0, 7, 9]] * 2
    np.testing.assert_array_equal(whole.patches, data[whole.images])


def test_no_pixels_that_a_map_between_has_lost():
    """Of five columns the pool drops the last: the convolution after it does not see it."""

    def g(x):
        return checkpoint_name(conv(avg_pool(x, 2), jnp.ones((3, 3, 1, 1))), "conv")

    found = top_patches(g, "conv", 0, jnp.ones((1, 5, 5, 1)), 4, one_per_image=False)
    assert found.scores.tolist() == [4] * 4
    assert found.boxes[-1].tolist() == [0, 0, 6, 6]
    seen = ~np.isnan(found.patches[-1, :, :, 0])
    assert (seen == np.outer([1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0])).all()


def test_a_planted_patch_comes_first_at_its_place():
    template = array(5, 5, 3, seed=3)
    template -= template.mean()
    kernel = (template / jnp.linalg.norm(template))[..., None]
    data = np.array(array(40, 24, 24, 3, seed=4)) * 0.3
    data[17, 9:14, 4:9] = template
    variables = {"params": {"template": {"kernel": kernel}}}

    class Filter(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = Conv(1, (5, 5), padding="VALID", use_bias=False, name="template")(x)
            return max_pool(x, x.shape[1:3])

    found = top_patches(lambda x: Filter().apply(variables, x), "template", 0, data, 3)
    assert found.images[0] == 17
    assert found.positions[0].tolist() == [9, 4]
    assert found.boxes[0].tolist() == [9, 4, 5, 5]
    assert_close(found.patches[0], template, "exact")
    assert_close(found.scores[0], jnp.linalg.norm(template))
    assert found.scores[1] < 0.5 * found.scores[0]


def test_ties_zeros_and_nan():
    def pixels(x):
        return checkpoint_name(x, "pixels")

    data = np.zeros((4, 2, 2, 1), np.float32)
    data[:, 1, 1] = -1
    data[0] = -0.0  # no less than 0
    data[2, 0, 1] = np.nan
    found = top_patches(pixels, "pixels", 0, data, 3, batch_size=2)
    assert found.images.tolist() == [0, 1, 2]
    assert found.positions.tolist() == [[0, 0]] * 3
    found = top_patches(pixels, "pixels", 0, data, 13, one_per_image=False, batch_size=3)
    assert found.images.tolist() == [0] * 4 + [1] * 3 + [2] * 2 + [3] * 3 + [1]
    assert found.scores.tolist() == [0] * 12 + [-1]


def test_one_pass_of_batches():
    data = np.round(2 * np.asarray(array(43, 6, 6, 2)))
    ends = [0, 8, 16, 19, 19, 27, 35, 43]  # one of 3 images, one of none
    batches = (data[a:b] for a, b in itertools.pairwise(ends))
    found, expected = top_patches(f, "conv", 3, batches, 7), top_patches(f, "conv", 3, data, 7)
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_at_most_two_batches_at_once(monkeypatch):
    """A step starts when the one before is done: no queue of batches waits in memory."""
    done = []

    def step(f, best, *args, **options):
        done.append(best.scores.is_ready())
        return run(f, best, *args, **options)

    def slow(x):
        y = jax.lax.fori_loop(0, 40, lambda _, y: jnp.sin(y), x)
        return checkpoint_name(y, "slow")

    run = patches._step
    monkeypatch.setattr(patches, "_step", step)
    top_patches(slow, "slow", 0, [np.zeros((8, 64, 64, 3), np.float32)] * 6, 4)
    assert done == [True] * 6


def test_programs_are_found_again(caplog):
    traces = []

    def g(x):
        traces.append(x.shape)
        return f(x)

    def compiled():
        return [record for record in caplog.records if "Compiling" in record.getMessage()]

    data = np.asarray(array(21, 6, 6, 2))
    with jax.log_compiles():
        top_patches(g, "conv", 0, data, 4, batch_size=8)  # the last batch has 5 images
        assert traces == [(8, 6, 6, 2)]
        assert compiled()
        caplog.clear()
        again = top_patches(g, "conv", 0, data, 4, batch_size=8)
        other = top_patches(g, "conv", 1, data, 4, batch_size=8)
    assert traces == [(8, 6, 6, 2)]
    assert not compiled()
    assert not np.array_equal(again.scores, other.scores)


def test_low_precision():
    def pixels(x):
        return checkpoint_name(x, "pixels")

    found = top_patches(pixels, "pixels", 0, array(5, 6, 6, 2).astype(jnp.bfloat16), 2)
    assert found.scores.dtype == np.float32
    assert found.patches.dtype == jnp.bfloat16


def positive(model, shape):
    """A model whose every ReLU is open and none saturated, on positive images."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, *shape)))
    variables = jax.tree.map(lambda a: 0.05 * jnp.abs(array(*a.shape)) + 1e-3, shapes)
    return jax.tree_util.Partial(jax.jit(model.apply), variables)


def test_models():
    g, data = positive(create("lenet"), (28, 28, 1)), jnp.abs(array(5, 28, 28, 1))
    found = top_patches(g, "conv2", 4, data, 3)
    for got, wanted in zip(found, brute(g, "conv2", 4, data, 3), strict=False):
        assert_close(got, wanted)
    assert found.patches.shape == (3, 14, 14, 1)


MODELS = {
    "lenet": (create("lenet"), "pool2", (28, 28, 1)),
    "resnet": (
        nn.Sequential([Conv(2, (3, 3), stride=2), PaddedBlock(2), PaddedBlock(4, 2)]),
        "layers_2",
        (47, 43, 1),
    ),
    "mobilenet_v2": (
        nn.Sequential(
            [Conv(2, (3, 3), stride=2), InvertedResidual(2, 2), InvertedResidual(4, 2, 2)]
        ),
        "layers_2",
        (31, 36, 1),
    ),
}


@pytest.mark.parametrize(
    "name", ["lenet", pytest.param("resnet", marks=pytest.mark.slow), "mobilenet_v2"]
)
def test_fields_are_the_support_of_the_gradient(name):
    """Of some of 40 random images, as a maximum looks at one pixel at a time."""
    model, layer, shape = MODELS[name]
    g = positive(model, shape)
    x = jnp.abs(array(40 if name == "lenet" else 1, *shape))
    h, w, c = layer_shapes(g, x)[layer].shape[1:]
    places = [(0, 0), (h - 1, w - 1), (h // 2, w // 3), (h - 2, 1)]

    @jax.jit
    def seen(x):
        _, back = jax.vjp(lambda x: with_layer("test", g, x, layer)[1], x)
        ones = jnp.stack([jnp.zeros((h, w, c)).at[place].set(1) for place in places])
        every = jnp.broadcast_to(ones[:, None], (len(places), len(x), h, w, c))
        return (jax.vmap(back)(every)[0] != 0).any((1, 4))

    for place, mask in zip(places, seen(x), strict=True):
        (rows,), (columns,) = np.nonzero(mask.any(1)), np.nonzero(mask.any(0))
        expected = Box(rows[0], columns[0], np.ptp(rows) + 1, np.ptp(columns) + 1)
        assert receptive_field(g, x, layer, place) == expected, place


def test_fields_compute_nothing():
    def g(x):
        y = checkpoint_name(conv(x, jnp.ones((3, 3, 1, 1))), "conv")
        loop = jax.lax.fori_loop(0, 2, lambda _, y: conv(y, jnp.ones((3, 3, 1, 1))), y)
        checkpoint_name(jnp.zeros((x.shape[0], 2, 2, 1)), "constant")
        return checkpoint_name(checkpoint_name(loop, "loop").mean((1, 2)), "mean")

    x = jax.ShapeDtypeStruct((2, 10_000, 8_000, 1), jnp.float32)
    assert receptive_field(g, x, "conv", (0, 5000)) == Box(0, 4999, 2, 3)
    assert receptive_field(g, x, "loop", (3, 4)) == Box(0, 0, 10_000, 8_000)
    assert receptive_field(g, x, "mean") == Box(0, 0, 10_000, 8_000)
    assert receptive_field(g, x, "constant", (1, 1)) == Box(0, 0, 0, 0)


def test_errors():
    x = array(4, 6, 6, 2)
    with pytest.raises(ValueError, match="receptive_field: f has no layer 'con'; did you mean 'co"):
        receptive_field(f, x, "con")
    for place in ((3, 0), (0, -1)):
        with pytest.raises(ValueError, match=r"receptive_field: position needs .* of 3x3, got \("):
            receptive_field(f, x, "conv", place)
    with pytest.raises(ValueError, match="top_patches: f has no layer 'con'; did you mean 'conv'"):
        top_patches(f, "con", 0, x)
    with pytest.raises(
        ValueError, match="top_patches: channel needs 0 to 3 in layer 'conv', got 4"
    ):
        top_patches(f, "conv", 4, x, 1)
    with pytest.raises(ValueError, match="top_patches: channel needs 0 to 3 .* got -1"):
        top_patches(f, "conv", -1, x, 1)
    with pytest.raises(ValueError, match="top_patches: k needs at least 1, got 0"):
        top_patches(f, "conv", 0, x, 0)
    with pytest.raises(ValueError, match=r"k = 9 .* \(one an image\), got 4 in 4 images"):
        top_patches(f, "conv", 0, x)
    with pytest.raises(ValueError, match=r"k = 37 .* \(all positions\), got 36 in 4 images"):
        top_patches(f, "conv", 0, x, 37, one_per_image=False)
    with pytest.raises(ValueError, match="k = 9 .* got 0 in 0 images"):
        top_patches(f, "conv", 0, [])
    with pytest.raises(ValueError, match=r"need images of one size, got \(6, 6, 2\) and \(6, 5, 2"):
        top_patches(f, "conv", 0, [x, x[:, :, 1:]])
    with pytest.raises(ValueError, match=r"top_patches: x needs floating-point images .* uint8"):
        top_patches(f, "conv", 0, np.zeros((4, 6, 6, 2), np.uint8))

    def g(x):
        return checkpoint_name(x.mean(-1), "grey")

    with pytest.raises(
        ValueError, match=r"top_patches: layer 'grey' needs output b h w c or b c f"
    ):
        top_patches(g, "grey", 0, x)
