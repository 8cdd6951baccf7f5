import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import (
    array,
    assert_close,
    assert_golden,
    assert_gradients,
    assert_transforms,
    golden,
)
from jaxcnn.functional.convolution import (
    conv,
    conv_transpose,
    locally_connected,
)


def conv_loop(x, kernel, stride, pads, dilation, groups):
    """The definition, pixel by pixel."""
    *window, c_per_group, c_out = kernel.shape
    x = np.pad(x, ((0, 0), *pads, (0, 0)))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, window, strict=True)]
    out = [(n - r) // s + 1 for n, r, s in zip(x.shape[1:-1], reach, stride, strict=True)]
    y = np.zeros((x.shape[0], *out, c_out))
    for place in np.ndindex(*out):
        spans = [
            slice(i * s, i * s + r, d)
            for i, s, r, d in zip(place, stride, reach, dilation, strict=True)
        ]
        patch = x[(slice(None), *spans, slice(None))]
        for o in range(c_out):
            first = o // (c_out // groups) * c_per_group
            seen = patch[..., first : first + c_per_group]
            y[(slice(None), *place, o)] = np.tensordot(seen, kernel[..., o], kernel.ndim - 1)
    return y


CASES = [
    # x, window, c_out, stride, padding, pairs, dilation, groups
    ((2, 7, 3), (3,), 4, (1,), "SAME", [(1, 1)], (1,), 1),
    ((2, 6, 5, 3), (3, 2), 4, (1, 1), "VALID", [(0, 0)] * 2, (1, 1), 1),
    ((2, 6, 5, 4), (3, 2), 6, (2, 1), 1, [(1, 1)] * 2, (1, 2), 2),
    ((1, 6, 6, 2), (3, 3), 2, (2, 2), "SAME", [(0, 1)] * 2, (1, 1), 2),
    ((1, 7, 7, 2), (3, 3), 2, (2, 2), [(0, 2), (1, 0)], [(0, 2), (1, 0)], (1, 1), 1),
    ((1, 4, 5, 4, 2), (2, 3, 2), 3, (1, 2, 1), 1, [(1, 1)] * 3, (1, 1, 2), 1),
    ((1, 2, 2, 3), (5, 5), 2, (1, 1), "SAME", [(2, 2)] * 2, (1, 1), 1),
    ((0, 4, 4, 3), (3, 3), 2, (1, 1), "SAME", [(1, 1)] * 2, (1, 1), 1),
]


@pytest.mark.parametrize(
    ("shape", "window", "c_out", "stride", "padding", "pairs", "dilation", "groups"), CASES
)
def test_conv_is_the_loop(x64, shape, window, c_out, stride, padding, pairs, dilation, groups):
    x = array(*shape)
    kernel = array(*window, shape[-1] // groups, c_out, seed=1)
    bias = array(c_out, seed=2)
    y = conv(x, kernel, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)
    expected = conv_loop(np.asarray(x), np.asarray(kernel), stride, pairs, dilation, groups)
    assert_close(y, expected + np.asarray(bias), "float64")


PYTORCH = {
    "conv1d": {"stride": 2, "padding": 1, "groups": 2},
    "conv2d": {"padding": [(1, 1), (0, 0)], "stride": (2, 1)},
    "conv2d_groups": {"padding": 2, "dilation": (2, 1), "groups": 2},
    "conv3d": {"padding": 1, "dilation": (1, 1, 2)},
    "conv_transpose1d": {"stride": 2, "output_padding": 1},
    "conv_transpose2d": {"stride": (2, 3), "padding": 1, "output_padding": (1, 2), "groups": 2},
    "conv_transpose2d_dilation": {
        "dilation": 2,
        "padding": [(0, 0), (1, 1)],
        "output_padding": 1,
    },
    "conv_transpose3d": {"stride": 2, "padding": [(1, 1), (0, 0), (1, 1)], "groups": 2},
}


@pytest.mark.parametrize("case", PYTORCH)
def test_conv_and_conv_transpose_are_pytorch(case):
    function = conv_transpose if "transpose" in case else conv
    values = golden("functional")
    assert_golden(
        lambda x, kernel, bias: function(x, kernel, bias, **PYTORCH[case]),
        values,
        case,
        "x",
        "kernel",
        "bias",
    )


def test_conv_gradients():
    options = {"stride": 2, "padding": 1, "groups": 2}
    args = (array(1, 5, 5, 2), array(3, 3, 1, 2, seed=1), array(2, seed=2))
    assert_gradients(lambda x, k, b: conv(x, k, b, **options), *args)


def test_conv_transforms():
    args = (array(2, 6, 6, 3), array(3, 3, 3, 4, seed=1), array(4, seed=2))
    assert_transforms(conv, *args)


def test_conv_identity_and_shift():
    x = array(1, 6, 6, 2)
    identity = jnp.zeros((3, 3, 2, 2)).at[1, 1].set(jnp.eye(2))
    assert_close(conv(x, identity), x, "exact")
    kernel = array(3, 3, 2, 2, seed=1)
    moved = conv(jnp.roll(x, 1, axis=2), kernel)[:, :, 2:-1]
    assert_close(moved, conv(x, kernel)[:, :, 1:-2])


def test_conv_errors(unchecked):
    x, kernel = array(1, 8, 8, 4), array(3, 3, 3, 6)
    with pytest.raises(ValueError, match=r"conv: kernel expects 3 input channels .* x with 4 in 1"):
        conv(x, kernel)
    with pytest.raises(ValueError, match="conv: groups must divide c_in = 4, got 3"):
        conv(x, kernel, groups=3)
    with pytest.raises(ValueError, match="conv: groups must divide c_out = 5, got 2"):
        conv(x, array(3, 3, 2, 5), groups=2)
    with pytest.raises(ValueError, match="conv: kernel needs 2 spatial axes"):
        conv(x, array(3, 4, 6))
    with pytest.raises(ValueError, match="conv: x needs axes"):
        conv(array(8, 4), array(4, 6))
    kernel = array(3, 3, 4, 6)
    with pytest.raises(ValueError, match=r"conv: bias needs shape \(6,\), got \(5,\)"):
        conv(x, kernel, array(5))
    with pytest.raises(ValueError, match="conv: x and its parameters need one dtype, got"):
        conv(x.astype(jnp.bfloat16), kernel)
    with pytest.raises(ValueError, match="conv: a window of 3 .* does not fit into 2 pixels"):
        conv(x[:, :2], kernel, padding="VALID")
    with pytest.raises(ValueError, match="conv: stride must be at least 1, got 0"):
        conv(x, kernel, stride=0)
    with pytest.raises(ValueError, match="conv: stride needs 1 or 2 values"):
        conv(x, kernel, stride=(1, 1, 1))
    with pytest.raises(ValueError, match='conv: padding must be "SAME", "VALID"'):
        conv(x, kernel, padding="same")
    pairs = r"conv: padding must be .* an integer or 2 \(low, high\) pair.*, got"
    for bad in ((1, 1), 2.0, [(1, 1)], [(1, 1), (0.5, 1)]):
        with pytest.raises(ValueError, match=pairs):
            conv(x, kernel, padding=bad)
    for bad in (2.0, (2.0, 2.0), "2"):
        with pytest.raises(
            ValueError, match="conv: stride must be an integer or one per axis, got"
        ):
            conv(x, kernel, stride=bad)
    with pytest.raises(
        ValueError, match=r"conv: kernel needs 2 spatial axes like x, got kernel \("
    ):
        conv(x, jnp.ones(()))
    with pytest.raises(ValueError, match="conv: padding must not be negative"):
        conv(x, kernel, padding=-1)


def test_options_are_numpy_integers_too():
    x, kernel, one, two = array(1, 6, 6, 2), array(3, 3, 2, 2, seed=1), np.int64(1), np.int64(2)
    y = conv(x, kernel, stride=two, padding=one, dilation=(one, 1))
    assert_close(y, conv(x, kernel, stride=2, padding=1))
    y = conv(x, kernel, stride=(two, 1), padding=[(one, 0), (0, two)])
    assert_close(y, conv(x, kernel, stride=(2, 1), padding=[(1, 0), (0, 2)]))
    y = conv_transpose(x, kernel, stride=two, padding=one, output_padding=one)
    assert_close(y, conv_transpose(x, kernel, stride=2, padding=1, output_padding=1))


TRANSPOSES = [
    # window, stride, padding, output_padding, dilation, groups; the image that conv takes
    ((3, 3), 1, 0, 0, 1, 1, (6, 6)),
    ((3, 2), 2, 1, 1, 1, 2, (6, 5)),
    ((3, 3), 2, 1, 0, 2, 1, (9, 7)),
    ((3, 3), (2, 3), [(0, 1), (2, 1)], 0, 1, 4, (8, 6)),
]


@pytest.mark.parametrize(
    ("window", "stride", "padding", "output_padding", "dilation", "groups", "size"), TRANSPOSES
)
def test_conv_transpose_is_the_adjoint(
    x64, window, stride, padding, output_padding, dilation, groups, size
):
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    kernel = array(*window, 4 // groups, 8)
    a = array(2, *size, 4, seed=1)
    y = conv(a, kernel, **options)
    x = array(*y.shape, seed=2)
    back = conv_transpose(x, kernel, output_padding=output_padding, **options)
    assert back.shape == a.shape
    assert_close(np.vdot(a, back), np.vdot(y, x), "float64")


@pytest.mark.parametrize(("stride", "window"), [(2, 3), (1, 3), (3, 2), (2, 4)])
def test_conv_transpose_same(x64, stride, window):
    options = {"stride": stride, "padding": "SAME"}

    @jax.jit
    def both(x, a, kernel):
        return conv_transpose(x, kernel, **options), conv(a, kernel, **options)

    x, a = array(1, 4, 4, 3, seed=1), array(1, 4 * stride, 4 * stride, 2, seed=2)
    y, forward = both(x, a, array(window, window, 2, 3))
    assert y.shape == a.shape
    assert_close(np.vdot(forward, x), np.vdot(a, y), "float64")


def test_conv_transpose_gradients_and_transforms():
    args = (array(1, 3, 3, 4), array(3, 3, 1, 4, seed=1), array(2, seed=2))
    assert_gradients(lambda x, k, b: conv_transpose(x, k, b, stride=2, groups=2), *args)
    assert_transforms(lambda x, k, b: conv_transpose(x, k, b, stride=2, groups=2), *args)


def test_conv_transpose_errors(unchecked):
    x = array(1, 4, 4, 3)
    with pytest.raises(ValueError, match="conv_transpose: kernel expects 2 input channels"):
        conv_transpose(x, array(3, 3, 3, 2))
    with pytest.raises(ValueError, match="conv_transpose: output_padding must be less"):
        conv_transpose(x, array(3, 3, 2, 3), stride=2, output_padding=2)
    with pytest.raises(ValueError, match="conv_transpose: groups must divide c_in = 3, got 2"):
        conv_transpose(x, array(3, 3, 2, 3), groups=2)
    with pytest.raises(ValueError, match="conv_transpose: kernel needs 2 spatial axes"):
        conv_transpose(x, jnp.ones(()))
    with pytest.raises(
        ValueError, match="conv_transpose: output_padding must be an integer or one"
    ):
        conv_transpose(x, array(3, 3, 2, 3), stride=2, output_padding=0.5)
    nothing = r"conv_transpose: padding 5 cuts away all of the \(9, 9\) pixels"
    with pytest.raises(ValueError, match=nothing):
        conv_transpose(x, array(3, 3, 2, 3), stride=2, padding=5)
    assert conv_transpose(x, array(3, 3, 2, 3), stride=2, padding=4).shape == (1, 1, 1, 2)


def test_locally_connected_is_the_loop(x64):
    x, kernel, bias = array(2, 6, 5, 3), array(3, 4, 2, 3, 3, 2, seed=1), array(3, 4, 2, seed=2)
    y = locally_connected(x, kernel, bias, stride=(2, 1), padding=[(0, 0), (0, 1)])
    padded = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 0)))
    expected = np.zeros((2, 3, 4, 2))
    for i, j in np.ndindex(3, 4):
        patch = padded[:, 2 * i : 2 * i + 2, j : j + 3]
        expected[:, i, j] = np.tensordot(patch, kernel[i, j], 3) + bias[i, j]
    assert_close(y, expected, "float64")


def test_locally_connected_with_equal_kernels_is_conv(x64):
    @jax.jit
    def both(x, kernel):
        y = conv(x, kernel, padding="VALID")
        unshared = jnp.broadcast_to(kernel, y.shape[1:-1] + kernel.shape)
        return locally_connected(x, unshared), y

    for axes in (1, 2, 3):
        y, expected = both(array(2, *(4, 5, 3)[:axes], 2), array(*(2, 3, 2)[:axes], 2, 3, seed=1))
        assert_close(y, expected, "float64")


def test_locally_connected_gradients_and_transforms():
    args = (array(1, 3, 4, 2), array(2, 2, 2, 3, 2, 2, seed=1), array(2, 2, 2, seed=2))
    assert_gradients(locally_connected, *args)
    assert_transforms(jax.jit(locally_connected), *args)


def test_locally_connected_errors(unchecked):
    x = array(1, 4, 4, 2)
    with pytest.raises(ValueError, match="locally_connected: kernel needs axes"):
        locally_connected(x, array(3, 3, 2, 2))
    with pytest.raises(ValueError, match=r"made for an output of \(2, 2\) pixels, .* \(3, 3\)"):
        locally_connected(x, array(2, 2, 2, 2, 2, 2))
    with pytest.raises(ValueError, match="locally_connected: kernel expects 3 input channels"):
        locally_connected(x, array(3, 3, 2, 2, 3, 2))
    with pytest.raises(ValueError, match="locally_connected: bias needs shape"):
        locally_connected(x, array(3, 3, 2, 2, 2, 2), array(2))
