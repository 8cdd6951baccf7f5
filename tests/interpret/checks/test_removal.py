import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close
from jaxcnn.interpret.checks.removal import deletion_insertion

TRACES = []


def total(x):
    return x.sum((1, 2, 3)) / 10


def curved(x):
    """Not additive, and with neighbours that count."""
    TRACES.append(1)
    return jax.nn.sigmoid((x[:, 1:] * x[:, :-1]).sum((1, 2, 3)) + jnp.sin(x).sum((1, 2, 3)))


def by_loops(f, x, attribution, steps, baseline, canvas, absolute):
    """Curves pixel by pixel, and areas by trapezoids."""
    b, h, w, _ = x.shape
    curves, places = np.zeros((2, b, steps + 1)), np.zeros(steps + 1)
    for i in range(b):
        weights = np.abs(attribution[i]) if absolute else attribution[i]
        weights = weights.reshape(h * w, -1).sum(1)
        order = sorted(range(h * w), key=lambda p: -weights[p])  # a stable sort
        for t in range(steps + 1):
            n = int(np.floor(h * w * t / steps + 0.5))
            places[t] = n / (h * w)
            deleted, inserted = x[i].copy(), np.broadcast_to(canvas, x.shape)[i].copy()
            for p in order[:n]:
                deleted[p // w, p % w] = np.broadcast_to(baseline, x.shape)[i, p // w, p % w]
                inserted[p // w, p % w] = x[i, p // w, p % w]
            curves[0, i, t] = f(jnp.asarray(deleted[None]))[0]
            curves[1, i, t] = f(jnp.asarray(inserted[None]))[0]
    widths, heights = np.diff(places), (curves[..., 1:] + curves[..., :-1]) / 2
    return curves, (widths * heights).sum(-1)


def test_hand():
    x = jnp.array([1.0, 4.0, 2.0, 3.0]).reshape(1, 2, 2, 1)
    best = deletion_insertion(total, x, x)
    assert_close(best.deletion_curve, [[1, 0.6, 0.3, 0.1, 0]])
    assert_close(best.insertion_curve, [[0, 0.4, 0.7, 0.9, 1]])
    assert_close(best.shares, [0, 0.25, 0.5, 0.75, 1], "exact")
    assert_close(best.deletion, [(1 / 2 + 0.6 + 0.3 + 0.1) / 4])
    assert_close(best.insertion, [(0.4 + 0.7 + 0.9 + 1 / 2) / 4])
    worst = deletion_insertion(total, x, -x)
    assert_close(worst.deletion, [(1 / 2 + 0.9 + 0.7 + 0.4) / 4])
    assert_close(worst.insertion, [(0.1 + 0.3 + 0.6 + 1 / 2) / 4])
    two = deletion_insertion(total, x, x, steps=2)
    assert_close(two.deletion_curve, [[1, 0.3, 0]])
    ones = deletion_insertion(total, x, x, baseline=1.0, canvas=2.0)
    assert_close(ones.deletion_curve, [[1, 0.7, 0.5, 0.4, 0.4]])
    assert_close(ones.insertion_curve, [[0.8, 1, 1.1, 1.1, 1]])


@pytest.mark.parametrize(("steps", "absolute"), [(5, False), (12, True)])
def test_equals_loops(x64, steps, absolute):
    x, attribution = np.array(array(2, 4, 3, 2)), np.array(array(2, 4, 3, 2, seed=1))
    baseline, canvas = np.array([0.3, -0.2]), np.array(array(4, 3, 2, seed=2))
    found = deletion_insertion(
        curved,
        jnp.asarray(x),
        jnp.asarray(attribution),
        steps=steps,
        baseline=jnp.asarray(baseline),
        canvas=jnp.asarray(canvas),
        absolute=absolute,
    )
    curves, areas = by_loops(curved, x, attribution, steps, baseline, canvas, absolute)
    assert_close([found.deletion_curve, found.insertion_curve], curves, "float64")
    assert_close([found.deletion, found.insertion], areas, "float64")


def test_ends_are_the_image_and_the_baseline():
    x, attribution = array(2, 3, 3, 1), array(2, 3, 3, 1, seed=1)
    found = deletion_insertion(curved, x, attribution, baseline=0.5)
    whole, empty = jax.jit(curved)(x), jax.jit(curved)(jnp.full_like(x, 0.5))
    assert_close(found.deletion_curve[:, [0, -1]], jnp.stack([whole, empty], 1))
    assert_close(found.insertion_curve[:, [0, -1]], jnp.stack([empty, whole], 1))


def test_default_steps_and_maps_without_channels():
    x, attribution = array(1, 9, 9, 2), array(1, 9, 9, seed=1)
    found = deletion_insertion(curved, x, attribution)
    assert found.shares.shape == (65,)
    both = jnp.repeat(attribution[..., None] / 2, 2, axis=3)
    assert_close(found.deletion_curve, deletion_insertion(curved, x, both).deletion_curve)


def test_ties_go_in_reading_order():
    x = jnp.arange(4.0).reshape(1, 2, 2, 1)
    found = deletion_insertion(total, x, jnp.zeros_like(x))
    assert_close(found.deletion_curve, [[0.6, 0.6, 0.5, 0.3, 0]])


def test_targets_of_each_image_singles_and_transforms():
    x, attribution = array(3, 4, 4, 1), array(3, 4, 4, 1, seed=1)
    labels = jnp.array([0, 1, 2])
    weights = array(16, 3, seed=2)

    def f(x):
        return jax.nn.softmax(x.reshape(len(x), -1) @ weights)[jnp.arange(len(x)), labels]

    found = deletion_insertion(f, x, attribution, steps=5)
    assert_close(found.deletion_curve[:, 0], f(x))

    def one(i):
        return jax.tree_util.Partial(
            lambda k, x: jax.nn.softmax(x.reshape(len(x), -1) @ weights)[:, k], labels[i]
        )

    for i in range(3):
        single = deletion_insertion(one(i), x[i : i + 1], attribution[i : i + 1], steps=5)
        assert_close(single.deletion, found.deletion[i : i + 1])
        assert_close(single.insertion_curve, found.insertion_curve[i : i + 1])
    inside = jax.vmap(jax.jit(lambda x: deletion_insertion(f, x, attribution, steps=5).insertion))
    assert_close(inside(x[None])[0], found.insertion)


def test_second_call_compiles_nothing():
    x, attribution = array(2, 5, 5, 1), array(2, 5, 5, 1, seed=1)
    TRACES.clear()
    deletion_insertion(curved, x, attribution, baseline=0.0)
    assert len(TRACES) == 1  # one for both curves
    deletion_insertion(curved, x + 1, attribution, baseline=0.5)
    assert len(TRACES) == 1


def test_memory_is_constant_in_steps():
    """Temporary memory of the compiled program, as the compiler plans it."""
    x = jnp.ones((1, 48, 48, 3))

    def planned(steps):
        call = jax.jit(lambda x: deletion_insertion(curved, x, x, steps=steps).deletion)
        return call.lower(x).compile().memory_analysis().temp_size_in_bytes

    assert planned(512) < planned(4) + x.nbytes


def test_errors(unchecked):
    x = jnp.ones((1, 2, 3, 1))

    def check(f=total, attribution=x, **options):
        deletion_insertion(f, x, attribution, **options)

    with pytest.raises(ValueError, match="steps must be 1 to 6, the number of pixels, got 7"):
        check(steps=7)
    with pytest.raises(ValueError, match="got 0"):
        check(steps=0)
    with pytest.raises(ValueError, match=r"attribution needs x's shape .* got \(1, 3, 2, 1\)"):
        check(attribution=jnp.ones((1, 3, 2, 1)))
    with pytest.raises(ValueError, match=r"baseline must broadcast .* got \(4,\)"):
        check(baseline=jnp.ones(4))
    with pytest.raises(ValueError, match=r"canvas must broadcast .* got \(2, 2, 3, 1\)"):
        check(canvas=jnp.ones((2, 2, 3, 1)))
    with pytest.raises(ValueError, match="deletion_insertion: f.x. needs one number"):
        check(f=lambda x: x)
