import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import models
from jaxcnn.weights import to_torch
from jaxcnn.weights.aliases import standard_names


def torch_names(name):
    x = jax.ShapeDtypeStruct((1, *models.entry(name).input_shape), jnp.float32)
    variables = jax.eval_shape(models.create(name).init, jax.random.key(0), x)
    return list(to_torch(name, jax.tree.map(lambda v: np.broadcast_to(0.0, v.shape), variables)))


def flat_names(depths):
    """As lukemelas's EfficientNet-PyTorch and its descendants name Lite's parameters."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    outside = ["_conv_stem.weight", "_conv_head.weight", "_fc.weight", "_fc.bias"]
    outside += [f"{bn}.{leaf}" for bn in ("_bn0", "_bn1") for leaf in norm]
    inside = []
    for n in range(sum(depths)):
        expands = n >= depths[0]
        convs = ["_expand_conv"] * expands + ["_depthwise_conv", "_project_conv"]
        norms = ["_bn0"] * expands + ["_bn1", "_bn2"]
        inside += [f"_blocks.{n}.{conv}.weight" for conv in convs]
        inside += [f"_blocks.{n}.{bn}.{leaf}" for bn in norms for leaf in norm]
    return outside + inside


@pytest.mark.parametrize(
    ("name", "depths"),
    [
        ("efficientnet_lite0", (1, 2, 2, 3, 3, 4, 1)),
        ("efficientnet_lite1", (1, 3, 3, 4, 4, 5, 1)),
        ("efficientnet_lite2", (1, 3, 3, 4, 4, 5, 1)),
        ("efficientnet_lite3", (1, 3, 3, 5, 5, 6, 1)),
        ("efficientnet_lite4", (1, 4, 4, 6, 6, 8, 1)),
    ],
)
def test_blocks_in_one_row(name, depths):
    old = flat_names(depths)
    new = standard_names(name, {k: k for k in old})
    assert len(new) == len(old)
    assert set(new) == set(torch_names(name))


def test_where_the_blocks_of_a_row_go():
    """Lite0's stages begin at blocks 0, 1, 3, 5, 8, 11 and 15."""
    expected = {
        "_conv_stem.weight": "conv_stem.weight",
        "_bn0.running_mean": "bn1.running_mean",
        "_blocks.0._depthwise_conv.weight": "blocks.0.0.conv_dw.weight",
        "_blocks.0._bn1.bias": "blocks.0.0.bn1.bias",
        "_blocks.0._project_conv.weight": "blocks.0.0.conv_pw.weight",
        "_blocks.0._bn2.weight": "blocks.0.0.bn2.weight",
        "_blocks.7._expand_conv.weight": "blocks.3.2.conv_pw.weight",
        "_blocks.7._bn0.running_var": "blocks.3.2.bn1.running_var",
        "_blocks.8._depthwise_conv.weight": "blocks.4.0.conv_dw.weight",
        "_blocks.8._bn1.weight": "blocks.4.0.bn2.weight",
        "_blocks.15._project_conv.weight": "blocks.6.0.conv_pwl.weight",
        "_blocks.15._bn2.bias": "blocks.6.0.bn3.bias",
        "_conv_head.weight": "conv_head.weight",
        "_bn1.num_batches_tracked": "bn2.num_batches_tracked",
        "_fc.bias": "classifier.bias",
    }
    renamed = standard_names("efficientnet_lite0", {k: k for k in expected})
    assert {v: k for k, v in renamed.items()} == expected


def test_densenets_old_names():
    expected = {
        "features.conv0.weight": "features.conv0.weight",
        "features.denseblock2.denselayer12.norm.1.weight": (
            "features.denseblock2.denselayer12.norm1.weight"
        ),
        "features.denseblock1.denselayer3.conv.2.weight": (
            "features.denseblock1.denselayer3.conv2.weight"
        ),
        "features.norm5.bias": "features.norm5.bias",
    }
    renamed = standard_names("densenet121", {k: k for k in expected})
    assert {v: k for k, v in renamed.items()} == expected


@pytest.mark.parametrize("name", ["densenet121", "efficientnet_lite0", "resnet18"])
def test_standard_names_stay(name):
    for k in torch_names(name):
        assert standard_names(name, {k: 1}) == {k: 1}


def test_unknown_names_stay():
    for k in ("_blocks.16._bn0.weight", "_blocks.0._expand_conv.weight", "_swish.weight", "extra"):
        assert standard_names("efficientnet_lite0", {k: 1}) == {k: 1}


def test_wrappers_prefix():
    state = {"module._fc.weight": 1, "module._fc.bias": 2}
    renamed = standard_names("efficientnet_lite0", state)
    assert renamed == {"classifier.weight": 1, "classifier.bias": 2}
    partly = {"module.fc.weight": 1, "fc.bias": 2}
    assert standard_names("resnet18", partly) == partly


def test_one_parameter_under_two_names():
    message = "from_torch: efficientnet_lite0's state has both _fc.bias and classifier.bias."
    with pytest.raises(ValueError, match=message):
        standard_names("efficientnet_lite0", {"_fc.bias": 1, "classifier.bias": 1})
