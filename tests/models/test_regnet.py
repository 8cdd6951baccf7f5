import jax
import pytest

from helpers import array
from jaxcnn.models import create
from jaxcnn.models.regnet import VARIANTS, quantised_widths

# The paper's appendix: widths and depths of the stages.
PAPER = {
    "regnet_x_3_2gf": [(96, 2), (192, 6), (432, 15), (1008, 2)],
    "regnet_x_32gf": [(336, 2), (672, 7), (1344, 13), (2520, 1)],
    "regnet_y_400mf": [(48, 1), (104, 3), (208, 6), (440, 6)],
    "regnet_y_16gf": [(224, 2), (448, 4), (1232, 11), (3024, 1)],
    "regnet_y_32gf": [(232, 2), (696, 5), (1392, 12), (3712, 1)],
}


def widths(name):
    arguments = ("depth", "initial", "slope", "step", "group_width")
    fields = VARIANTS[name].constructor.keywords
    return quantised_widths(**{k: fields[k] for k in arguments})


def test_widths_are_the_papers():
    for name, expected in PAPER.items():
        assert widths(name) == expected, name
    assert widths("regnet_x_400mf") == [(32, 1), (64, 2), (160, 7), (400, 12)]  # the paper: 384


def test_widths_are_whole_groups_and_grow():
    for name, entry in VARIANTS.items():
        stages = widths(name)
        group_width = entry.constructor.keywords["group_width"]
        assert len(stages) == 4
        assert sum(depth for _, depth in stages) == entry.constructor.keywords["depth"]
        found = [width for width, _ in stages]
        assert found == sorted(set(found))
        assert all(width % min(group_width, width) == 0 for width in found), name


def test_a_stage_thinner_than_a_group_is_one_group():
    assert quantised_widths(2, initial=8, slope=0, step=2.0, group_width=24) == [(8, 2)]
    model = create("regnet_x_400mf", depth=2, initial=8, slope=8, group_width=24)
    variables = jax.eval_shape(model.init, jax.random.key(0), array(1, 16, 16, 3))
    trunk = variables["params"]["trunk_output"]
    kernel = trunk["block1"]["block1-0"]["f"]["b"]["0"]["kernel"]
    assert kernel.shape == (3, 3, 8, 8)


def test_excitation_is_squeezed_from_the_blocks_input():
    model = create("regnet_y_400mf")
    variables = jax.eval_shape(model.init, jax.random.key(0), array(1, 32, 32, 3))
    trunk = variables["params"]["trunk_output"]
    first = trunk["block2"]["block2-0"]["f"]["se"]["fc1"]["kernel"]
    second = trunk["block2"]["block2-1"]["f"]["se"]["fc1"]["kernel"]
    assert first.shape[-1] == 48 // 4
    assert second.shape[-1] == 104 // 4


def test_errors():
    good = {"depth": 4, "initial": 24, "slope": 8.0, "step": 2.0, "group_width": 8}
    bad = {"depth": 0, "initial": 20, "slope": -1.0, "step": 1.0, "group_width": 0}
    for name, value in bad.items():
        with pytest.raises(ValueError, match=f"quantised_widths: .* got .*{name}={value}"):
            quantised_widths(**{**good, name: value})
