import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array
from jaxcnn.functional.convolution import conv, conv_transpose, locally_connected
from jaxcnn.functional.initializers import he_normal, zeros
from jaxcnn.functional.linear import dense
from jaxcnn.functional.shapes import (
    count_parameters,
    multiply_adds,
    output_size,
    receptive_field,
)

KEY = jax.random.key(0)


def abstract(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def windows_loop(size, window, stride, low, high, dilation, ceil_mode):
    """Where windows can start, one after another."""
    reach = dilation * (window - 1) + 1
    beyond = stride - 1 if ceil_mode else 0
    starts = range(0, size + low + high + beyond - reach + 1, stride)
    return len([s for s in starts if not ceil_mode or s < size + low])


def test_output_size_is_the_loop():
    choices = itertools.product((7, 8), (2, 3), (1, 2, 3), (0, 1), (1, 2), (False, True))
    for size, window, stride, padding, dilation, ceil_mode in choices:
        got = output_size(
            size, window, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
        )
        assert got == windows_loop(size, window, stride, padding, padding, dilation, ceil_mode)


def test_output_size_is_convs():
    x, kernel = abstract(1, 9, 1), abstract(3, 1, 1)
    for padding in ("SAME", "VALID", 2, [(0, 3)]):
        for stride, dilation in ((1, 1), (2, 1), (3, 2)):
            y = jax.eval_shape(
                lambda x, k, p=padding, s=stride, d=dilation: conv(
                    x, k, stride=s, padding=p, dilation=d
                ),
                x,
                kernel,
            )
            expected = output_size(9, 3, stride=stride, padding=padding, dilation=dilation)
            assert y.shape[1] == expected


def test_output_size_of_known_layers():
    assert output_size(32, 5) == 28
    assert output_size(224, 7, stride=2, padding=3) == 112  # ResNet's first
    assert output_size(227, 11, stride=4) == 55  # AlexNet's
    assert output_size(224, 11, stride=4, padding=2) == 55  # torchvision's AlexNet
    assert output_size(112, 3, stride=2, ceil_mode=True) == 56  # GoogLeNet's first pooling
    assert output_size(112, 3, stride=2) == 55


def test_output_size_errors(unchecked):
    for option in ("stride", "dilation"):
        with pytest.raises(ValueError, match=f"output_size: {option} must be at least 1, got 0"):
            output_size(8, 3, **{option: 0})
    with pytest.raises(ValueError, match="output_size: stride must be an integer .*, got 2.0"):
        output_size(8, 3, stride=2.0)
    with pytest.raises(ValueError, match="output_size: window must be at least 1, got 0"):
        output_size(8, 0)
    with pytest.raises(
        ValueError, match="output_size: a window of 5 .* does not fit into 4 pixels"
    ):
        output_size(4, 5)
    with pytest.raises(ValueError, match="output_size: padding must not be negative, got -1"):
        output_size(4, 3, padding=-1)


def test_sizes_are_numpy_integers_too():
    size, three, two, one = map(np.int64, (8, 3, 2, 1))
    pixels = output_size(size, three, stride=two, padding=one, dilation=one)
    assert pixels == 4
    assert type(pixels) is int
    assert receptive_field([(three, two), ((three, 5), one)]) == (7, 11)


# AlexNet's and VGG-16's receptive fields are those of Araujo, Norris & Sim (2019).
ALEXNET = [(11, 4), (3, 2), (5, 1), (3, 2), (3, 1), (3, 1), (3, 1), (3, 2)]
VGG16 = [layer for convs in (2, 2, 3, 3, 3) for layer in [(3, 1)] * convs + [(2, 2)]]


def test_receptive_field_of_known_nets():
    assert receptive_field([]) == 1
    assert receptive_field([(3, 1)] * 2) == 5
    assert receptive_field([(3, 1)] * 3) == 7
    assert receptive_field(ALEXNET) == 195
    assert receptive_field(VGG16) == 212
    assert receptive_field(VGG16[:-1]) == 196
    assert receptive_field([(5, 1), (2, 2), (5, 1), (2, 2)]) == 16  # LeNet's
    assert receptive_field([((3, 1), (2, 1)), (3, (1, 2)), (2, 1, (1, 3))]) == (9, 9)


def test_receptive_field_is_where_the_gradient_is():
    layers = [((3, 2), 2), (3, (1, 2), (2, 1)), ((1, 3), 1)]
    x = jnp.ones((1, 23, 23, 1))
    stages = [
        (jnp.ones((*((w, w) if isinstance(w, int) else w), 1, 1)), s, d)
        for w, s, d in ((*layer, 1)[:3] for layer in layers)
    ]

    def centre(x):
        for kernel, stride, dilation in stages:
            x = conv(x, kernel, stride=stride, dilation=dilation, padding="VALID")
        return x[0, x.shape[1] // 2, x.shape[2] // 2, 0]

    seen = jax.grad(centre)(x)[0, :, :, 0] != 0
    extents = tuple(int(jnp.ptp(jnp.nonzero(seen)[axis])) + 1 for axis in (0, 1))
    assert receptive_field(layers) == extents


def test_receptive_field_errors(unchecked):
    with pytest.raises(ValueError, match=r"receptive_field: a layer is .*, got \(3,\)"):
        receptive_field([(3,)])
    with pytest.raises(ValueError, match="receptive_field: window must be at least 1, got 0"):
        receptive_field([(0, 1)])
    with pytest.raises(ValueError, match=r"receptive_field: stride needs 1 or 2 values, got"):
        receptive_field([((3, 3), (1, 1, 1))])


def test_textbook_filter():
    params = {"kernel": he_normal()(KEY, (5, 5, 3, 1)), "bias": zeros(KEY, (1,))}
    assert count_parameters(params) == 76
    x = abstract(1, 32, 32, 3)
    y = jax.eval_shape(lambda x: conv(x, params["kernel"], padding="VALID"), x)
    assert y.shape == (1, 28, 28, 1)
    assert output_size(32, 5) == 28


def test_textbook_perceptron():
    widths = [3072, 400, 100, 700, 10]

    def init(key):
        pairs = itertools.pairwise(widths)
        return [(he_normal()(key, pair), zeros(key, pair[1:])) for pair in pairs]

    def apply(params, x):
        for kernel, bias in params:
            x = jax.nn.relu(dense(x, kernel, bias))
        return x

    params = jax.eval_shape(init, KEY)
    assert count_parameters(params) == 1_347_010
    assert multiply_adds(apply, params, abstract(1, 3072)) == 1_347_010 - 1210  # less the biases


def test_textbook_weight_sharing():
    """A 200x200 image and 40K units: all to all, 10x10 filters of their own, one shared filter."""
    full = jax.eval_shape(lambda key: he_normal()(key, (40_000, 40_000)), KEY)
    assert count_parameters(full) == 1_600_000_000
    assert multiply_adds(dense, abstract(1, 40_000), full) == 1_600_000_000

    def init_local(key):
        return he_normal(batch_axis=(0, 1))(key, (200, 200, 10, 10, 1, 1))

    local = jax.eval_shape(init_local, KEY)
    assert count_parameters(local) == 4_000_000
    shared = {"kernel": abstract(10, 10, 1, 1), "bias": abstract(1)}
    assert count_parameters(shared) == 100 + 1
    image = abstract(1, 200, 200, 1)
    unshared = jax.eval_shape(lambda x, k: locally_connected(x, k, padding="SAME"), image, local)
    assert unshared.shape == jax.eval_shape(conv, image, shared["kernel"]).shape == (1, 200, 200, 1)
    assert multiply_adds(conv, image, shared["kernel"]) == 4_000_000


def test_count_parameters():
    assert count_parameters({}) == 0
    assert count_parameters([jnp.zeros(()), (abstract(2, 3), abstract(0, 4))]) == 7
    with pytest.raises(ValueError, match="count_parameters: leaves need to be arrays .* got str"):
        count_parameters({"name": "conv"})


def test_multiply_adds_of_conv_by_hand():
    x, kernel = abstract(2, 8, 10, 4), abstract(3, 3, 4, 6)
    per_image = 8 * 10 * 6 * 3 * 3 * 4
    assert multiply_adds(conv, x, kernel) == 2 * per_image
    strided = multiply_adds(lambda x, k: conv(x, k, stride=2, dilation=2), x, kernel)
    assert strided == 2 * per_image // 4
    grouped = abstract(3, 3, 2, 6)
    assert multiply_adds(lambda x, k: conv(x, k, groups=2), x, grouped) == 2 * per_image // 2
    depthwise = abstract(3, 3, 1, 4)
    cost = multiply_adds(lambda x, k: conv(x, k, groups=4), x, depthwise)
    assert cost == 2 * 8 * 10 * 4 * 3 * 3


CONVS = [
    # window, stride, groups
    ((3, 3), 1, 1),
    ((3, 2), 2, 1),
    ((2, 3), (2, 3), 2),
    ((1, 4), (3, 2), 4),
]


@pytest.mark.parametrize(("window", "stride", "groups"), CONVS)
def test_multiply_adds_of_conv_is_a_sum_of_ones(window, stride, groups):
    """With ones for x and kernel each output is the number of products in it."""
    x, kernel = jnp.ones((2, 7, 8, 4)), jnp.ones((*window, 4 // groups, 8))
    options = {"stride": stride, "groups": groups, "padding": "VALID"}
    expected = conv(x, kernel, **options).sum()
    assert multiply_adds(lambda x, k: conv(x, k, **options), x, kernel) == expected


@pytest.mark.parametrize(("window", "stride", "groups"), CONVS[1:])
def test_multiply_adds_of_conv_transpose_is_a_sum_of_ones(window, stride, groups):
    """As above: the zeros inserted between the pixels are in no product."""
    x, kernel = jnp.ones((2, 4, 5, 8)), jnp.ones((*window, 4 // groups, 8))
    options = {"stride": (2, 3) if stride == 2 else stride, "groups": groups}
    expected = conv_transpose(x, kernel, **options).sum()
    assert multiply_adds(lambda x, k: conv_transpose(x, k, **options), x, kernel) == expected


@pytest.mark.parametrize("padding", [0, 1, "SAME"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_multiply_adds_of_the_transposes(padding, groups, stride):
    """A convolution, and its gradients to image and kernel, cost the same."""
    x, kernel = abstract(2, 9, 10, 4), abstract(3, 3, 4 // groups, 8)

    def forward(x, k):
        return conv(x, k, stride=stride, padding=padding, groups=groups)

    once = multiply_adds(forward, x, kernel)
    y = jax.eval_shape(forward, x, kernel)
    to_kernel = jax.linear_transpose(lambda k: forward(jnp.ones(x.shape), k), kernel)
    assert multiply_adds(to_kernel, y) == once
    if stride == 1 and padding == 0:
        return  # there the gradient is a plain convolution, and its padding counts
    to_image = jax.linear_transpose(lambda x: forward(x, jnp.ones(kernel.shape)), x)
    assert multiply_adds(to_image, y) == once
    gradient = jax.grad(lambda x, k: (forward(x, k) ** 2).sum(), argnums=(0, 1))
    assert multiply_adds(gradient, x, kernel) == 3 * once


def test_multiply_adds_of_dots():
    assert multiply_adds(jnp.dot, abstract(3), abstract(3)) == 3
    assert multiply_adds(jnp.matmul, abstract(5, 2, 3), abstract(5, 3, 4)) == 5 * 2 * 3 * 4
    assert multiply_adds(lambda x: jnp.einsum("bij,bij->", x, x), abstract(2, 3, 4)) == 24
    assert multiply_adds(jnp.sin, abstract(2)) == 0
    assert multiply_adds(jax.vmap(jnp.dot), abstract(7, 3), abstract(7, 3)) == 21


def square(x):
    return x @ x


@jax.custom_jvp
def with_jvp(x):
    return x @ x


with_jvp.defjvp(lambda primals, tangents: (with_jvp(*primals), tangents[0]))


@jax.custom_vjp
def with_vjp(x):
    return x @ x


with_vjp.defvjp(lambda x: (with_vjp(x), None), lambda _, g: (g,))

INSIDE = [
    # function of a 4x4 matrix, its products of two such matrices
    (jax.jit(square), 1),
    (jax.jit(square, inline=True), 1),
    (with_jvp, 1),
    (with_vjp, 1),
    (jax.grad(lambda x: with_vjp(x).sum()), 1),
    (jax.checkpoint(square), 1),
    (jax.grad(lambda x: jnp.sin(square(jnp.sin(x))).sum()), 3),
    (jax.grad(lambda x: jax.checkpoint(lambda x: jnp.sin(square(jnp.sin(x))))(x).sum()), 4),
    (lambda x: jax.lax.cond(x[0, 0] > 0, square, lambda x: square(square(x)), x), 2),
    (lambda x: jax.lax.switch(1, [square, jnp.sin], x), 1),
    (lambda x: jax.lax.scan(lambda x, _: (square(x), None), x, length=5)[0], 5),
    (lambda x: jax.lax.scan(lambda x, _: (jax.jit(square)(x) @ x, None), x, length=5)[0], 10),
    (lambda x: jax.lax.fori_loop(0, 6, lambda _, x: square(x), x), 6),
    (lambda x: jax.lax.map(lambda row: x @ row, x), 1),
    (lambda x: jax.lax.while_loop(lambda x: x[0, 0] < 0, jnp.sin, x), 0),
    (lambda x: jax.lax.platform_dependent(x, cpu=square, default=square), 1),
]


@pytest.mark.parametrize(("f", "products"), INSIDE)
def test_multiply_adds_looks_inside(f, products):
    assert multiply_adds(f, abstract(4, 4)) == products * 64


def test_multiply_adds_runs_nothing():
    x = abstract(10**4, 10**5)
    assert multiply_adds(lambda x: x @ x.T, x) == 10**13


def test_multiply_adds_errors():
    with pytest.raises(
        ValueError, match="multiply_adds: the products inside 'while' run an unknown"
    ):
        multiply_adds(
            lambda x: jax.lax.while_loop(lambda x: x[0, 0] < 0, square, x), abstract(4, 4)
        )


def test_multiply_adds_of_lenet():
    """Conv 6@5x5 and 16@5x5 with 2x2 poolings, then 120, 84 and 10 units, on 32x32x1."""

    def lenet(x):
        x = conv(x, jnp.zeros((5, 5, 1, 6)), padding="VALID")[:, ::2, ::2]
        x = conv(x, jnp.zeros((5, 5, 6, 16)), padding="VALID")[:, ::2, ::2]
        x = x.reshape(x.shape[0], -1)
        for width in (120, 84, 10):
            x = dense(x, jnp.zeros((x.shape[-1], width)))
        return x

    convolutions = 28 * 28 * 6 * 25 + 10 * 10 * 16 * 25 * 6
    dense_layers = 400 * 120 + 120 * 84 + 84 * 10
    assert multiply_adds(lenet, array(3, 32, 32, 1)) == 3 * (convolutions + dense_layers)
