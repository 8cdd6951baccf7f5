import numpy as np

from jaxcnn.plots.scales import Scale


def test_scales():
    scale = Scale("weight_decay", [0.0, 1e-4, 1e-2])
    assert scale.place(0.0) < scale.place(1e-4) == -4
    assert list(scale.ticks().values()) == ["0", "0.0001", "0.01"]
    many = Scale("learning_rate", list(np.geomspace(1e-4, 0.99, 50)))
    assert list(many.ticks().values()) == ["0.0001", "0.001", "0.01", "0.1"]
    linear = Scale("momentum", list(np.linspace(0.5, 0.9, 50)))
    assert linear.label == "momentum"
    assert all(0.5 <= place <= 0.9 for place in linear.ticks())
    assert Scale("batch_size", [8, 512]).label == "batch size (images, log scale)"
