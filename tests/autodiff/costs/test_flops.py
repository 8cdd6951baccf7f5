import itertools

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from helpers import array
from jaxcnn import models
from jaxcnn.autodiff.costs.flops import Flops, count_flops
from jaxcnn.functional.convolution import conv, conv_transpose
from jaxcnn.functional.linear import dense
from jaxcnn.functional.pooling import max_pool
from jaxcnn.functional.shapes import multiply_adds
from jaxcnn.losses import cross_entropy


def abstract(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def total(f, *args):
    return count_flops(f, *args).total


X = abstract(4, 6)
ELEMENTWISE = [
    # function, FLOPs of a number of X, which has 24
    (jnp.sin, 1),
    (lambda x: 2 * x + 1, 2),
    (lambda x: x / x - x, 2),
    (jax.nn.sigmoid, 1),
    (jax.nn.relu, 1),
    (lambda x: x**2, 1),
    (lambda x: x**5, 3),
    (lambda x: lax.integer_pow(x, 7), 4),
    (lambda x: lax.integer_pow(x, -1), 1),
    (lambda x: lax.integer_pow(x, -3), 3),
    (lambda x: x**2.5, 1),
    (lambda x: x > 0, 0),
    (lambda x: jnp.where(x > 0, x, 0), 0),
    (lambda x: x.T.reshape(3, 8)[:2].astype(jnp.bfloat16), 0),
    (lambda x: jnp.argsort(x, axis=1) + 3, 0),
    (lambda x: jnp.argmax(x) + x.astype(int).sum(), 0),
]


@pytest.mark.parametrize(("f", "each"), ELEMENTWISE)
def test_elementwise(f, each):
    assert total(f, X) == 24 * each


OTHERS = [
    (lambda x: x.sum(), 23),
    (lambda x: x.max(axis=1), 4 * 5),
    (lambda x: x.mean(axis=0), 6 * 3 + 6),
    (lambda x: jnp.cumsum(x, axis=1), 4 * 5),
    (lambda x: x.at[0].add(x[1]), 6),
    (lambda x: x.at[0].set(x[1]), 0),
    (lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 3), (1, 1), "VALID"), 3 * 4 * 5),
    (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2, 3), (2, 3), "VALID"), 2 * 2 * 5),
    (lambda x: lax.reduce_window(x, 0.0, lambda a, b: a + b * b, (2, 1), (2, 1), "VALID"), 24),
    (lambda x: lax.reduce(x, 0.0, lambda a, b: a + b * b, (0, 1)), 2 * 23),
    (lambda x: jax.nn.softmax(x), 4 * 5 + 24 + 24 + 4 * 5 + 24 + 4),  # max, -, exp, +, /, max -inf
    (lambda x: jnp.linalg.cholesky(x[:3, :3], symmetrize_input=False), 9),
    (lambda x: jnp.linalg.qr(x, mode="r"), 2 * (6 * 16 - 21)),
    (lambda x: jnp.fft.fft(x[:, :4].astype(jnp.complex64)), 4 * 5 * 4 * 2),
    (lambda x: jnp.fft.rfft(x[:, :4]), 4 * 5 * 2 * 2),
]


@pytest.mark.parametrize(("f", "flops"), OTHERS)
def test_sums_windows_and_matrices(f, flops):
    assert total(f, X) == flops


def test_max_pool_and_its_gradient():
    x = abstract(2, 8, 8, 3)
    forward = total(lambda x: max_pool(x, window=2), x)
    assert forward == 2 * 4 * 4 * 3 * 3
    back = count_flops(jax.grad(lambda x: max_pool(x, window=2).sum()), x).by_primitive
    assert back["select_and_scatter_add"] == 2 * 4 * 4 * 3 * 4


def test_solve_counts_its_triangles():
    a, b = abstract(5, 5), abstract(5)
    found = count_flops(jnp.linalg.solve, a, b).by_primitive
    assert found["lu"] == 125 - 41
    assert found["triangular_solve"] == 2 * 25
    assert "dot_general" not in found


def test_conv_and_dense_by_hand():
    x, kernel, bias = abstract(2, 8, 10, 4), abstract(3, 3, 4, 6), abstract(6)
    found = count_flops(conv, x, kernel, bias)
    products = 2 * 8 * 10 * 6 * 3 * 3 * 4
    assert found.by_primitive == {"conv_general_dilated": 2 * products, "add": 2 * 8 * 10 * 6}
    assert found.multiply_adds == products == multiply_adds(conv, x, kernel, bias)
    found = count_flops(dense, abstract(7, 30), abstract(30, 5), abstract(5))
    assert found == Flops({"dot_general": 2 * 7 * 30 * 5, "add": 7 * 5})


def test_inserted_zeros_cost_nothing():
    x, kernel = abstract(1, 5, 5, 8), abstract(3, 3, 4, 8)
    found = total(lambda x, k: conv_transpose(x, k, stride=2), x, kernel)
    assert found == 2 * 25 * 9 * 4 * 8


def test_lenet_by_hand():
    model, x = models.create("lenet"), abstract(1, 28, 28, 1)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    found = count_flops(model.apply, variables, x)
    products = 28 * 28 * 6 * 25 + 10 * 10 * 16 * 25 * 6 + 400 * 120 + 120 * 84 + 84 * 10
    biases = 28 * 28 * 6 + 10 * 10 * 16 + 120 + 84 + 10
    relus = biases - 10
    pools = 3 * (14 * 14 * 6 + 5 * 5 * 16)
    assert found.multiply_adds == products == 416_520
    assert found.total == 2 * products + biases + relus + pools == 850_794
    assert not found.uncounted


def test_resnet50_is_four_billion():
    model, x = models.create("resnet50"), abstract(1, 224, 224, 3)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    found = count_flops(model.apply, variables, x)
    assert found.multiply_adds == 4_089_184_256
    assert 2 * found.multiply_adds < found.total < 2.03 * found.multiply_adds
    assert not found.uncounted


def test_gradient_costs_three_times():
    model, x = models.create("lenet"), abstract(8, 28, 28, 1)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    labels = abstract(8, dtype=jnp.int32)

    def loss(variables, x, labels):
        return cross_entropy(model.apply(variables, x), labels).mean()

    once = total(loss, variables, x, labels)
    both = total(jax.value_and_grad(loss, argnums=(0, 1)), variables, x, labels)
    assert 3 < both / once < 3.6  # conv2's image is 14x14, its output 10x10: padding counts
    kernels = total(jax.value_and_grad(loss), variables, x, labels)
    assert kernels < both  # the first layer's image needs no gradient


def test_gradient_of_dense_layers_is_three_times_exactly():
    x, kernels = abstract(16, 32), [abstract(32, 32)] * 3

    def f(x, kernels):
        for kernel in kernels:
            x = jnp.tanh(x @ kernel)
        return x.sum()

    once = count_flops(f, x, kernels).multiply_adds
    assert once == 3 * 16 * 32 * 32
    gradient = jax.grad(f, argnums=(0, 1))
    assert count_flops(gradient, x, kernels).multiply_adds == 3 * once


# Loops


def test_fixed_loops_count_every_turn():
    for f in (
        lambda x: lax.fori_loop(0, 100, lambda _, x: 2 * x, x),
        lambda x: lax.scan(lambda x, _: (2 * x, None), x, length=100)[0],
        lambda x: lax.while_loop(lambda s: s[0] < 100, lambda s: (s[0] + 1, 2 * s[1]), (0, x))[1],
        lambda x: lax.while_loop(lambda s: s[0] > 1, lambda s: (s[0] - 3, 2 * s[1]), (301, x))[1],
        lambda x: jax.jit(lambda x, n: lax.fori_loop(0, n, lambda _, x: 2 * x, x))(x, 100),
        lambda x: lax.fori_loop(0, 10, lambda _, x: lax.fori_loop(0, 10, lambda _, x: 2 * x, x), x),
    ):
        assert total(f, X) == 2400
    assert total(lambda x: lax.map(lambda row: 2 * row, x), X) == 24


def triangle(x, n):
    """x doubled 0 + 1 + ... + n - 1 times, by a loop in a loop."""
    return lax.fori_loop(0, n, lambda i, x: lax.fori_loop(0, i, lambda _, x: 2 * x, x), x)


def test_loops_whose_length_another_loop_counts():
    assert total(lambda x: triangle(x, 10), X) == 45 * 24
    assert total(jax.jit(triangle), jnp.ones((4, 6)), 10) == 45 * 24
    assert total(jax.vmap(lambda x: triangle(x, 10)), X) == 45 * 24

    def unstarted(x):
        return lax.while_loop(lambda s: s[0] < 0, lambda s: (s[0] + 1, 2 * s[1]), (0, x))

    assert total(unstarted, X) == 0


def halvings(x):
    """Halve until the sum is below 1: for 24 ones five times, and the sum is taken six times."""
    return lax.while_loop(lambda x: x.sum() >= 1, lambda x: x / 2, x)


def test_loops_that_depend_on_the_numbers_are_run():
    assert total(halvings, jnp.ones((4, 6))) == 5 * 24 + 6 * 23
    assert total(halvings, jnp.zeros((4, 6))) == 23
    assert total(jax.jit(halvings), jnp.ones((4, 6))) == 5 * 24 + 6 * 23
    assert total(lambda x: halvings(x) + halvings(2 * x), jnp.ones(8)) == (4 + 5) * 8 + 11 * 7 + 16
    rows = jnp.stack([jnp.ones(8), jnp.zeros(8)])
    assert total(lambda x: lax.map(halvings, x), rows) == 4 * 8 + 6 * 7
    assert total(jax.jvp, jax.tree_util.Partial(halvings), (jnp.ones(8),), (jnp.ones(8),)) == (
        4 * 16 + 5 * 7
    )
    assert total(jax.vmap(halvings), rows) == 4 * 16 + 5 * 14  # until the last is done


def test_a_batch_of_loops_turns_until_the_last_is_done():
    def doublings(x):
        return lax.while_loop(lambda x: (x < 10) | ((x > 30) & (x < 100)), lambda x: 2 * x, x)

    # 1 takes four turns to 16; 5 stops at 10 and must not go on to 40, where it would run again.
    assert total(jax.vmap(doublings), jnp.array([1.0, 5.0])) == 4 * 2


def test_counts_while_the_caller_is_traced():
    def f(x, y):
        return lax.while_loop(lambda s: s[0] < 9, lambda s: (s[0] + 1, y * s[1]), (0, x))[1]

    counts = []

    def caller(x, y):
        counts.append(total(f, x, y))
        counts.append(total(lambda x: f(x, y), x))  # y is a constant of the jaxpr, without a value
        return x

    jax.jit(caller)(jnp.ones((4, 6)), jnp.ones((4, 6)))
    jax.vmap(caller)(jnp.ones((2, 4, 6)), jnp.ones((2, 4, 6)))
    assert counts == [9 * 24] * 4


def test_loops_with_a_number_for_their_length():
    triangles = total(triangle, jnp.ones(5), jnp.asarray(7))
    assert triangles == 21 * 5


def test_loops_in_branches_count_as_they_ran():
    def f(x):
        return lax.cond(x[0] > 0, halvings, lambda x: jnp.sin(jnp.sin(x)), x)

    assert total(f, jnp.ones(8)) == 4 * 8 + 5 * 7
    assert total(f, jnp.zeros(8)) == 2 * 8

    def steps(x):
        """Twelve turns, of which four take the dearer branch."""

        def body(s):
            i, x = s
            return i + 1, lax.cond(i % 3 == 0, lambda x: x * x * x, jnp.sin, x)

        return lax.while_loop(lambda s: s[0] < 12 + 0 * s[1][0], body, (0, x))

    x = jnp.full(8, 0.5)
    found = count_flops(steps, x).by_primitive
    assert (found["mul"] - 13, found["sin"]) == (4 * 16, 8 * 8)  # 13 tests with their 0 * x


def test_branches_count_the_dearest():
    two, three = (lambda x: x * x * x), (lambda x: jnp.sin(x * x * x))
    assert total(lambda x: lax.cond(x[0, 0] > 0, two, three, x), X) == 3 * 24
    assert total(lambda x: lax.switch(0, [two, three, jnp.sin], x), jnp.ones((4, 6))) == 3 * 24
    inside = total(
        lambda x: lax.cond(
            x[0, 0] > 0,
            lambda x: lax.while_loop(lambda s: s[0] < 9, lambda s: (s[0] + 1, 2 * s[1]), (0, x))[1],
            three,
            x,
        ),
        X,
    )
    assert inside == 9 * 24


def test_unknown_loops_raise():
    with pytest.raises(
        ValueError, match="count_flops: the operations inside 'while' run an unknown number"
    ):
        count_flops(halvings, X)
    with pytest.raises(ValueError, match="count_flops: .* 'while'"):
        jax.jit(lambda x: total(halvings, x))(jnp.ones(3))

    def integers(x):
        return lax.while_loop(lambda n: n < x[0, 0], lambda n: n + 1, 0)

    assert total(integers, X) == 0


# Calls


@jax.custom_jvp
def with_jvp(x):
    return jnp.sin(x)


with_jvp.defjvp(lambda primals, tangents: (with_jvp(*primals), 3 * jnp.cos(tangents[0])))


@jax.custom_vjp
def with_vjp(x):
    return jnp.sin(x)


with_vjp.defvjp(lambda x: (with_vjp(x), x), lambda x, g: (g * jnp.cos(x) * 3,))


def test_calls_and_custom_rules_are_followed():
    for f in (jax.jit(jnp.sin), jax.jit(jax.jit(jnp.sin)), with_jvp, with_vjp):
        assert total(f, X) == 24
    assert total(lambda x: jax.jvp(with_jvp, (x,), (x,)), X) == 3 * 24
    assert total(jax.grad(lambda x: with_vjp(x).sum()), X) == 24 + 23 + 3 * 24


def test_checkpoint_counts_what_it_computes_again():
    def layer(x):
        return jnp.sin(jnp.exp(x))

    plain = total(jax.value_and_grad(lambda x: layer(x).sum()), X)
    again = total(jax.value_and_grad(lambda x: jax.checkpoint(layer)(x).sum()), X)
    assert plain == 24 * 5 + 23  # exp, sin; cos; times cos, times exp
    assert again == plain + 24  # exp once more; sin's result is not needed


def test_checkpoint_in_a_scan_counts_every_turn():
    def layer(x, _):
        return jnp.sin(jnp.exp(x)), None

    def f(x, body):
        return lax.scan(body, x, length=5)[0].sum()

    plain = total(jax.value_and_grad(lambda x: f(x, layer)), X)
    again = total(jax.value_and_grad(lambda x: f(x, jax.checkpoint(layer))), X)
    assert plain == 5 * 24 * 5 + 23
    assert again == plain + 5 * 24


def test_shards_count_on_all_devices():
    mesh = AbstractMesh((4,), ("d",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec("d")
    f = jax.shard_map(lambda x: jnp.sin(x) * 3, mesh=mesh, in_specs=spec, out_specs=spec)
    assert total(f, X) == 2 * 24


def test_uncounted_is_named():
    found = count_flops(lambda x: jnp.linalg.eigvalsh(x[:, :4]) + 1, X)
    assert "eigh" in found.uncounted
    assert str(found).endswith("not counted: eigh")
    assert count_flops(jnp.sin, X).uncounted == ()


def test_prints_dearest_first():
    found = count_flops(lambda x, k: jnp.sin(x @ k) + 1, abstract(4, 6), abstract(6, 10))
    assert list(found.by_primitive.items()) == [("dot_general", 480), ("sin", 40), ("add", 40)]
    assert str(found).splitlines()[:2] == [
        "560 FLOPs, 240 multiply-adds",
        "  dot_general  480   85.7%",
    ]
    assert str(count_flops(lambda x: x.T, X)) == "0 FLOPs, 0 multiply-adds"


# Beside XLA's own count


def xla(f, *args):
    return jax.jit(f).lower(*args).compile().cost_analysis()["flops"]


def loss(x, kernels):
    for kernel in kernels:
        x = x @ kernel + 1
    return x.sum()


def test_beside_xla():
    """Products and plain arithmetic: within 2 %. (XLA lists transcendental functions apart.)"""
    x, kernels = array(16, 32), [array(32, 32, seed=s) for s in range(3)]
    image, kernel = array(2, 10, 10, 3), array(3, 3, 3, 8)
    for f, args in (
        (jnp.dot, (x, kernels[0])),
        (loss, (x, kernels)),
        (jax.value_and_grad(loss, argnums=1), (x, kernels)),
        (
            lambda x, k: lax.conv_general_dilated(
                x, k, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
            ),
            (image, kernel),
        ),
    ):
        assert total(f, *args) == pytest.approx(xla(f, *args), rel=0.02)


def test_xla_counts_a_loop_once():
    x, kernel = array(16, 32), array(32, 32)

    def once(x, kernel):
        return x @ kernel

    def f(x, kernel):
        return lax.fori_loop(0, 100, lambda _, x: once(x, kernel), x)

    assert total(f, x, kernel) == 100 * total(once, x, kernel)
    assert xla(f, x, kernel) < 3 * xla(once, x, kernel)


def test_no_primitive_has_two_rules():
    from jaxcnn.autodiff.costs.flop_rules import COMBINATIONS, FLOPS, FREE

    for a, b in itertools.combinations((set(FLOPS), FREE, set(COMBINATIONS)), 2):
        assert not a & b
