import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close
from jaxcnn.interpret.attribution.occlusions import occlusion


def by_loops(f, x, window, stride, baseline):
    x = np.asarray(x)
    _, h, w, _ = x.shape
    total, count = np.zeros(x.shape), np.zeros((h, w, 1))
    row = 0
    while True:
        column = 0
        while True:
            inside = np.s_[row : row + window[0], column : column + window[1]]
            covered = x.copy()
            covered[:, *inside] = np.broadcast_to(baseline, x.shape)[:, *inside]
            total[:, *inside] += (f(x) - f(covered))[:, None, None, None]
            count[inside] += 1
            if column + window[1] >= w:
                break
            column += stride[1]
        if row + window[0] >= h:
            break
        row += stride[0]
    return total / count


def linear(w):
    return lambda x: (x * w).sum((1, 2, 3))


def bent(numpy, w):
    return lambda x: numpy.tanh((x * w).sum((1, 2, 3)) / 5)


CASES = [  # size, window, stride
    ((5, 7), (2, 3), (1, 1)),
    ((8, 8), (3, 4), (2, 3)),  # the last windows hang over the edges
    ((6, 5), (6, 5), (6, 5)),  # one window
]


@pytest.mark.parametrize(("size", "window", "stride"), CASES)
def test_equals_loops(x64, size, window, stride):
    x, w = array(2, *size, 3), np.asarray(array(*size, 3, seed=1))
    baseline = np.asarray(array(3, seed=2))  # a colour
    for f, g in ((linear(w), linear(w)), (bent(jnp, w), bent(np, w))):
        found = occlusion(f, x, window=window, stride=stride, baseline=baseline)
        assert_close(found, by_loops(g, x, window, stride, baseline), "float64")


def test_options_once_or_per_axis():
    x, f = array(1, 6, 6, 1), linear(array(6, 6, 1, seed=1))
    twice = occlusion(f, x, window=(3, 3), stride=(2, 2))
    assert_close(occlusion(f, x, window=3, stride=2), twice)
    assert_close(occlusion(f, x, window=3), occlusion(f, x, window=3, stride=1))


def test_single_pixels_of_linear_are_their_products():
    x, w = array(2, 4, 4, 1), array(4, 4, 1, seed=1)
    assert_close(occlusion(linear(w), x, window=1), x * w)


def test_memory_does_not_grow_with_windows():
    x, f = array(2, 16, 16, 3), lambda x: (jnp.sin(x) ** 3).sum((1, 2, 3))

    def bytes_of(stride):
        run = jax.jit(lambda x: occlusion(f, x, window=8, stride=stride))
        return run.lower(x).compile().memory_analysis().temp_size_in_bytes

    assert bytes_of(1) <= bytes_of(8) + 8 * 4 * 2 * 9 * 9  # and some numbers for each window


def test_errors(unchecked):
    x, f = array(1, 6, 6, 1), linear(1)
    with pytest.raises(ValueError, match=r"occlusion: window must fit into .* \(6, 6\), got \(7, "):
        occlusion(f, x, window=7)
    with pytest.raises(ValueError, match=r"stride must be no more than the window \(2, 3\), got"):
        occlusion(f, x, window=(2, 3), stride=3)
    with pytest.raises(ValueError, match="occlusion: window must be at least 1, got 0"):
        occlusion(f, x, window=0)
    with pytest.raises(ValueError, match="occlusion: stride must be at least 1, got 0"):
        occlusion(f, x, window=2, stride=0)
    with pytest.raises(ValueError, match="occlusion: baseline must broadcast"):
        occlusion(f, x, window=2, baseline=jnp.zeros(5))
    with pytest.raises(ValueError, match=r"occlusion: f\(x\) needs one number for each image"):
        occlusion(lambda x: x.sum(), x, window=2)
