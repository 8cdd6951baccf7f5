import pytest

from jaxcnn import models
from jaxcnn.models.figures import _table, measure

REMEDY = "jaxcnn/models/costs.csv is out of date: python tests/golden/make_costs.py"
SOME = ("lenet", "resnet18", "squeezenet1_1", "mobilenet_v2", "shufflenet_v2_x0_5")


def test_the_table_has_every_model():
    assert set(_table()) == set(models.names()), REMEDY


@pytest.mark.parametrize("name", SOME)
def test_costs(name):
    assert models.costs(name) == measure(name), REMEDY


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in models.names() if name not in SOME])
def test_costs_of_the_others(name):
    assert models.costs(name) == measure(name), REMEDY


def test_errors():
    with pytest.raises(ValueError, match="no model named 'resnet19'; did you mean"):
        models.costs("resnet19")
