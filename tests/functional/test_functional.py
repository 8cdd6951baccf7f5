import importlib
import inspect
import pkgutil

import jaxcnn.functional

LAYERS = [
    "activations",
    "convolution",
    "correlation",
    "dropping",
    "linear",
    "normalization",
    "pooling",
]


def test_every_layer_is_exported():
    files = {module.name for module in pkgutil.iter_modules(jaxcnn.functional.__path__)}
    assert files == {*LAYERS, "initializers", "shapes", "windows"}
    expected = {"initializers", "shapes"}
    for layer in LAYERS:
        module = importlib.import_module(f"jaxcnn.functional.{layer}")
        own = [
            name
            for name, value in inspect.getmembers(module, inspect.isfunction)
            if not name.startswith("_") and value.__module__ == module.__name__
        ]
        expected |= set(getattr(module, "__all__", own))
    assert set(jaxcnn.functional.__all__) == expected
    for name in expected - {"initializers", "shapes"}:
        assert callable(getattr(jaxcnn.functional, name))
