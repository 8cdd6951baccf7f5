import jax
import jax.numpy as jnp

from helpers import array
from jaxcnn import lowering
from jaxcnn.functional import avg_pool, conv, max_pool


def net(x, kernel):
    y = jax.jit(max_pool, static_argnums=1)(conv(x, kernel, groups=4), 2)
    return jax.lax.cond(x.sum() > 0, lambda y: avg_pool(y, 2), lambda y: y[:, ::2, ::2], y)


def test_explain_finds_operations_inside_others():
    x, kernel = jax.ShapeDtypeStruct((2, 8, 8, 4), jnp.float32), array(3, 3, 1, 4)
    found = lowering.explain(net, x, kernel, platform="cpu")
    assert [d.operation for d in found[:2]] == ["conv", "max_pool"]
    assert {d.operation for d in found} == {"conv", "max_pool", "sum_pool"}
    assert found[0].shapes == ((2, 8, 8, 4), (3, 3, 1, 4))
    assert all(d.why for d in found)


def test_other_platforms_have_xla_s_kernels():
    x, kernel = array(1, 8, 8, 4), array(3, 3, 1, 4)
    for platform in ("gpu", "tpu"):
        assert {
            d.form for d in lowering.explain(conv, x, array(3, 3, 4, 4), platform=platform)
        } == {"xla"}
    assert lowering.explain(lambda x: conv(x, kernel, groups=4), x)[0].form == "shifts"


def test_the_program_is_the_explained_one():
    """On a CPU a depthwise convolution has no convolution left; exported for a GPU it has."""
    x, kernel = array(1, 8, 8, 4), array(3, 3, 1, 4)
    f = jax.jit(lambda x, kernel: conv(x, kernel, groups=4))
    assert "stablehlo.convolution" not in f.lower(x, kernel).as_text()
    for platform in ("cuda", "tpu"):
        text = f.trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
        assert "stablehlo.convolution" in text
    assert "stablehlo.multiply" in f.lower(x, kernel).as_text()
