import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close, assert_gradients
from jaxcnn.interpret.ascent.regularizers import (
    Regularizers,
    blur,
    check_regularizers,
    clean,
    penalty,
    total_variation,
)


def loop_total_variation(x, beta):
    b, h, w, c = x.shape
    total = np.zeros(b)
    for n, i, j, k in np.ndindex(b, h, w, c):
        down = x[n, i + 1, j, k] - x[n, i, j, k] if i + 1 < h else 0
        right = x[n, i, j + 1, k] - x[n, i, j, k] if j + 1 < w else 0
        total[n] += (down**2 + right**2) ** (beta / 2)
    return total


def loop_blur(x, sigma):
    y = np.zeros(x.shape)
    h, w = x.shape[1:3]
    for i, j in np.ndindex(h, w):
        weights = np.array(
            [
                [np.exp(-((i - k) ** 2 + (j - m) ** 2) / (2 * sigma**2)) for m in range(w)]
                for k in range(h)
            ]
        )
        y[:, i, j] = np.einsum("hw,bhwc->bc", weights / weights.sum(), x)
    return y


@pytest.mark.parametrize("beta", [1.0, 2.0, 1.5])
def test_total_variation_is_the_loops(x64, beta):
    x = array(2, 4, 5, 3)
    assert_close(total_variation(x, beta=beta), loop_total_variation(x, beta), "float64")


def test_total_variations_gradients():
    assert_gradients(lambda x: total_variation(x, beta=1.0), array(1, 3, 4, 2))
    flat = jax.grad(lambda x: total_variation(x).sum())(jnp.ones((1, 3, 3, 1)))
    assert not flat.any()


def test_blur_is_the_loops(x64):
    x = array(2, 4, 6, 2)
    assert_close(blur(x, 0.8), loop_blur(np.asarray(x), 0.8), "float64")


def test_a_blurred_constant_is_itself():
    x = jnp.full((1, 5, 7, 2), 3.0)
    assert_close(blur(x, 2.0), x)


def test_penalties_are_by_image():
    x = array(2, 4, 4, 3)
    found = penalty(x, Regularizers(l2=0.5, total_variation=0.25))
    squares = np.asarray(x**2).sum((1, 2, 3))
    assert_close(found, 0.5 * squares + 0.25 * loop_total_variation(x, 1.0))


def test_only_pixels_below_the_percentile_become_zero():
    x = array(2, 4, 5, 3)
    norms = np.linalg.norm(x, axis=-1)
    y = clean(x, x, jnp.array(1), Regularizers(small_norm=30.0))
    for image, norm, cleaned in zip(x, norms, y, strict=True):
        small = np.argsort(norm.ravel())[:6]  # 30 % of 20
        expected = np.asarray(image).reshape(20, 3).copy()
        expected[small] = 0
        assert_close(cleaned.reshape(20, 3), expected, "exact")


def test_contributions_count_by_their_size_whatever_their_sign():
    x = jnp.ones((1, 1, 4, 2))
    slope = jnp.array([[-9.0, 1.0], [1.0, -1.5], [2.0, 2.0], [5.0, -4.9]]).reshape(1, 1, 4, 2)
    y = clean(x, slope, jnp.array(1), Regularizers(small_contribution=50.0))
    assert y[0, 0, :, 0].tolist() == [1, 0, 1, 0]  # sums -8, -0.5, 4 and 0.1


def test_blur_is_due_every_so_many_steps():
    x = array(1, 5, 5, 1)
    kinds = Regularizers(blur=1.0, blur_every=3)
    changed = [bool((clean(x, x, jnp.array(t), kinds) != x).any()) for t in range(1, 7)]
    assert changed == [False, False, True, False, False, True]


@pytest.mark.parametrize(
    ("regularizers", "message"),
    [
        (Regularizers(l2=-1.0), r"f: l2 must lie in \[0, inf\], got -1.0"),
        (Regularizers(blur=0.0), "f: blur must lie in"),
        (Regularizers(blur=1.0, blur_every=0), "f: blur_every must lie in"),
        (Regularizers(small_norm=101.0), r"f: small_norm must lie in \[0, 100\], got 101.0"),
    ],
)
def test_errors(regularizers, message):
    with pytest.raises(ValueError, match=message):
        check_regularizers("f", regularizers)
