"""Every transformation of JAX on every operation, as on the same function in JAX's operations."""

import functools
import itertools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

from helpers import array, assert_close
from jaxcnn import lowering

# Functions of two arrays; pooling adds the second one.
WINDOW, STRIDE = (3, 2), (2, 1)
PADDING = ((1, 1), (0, 1))


def shifted(x, fill):
    """The image under each place of a 3x2 window, stacked."""
    x = jnp.pad(x, ((0, 0), *PADDING, (0, 0)), constant_values=fill)
    b, h, w, c = x.shape
    ends = [(h - 3) // 2 * 2 + 1, w - 1]
    places = itertools.product(range(3), range(2))
    parts = [
        lax.slice(x, (0, i, j, 0), (b, i + ends[0], j + ends[1], c), (1, 2, 1, 1))
        for i, j in places
    ]
    return jnp.stack(parts)


def conv(function, groups=1, stride=(2, 1), padding=PADDING):
    def f(x, kernel):
        return function(
            x,
            kernel,
            stride,
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    return f


def pool(computation, start):
    padding = ((0, 0), *PADDING, (0, 0))
    return lambda x: lowering.reduce_window(
        x, start, computation, (1, *WINDOW, 1), (1, *STRIDE, 1), padding
    )


def transposed(function):
    def f(y, kernel):
        return function(
            y,
            kernel,
            (1, 1),
            ((2, 1), (1, 0)),
            lhs_dilation=(2, 3),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=2,
        )

    return f


OURS, THEIRS = lowering.conv_general_dilated, lax.conv_general_dilated
OPERATIONS = {  # ours, the reference, and the arguments' shapes
    "dense": (conv(OURS), conv(THEIRS), (2, 4, 3, 2), (3, 2, 2, 3)),
    "depthwise": (conv(OURS, 2), conv(THEIRS, 2), (2, 4, 3, 2), (3, 2, 1, 4)),
    "many taps": (
        conv(OURS, 2, (1, 1), ((4, 4), (1, 1))),
        conv(THEIRS, 2, (1, 1), ((4, 4), (1, 1))),
        (2, 3, 2, 2),
        (9, 3, 1, 2),
    ),
    "one channel": (conv(OURS), conv(THEIRS), (2, 4, 3, 1), (3, 2, 1, 2)),
    "grouped": (conv(OURS, 2), conv(THEIRS, 2), (2, 4, 3, 4), (3, 2, 2, 4)),
    "pixels": (conv(OURS, 1, (1, 1)), conv(THEIRS, 1, (1, 1)), (2, 2, 3, 32), (1, 1, 32, 2)),
    "transposed": (transposed(OURS), transposed(THEIRS), (2, 2, 2, 4), (3, 2, 2, 4)),
    "max pool": (
        lambda x, y: pool(lax.max, -jnp.inf)(x) * y,
        lambda x, y: shifted(x, -jnp.inf).max(0) * y,
        (2, 4, 3, 2),
        (2, 2, 3, 2),
    ),
    "sum pool": (
        lambda x, y: pool(lax.add, 0.0)(x) * y,
        lambda x, y: shifted(x, 0).sum(0) * y,
        (2, 4, 3, 2),
        (2, 2, 3, 2),
    ),
}


def loss(f):
    return lambda x, k: (jnp.tanh(f(x, k)) ** 2).sum()


def gradient(f):
    return jax.grad(loss(f), (0, 1))


def without_jit(f, x, k):
    with jax.disable_jit():
        return gradient(f)(x, k)


def third_order(f, x, k):
    def second(k):
        return (jax.grad(loss(f), 1)(x, k) ** 2).sum()

    return jax.grad(lambda k: jax.grad(second)(k).sum())(k)


def in_scan(f, x, k):
    def step(k, x):
        value, change = jax.value_and_grad(loss(f), 1)(x, k)
        return k - 0.1 * change, value

    return lax.scan(step, k, jnp.stack([x, x + 1]))


def exported(f, x, k):
    """Serialized with its second derivatives, and differentiated after it is read."""
    there = export.export(jax.jit(loss(f)))(x, k).serialize(vjp_order=2)
    back = export.deserialize(there)

    @jax.jit
    def derivatives(x, k):
        first = jax.grad(back.call, (0, 1))(x, k)
        return first, jax.grad(lambda k: (jax.grad(back.call)(x, k) ** 2).sum())(k)

    return derivatives(x, k)


def derivatives_of_export(f, x, k):
    return gradient(f)(x, k), jax.grad(lambda k: (jax.grad(loss(f))(x, k) ** 2).sum())(k)


def exported_everywhere(f, x, k):
    platforms = ["cpu", "cuda", "tpu"]
    program = export.export(jax.jit(gradient(f)), platforms=platforms)(x, k)
    assert program.platforms == tuple(platforms)
    return export.deserialize(program.serialize()).call(x, k)


def exported_for_any_batch(f, x, k):
    """With the batch of the first argument, and of the second if it is not a kernel, unknown."""
    (n,) = export.symbolic_shape("n")

    def unknown(a):
        batch = n if a is x or k.shape[0] == x.shape[0] else a.shape[0]
        return jax.ShapeDtypeStruct((batch, *a.shape[1:]), a.dtype)

    program = export.export(jax.jit(gradient(f)))(unknown(x), unknown(k))
    return export.deserialize(program.serialize()).call(x, k)


def thrice(a):
    return jnp.stack([a, 2 * a, 1 - a])


TRANSFORMATIONS = {
    "grad": lambda f, x, k: gradient(f)(x, k),
    "jit grad": lambda f, x, k: jax.jit(gradient(f))(x, k),
    "jvp": lambda f, x, k: jax.jvp(f, (x, k), (jnp.cos(x), jnp.sin(k))),
    "linearize": lambda f, x, k: jax.linearize(f, x, k)[1](jnp.cos(x), jnp.sin(k)),
    "linear_transpose": lambda f, x, k: jax.linear_transpose(lambda k: f(x, k), k)(
        jnp.cos(f(x, k))
    ),
    "vmap x": lambda f, x, k: jax.vmap(f, (0, None))(thrice(x), k),
    "vmap kernel": lambda f, x, k: jax.vmap(f, (None, 0))(x, thrice(k)),
    "vmap both": lambda f, x, k: jax.vmap(f)(thrice(x), thrice(k)),
    "vmap other axes": lambda f, x, k: jax.vmap(f, (2, -1), 1)(
        jnp.moveaxis(thrice(x), 0, 2), jnp.moveaxis(thrice(k), 0, -1)
    ),
    "vmap of grad, x": lambda f, x, k: jax.vmap(gradient(f), (0, None))(thrice(x), k),
    "vmap of grad, kernel": lambda f, x, k: jax.vmap(gradient(f), (None, 0))(x, thrice(k)),
    "vmap of grad, both": lambda f, x, k: jax.vmap(gradient(f))(thrice(x), thrice(k)),
    "vmap of vmap": lambda f, x, k: jax.vmap(jax.vmap(gradient(f)), (0, None))(
        jnp.stack([thrice(x), thrice(2 * x)]), thrice(k)
    ),
    "grad of vmap, both": lambda f, x, k: jax.grad(
        lambda x, k: jax.vmap(loss(f))(x, k).sum(), (0, 1)
    )(thrice(x), thrice(k)),
    "grad of vmap": lambda f, x, k: jax.grad(
        lambda k: jax.vmap(lambda x: loss(f)(x, k))(thrice(x)).sum()
    )(k),
    "jacfwd": lambda f, x, k: jax.jacfwd(f, (0, 1))(x, k),
    "jacrev": lambda f, x, k: jax.jacrev(f, (0, 1))(x, k),
    "forward over reverse": lambda f, x, k: jax.jacfwd(jax.jacrev(loss(f), (0, 1)), (0, 1))(x, k),
    "reverse over reverse": lambda f, x, k: jax.jacrev(jax.jacrev(loss(f), (0, 1)), 1)(x, k),
    "forward over forward": lambda f, x, k: jax.jacfwd(jax.jacfwd(loss(f), 1), (0, 1))(x, k),
    "reverse over forward": lambda f, x, k: jax.jacrev(jax.jacfwd(loss(f), 1), (0, 1))(x, k),
    "third order": third_order,
    "remat": lambda f, x, k: jax.grad(jax.checkpoint(loss(f)), (0, 1))(x, k),
    "scan": in_scan,
    "no jit": without_jit,
    "export": exported,
    "export everywhere": exported_everywhere,
    "export for any batch": exported_for_any_batch,
}


# Those that give what another one gives (or, by their positions, some of its arrays): both are
# compared with the same reference, which is computed once.
EQUAL = {
    "grad": ("jit grad", slice(None)),
    "remat": ("jit grad", slice(None)),
    "no jit": ("jit grad", slice(None)),
    "export everywhere": ("jit grad", slice(None)),
    "export for any batch": ("jit grad", slice(None)),
    "jacfwd": ("jacrev", slice(None)),
    "linearize": ("jvp", slice(1, 2)),
    "grad of vmap, both": ("vmap of grad, both", slice(None)),
    "reverse over reverse": ("forward over reverse", slice(1, None, 2)),  # by (x, k), then by k
    "forward over forward": ("forward over reverse", slice(2, None)),  # by k, then by (x, k)
    "reverse over forward": ("forward over reverse", slice(2, None)),
}
REFERENCES = TRANSFORMATIONS | {"export": derivatives_of_export}


def arguments(operation):
    return (array(*shape, seed=seed) for seed, shape in enumerate(OPERATIONS[operation][2:]))


def in_one_program(transform, f, x, k):
    f = jax.jit(f)
    return jax.tree.leaves(jax.jit(lambda x, k: transform(f, x, k))(x, k))


@functools.cache
def reference(operation, transformation):
    """NumPy arrays, which outlive the programs."""
    transform, f = REFERENCES[transformation], OPERATIONS[operation][1]
    return [np.asarray(a) for a in in_one_program(transform, f, *arguments(operation))]


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_matrix(operation, transformation):
    transform, ours = TRANSFORMATIONS[transformation], OPERATIONS[operation][0]
    x, k = arguments(operation)
    if transformation.startswith(("no jit", "export")):
        actual = jax.tree.leaves(transform(ours, x, k))
    elif transformation == "grad":
        actual = jax.tree.leaves(transform(jax.jit(ours), x, k))
    else:
        actual = in_one_program(transform, ours, x, k)
    equal, which = EQUAL.get(transformation, (transformation, slice(None)))
    expected = reference(operation, equal)[which]
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e, "float32 sums")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_eval_shape(operation):
    ours, reference, *shapes = OPERATIONS[operation]
    for dtype in (jnp.float32, jnp.bfloat16):
        args = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
        assert jax.eval_shape(ours, *args) == jax.eval_shape(reference, *args)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_primitives(operation):
    """No transformation falls back to JAX's operations: what the matrix tests is ours."""
    ours, _, *shapes = OPERATIONS[operation]
    args = [array(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    names = {d.operation for d in lowering.explain(gradient(ours), *args, platform="cpu")}
    expected = {
        "max pool": {"max_pool", "max_pool_put"},
        "sum pool": {"sum_pool", "sum_pool_by_x"},
    }
    assert names >= expected.get(operation, {"conv", "conv_by_x", "conv_by_kernel"})


SHARDED = """
import re
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from helpers import assert_close
from jaxcnn.functional import avg_pool, conv, max_pool

mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Auto,))
rng = np.random.default_rng(0)
x, *params = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in (
    (4, 14, 14, 1), (5, 5, 1, 4), (3, 3, 4, 8), (3, 3, 1, 8), (7, 6, 1, 8), (3, 3, 2, 8)))

def loss(params, x):
    y = conv(x, params[0])
    y = conv(y, params[1], stride=2, padding=1)
    y = max_pool(conv(y, params[2], groups=8), 2, stride=1)
    y = conv(jnp.tanh(y), params[3], groups=8, padding=4)
    y = conv(jnp.tanh(y), params[4], groups=4)
    return (jnp.tanh(avg_pool(y, 2)) ** 2).sum()

expected = jax.grad(loss, (0, 1))(params, x)
batch = NamedSharding(mesh, P("d"))
step = jax.jit(jax.grad(loss, (0, 1)), in_shardings=(NamedSharding(mesh, P()), batch))

def run(step, *args):
    program = step.lower(*args).compile()
    found = set(re.findall(r"(all-[a-z]+|collective-[a-z]+)\\(", program.as_text()))
    assert found == {"all-reduce"}, found
    return program(*args)

together = jax.shard_map(
    jax.grad(lambda p, x: jax.lax.psum(loss(p, x), "d"), (0, 1)),
    mesh=mesh, in_specs=(P(), P("d")), out_specs=(P(), P("d")),
)
explicit = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Explicit,))
results = [run(step, params, jax.device_put(x, batch)), jax.jit(together)(params, x)]
with jax.set_mesh(explicit):
    sharded = jax.device_put((params, x), (P(), P("d")))
    results.append(run(jax.jit(jax.grad(loss, (0, 1))), *sharded))
for result in results:
    for actual, wanted in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        assert_close(actual, wanted, "float32 sums")
print("partitioned")
"""


def test_sharding(tmp_path):
    """Over the batch: one sum of the parameters' gradients, and nothing is gathered."""
    flags = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(Path(__file__).parent.parent),  # helpers
    }
    done = subprocess.run(
        [sys.executable, "-c", SHARDED],
        env=os.environ | flags,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip() == "partitioned", done.stderr
