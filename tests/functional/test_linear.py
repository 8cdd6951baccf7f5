import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close, assert_gradients, assert_transforms
from jaxcnn.functional.convolution import conv
from jaxcnn.functional.linear import dense


@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (0,)])
def test_dense_is_the_loop(x64, lead):
    x, kernel, bias = array(*lead, 5), array(5, 3, seed=1), array(3, seed=2)
    expected = np.zeros((*lead, 3))
    for place in np.ndindex(*lead):
        for o in range(3):
            terms = [float(x[place][c]) * float(kernel[c, o]) for c in range(5)]
            expected[(*place, o)] = sum(terms) + float(bias[o])
    assert_close(dense(x, kernel, bias), expected, "float64")
    assert_close(dense(x, kernel), expected - np.asarray(bias), "float64")


def test_dense_gradients_and_transforms():
    args = (array(2, 3), array(3, 4, seed=1), array(4, seed=2))
    assert_gradients(dense, *args)
    assert_transforms(dense, *args)


def test_dense_laws(x64):
    x, kernel = array(2, 4), array(4, 3, seed=1)
    assert_close(dense(x, jnp.eye(4)), x, "exact")
    y = array(2, 3, seed=2)
    assert_close(jnp.vdot(dense(x, kernel), y), jnp.vdot(x, dense(y, kernel.T)), "float64")
    images = array(2, 3, 3, 4, seed=3)
    assert_close(dense(images, kernel), conv(images, kernel[None, None]), "float64")


def test_dense_errors(unchecked):
    x, kernel = array(2, 4), array(4, 3)
    with pytest.raises(ValueError, match="dense: kernel expects 4 input channels, got x with 3"):
        dense(array(2, 3), kernel)
    with pytest.raises(ValueError, match="dense: x needs axes .* got x .2, 4. and kernel .4,."):
        dense(x, array(4))
    with pytest.raises(ValueError, match=r"dense: x needs axes .* got x \(\)"):
        dense(jnp.array(1.0), kernel)
    with pytest.raises(ValueError, match=r"dense: bias needs shape \(3,\), got \(4,\)"):
        dense(x, kernel, array(4))
    with pytest.raises(ValueError, match="dense: x and its parameters need one dtype, got"):
        dense(x, kernel.astype(jnp.bfloat16))
