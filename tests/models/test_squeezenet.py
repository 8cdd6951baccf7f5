import jax

from helpers import array, assert_close
from jaxcnn import models


def test_without_classes_the_features_mean():
    model = models.create("squeezenet1_1", num_classes=0)
    x = array(2, 17, 19, 3)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    assert set(variables["params"]) == {"features"}
    drawn = jax.tree.map(lambda v: array(*v.shape), variables)
    flow = jax.jit(lambda variables, x: models.activations(model, variables, x))(drawn, x)
    assert flow["classifier"].shape == (2, 512)
    assert_close(flow["classifier"], flow["features/12"].mean(axis=(1, 2)))
