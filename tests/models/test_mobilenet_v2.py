import jax
import pytest

from helpers import array
from jaxcnn.functional.shapes import count_parameters
from jaxcnn.models import create


@pytest.mark.parametrize(("width", "parameters"), [(0.35, 1_677_128), (1.4, 6_108_776)])
def test_width_multiplier(width, parameters):
    # torchvision's MobileNetV2(width_mult=...); the last layer only ever grows.
    model = create("mobilenet_v2", width_mult=width)
    variables = jax.eval_shape(model.init, jax.random.key(0), array(1, 32, 32, 3))
    assert count_parameters(variables["params"]) == parameters
