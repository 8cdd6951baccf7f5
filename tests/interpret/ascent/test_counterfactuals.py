import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close
from jaxcnn.functional import conv
from jaxcnn.interpret.ascent.counterfactuals import counterfactual

TEMPLATES = array(4, 5, 2, 2, seed=1)


def linear(x):
    return jnp.einsum("bhwc,hwck->bk", x, TEMPLATES) + jnp.array([0.3, 0.0])


def margins(x):
    """Of class 0 over class 1."""
    y = linear(x)
    return y[:, 0] - y[:, 1]


def net(x):
    y = jax.nn.relu(conv(x, array(3, 3, 2, 8, seed=2)))
    y = jax.nn.relu(conv(y, array(3, 3, 8, 8, seed=3)))
    return y.mean((1, 2)) @ array(8, 5, seed=4)


@pytest.mark.parametrize("steps", [1, 5])
def test_a_linear_net_flips_at_the_closed_form(steps):
    """The l_inf distance of x from the border of two classes is |margin| / ||w0 - w1||_1."""
    x = 0.1 * array(8, 4, 5, 2)
    found = counterfactual(linear, x, epsilon=1.0, steps=steps, limits=None)
    slope = np.abs(TEMPLATES[..., 0] - TEMPLATES[..., 1]).sum()
    exact = np.abs(margins(x)) / slope
    assert found.flipped.all()
    assert (found.epsilon >= exact * (1 - 1e-5)).all()
    assert (found.epsilon <= exact * (1 + 1 / 512) + 1 / 128 / 1024).all()
    assert (found.after == 1 - found.before).all()
    found_margins = jnp.where(found.after == 0, 1, -1) * margins(found.images)
    assert (found_margins > -1e-5).all()  # just beyond the border
    assert_close(found.images, x + found.perturbation)


def test_pixel_units_of_normalized_images():
    mean, std = jnp.array([0.4, 0.5]), jnp.array([0.2, 0.25])
    pixels = jax.random.uniform(jax.random.key(0), (6, 4, 5, 2))
    x = (pixels - mean) / std
    found = counterfactual(linear, x, epsilon=0.5, mean=mean, std=std)
    by_pixels = counterfactual(lambda p: linear((p - mean) / std), pixels, epsilon=0.5)
    assert_close(found.epsilon, by_pixels.epsilon, "float32 sums")
    assert_close(found.images * std + mean, by_pixels.images, "float32 sums")
    assert_close((found.images - x) * std, found.perturbation, "float32 sums")


@pytest.mark.parametrize(("steps", "epsilon"), [(1, 0.5), (4, 0.02)])
def test_never_beyond_epsilon_nor_the_limits(steps, epsilon):
    x = jax.random.uniform(jax.random.key(1), (16, 8, 8, 2))
    found = counterfactual(net, x, epsilon=epsilon, steps=steps)
    assert jnp.abs(found.perturbation).max() <= epsilon
    assert found.images.min() >= -1e-6
    assert found.images.max() <= 1 + 1e-6
    sizes = jnp.abs(found.perturbation).max((1, 2, 3))
    assert_close(found.epsilon, jnp.where(found.flipped, sizes, jnp.inf), "exact")
    assert (found.flipped == (found.after != found.before)).all()
    assert (found.before == net(x).argmax(-1)).all()


def test_more_steps_find_smaller_changes():
    x = jax.random.uniform(jax.random.key(2), (16, 8, 8, 2))
    one, many = (counterfactual(net, x, epsilon=0.5, steps=steps) for steps in (1, 10))
    assert many.flipped.sum() >= one.flipped.sum() > 8
    both = one.flipped & many.flipped
    assert many.epsilon[both].mean() < one.epsilon[both].mean()


def test_a_target_is_reached():
    x = jax.random.uniform(jax.random.key(3), (6, 8, 8, 2))
    labels = net(x).argsort(-1)[:, -2]  # the second likeliest
    found = counterfactual(net, x, labels, epsilon=1.0, steps=10, targeted=True)
    assert found.flipped.any()
    assert ((found.after == labels) == found.flipped).all()


def test_where_nothing_flips():
    x = 0.1 * array(3, 4, 5, 2)
    found = counterfactual(linear, x, epsilon=1e-6, limits=None)
    assert not found.flipped.any()
    assert jnp.isinf(found.epsilon).all()
    assert (found.after == found.before).all()
    assert_close(jnp.abs(found.perturbation), jnp.full(x.shape, 1e-6))


def test_what_is_another_class_already_needs_no_change():
    x = 0.1 * array(3, 4, 5, 2)
    found = counterfactual(linear, x, 1 - linear(x).argmax(-1), limits=None)
    assert found.flipped.all()
    assert not found.perturbation.any()
    assert (found.epsilon == 0).all()


def test_images_are_searched_by_themselves_and_compiled_once():
    traces = []

    def f(x):
        traces.append(1)
        return net(x)

    x = jax.random.uniform(jax.random.key(4), (3, 8, 8, 2))
    both = counterfactual(f, x, epsilon=0.5)
    before = len(traces)
    again = counterfactual(f, x, epsilon=0.4, step_size=0.7)
    assert len(traces) == before
    assert again.images.shape == x.shape
    one = counterfactual(f, x[1:2], epsilon=0.5)
    assert_close(one.images[0], both.images[1], "float32 sums")


@pytest.mark.parametrize(
    ("f", "options", "message"),
    [
        (lambda x: x.sum((1, 2, 3)), {}, r"counterfactual: f needs logits \(b, classes\) of two"),
        (lambda x: x.sum((1, 2))[:, :1], {}, r"got \(3, 1\) for 3 images"),
        (linear, {"steps": 0}, "counterfactual: steps must be at least 1, got 0"),
        (linear, {"epsilon": 0.0}, "counterfactual: epsilon must be above 0, got 0.0"),
        (
            linear,
            {"targeted": True},
            "counterfactual: targeted needs the labels to reach, got none",
        ),
    ],
)
def test_errors(f, options, message):
    with pytest.raises(ValueError, match=message):
        counterfactual(f, array(3, 4, 5, 2), **options)
