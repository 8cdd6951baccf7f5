import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_close
from jaxcnn.autodiff.checks.loading import load_function, parse_input, required_inputs


def test_functions_are_found_in_the_current_directory_too(tmp_path, monkeypatch):
    assert load_function("jax.numpy:linalg.norm") is jnp.linalg.norm
    (tmp_path / "own_formulas.py").write_text("def square(x):\n    return x * x\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert load_function("own_formulas:square")(3) == 9


def test_what_is_not_found_is_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_import.py").write_text("import no_such_package\n")
    for name, message in [
        ("jax.numpy", "a name is MODULE:FUNCTION, got 'jax.numpy'"),
        (":sin", "a name is MODULE:FUNCTION, got ':sin'"),
        ("no_such_module:sin", "there is no module 'no_such_module'"),
        ("jax.no_such_room:sin", "there is no module 'jax.no_such_room'"),
        ("jax.numpy:sine", "jax.numpy has no 'sine'"),
        ("jax.numpy:pi", "'jax.numpy:pi' is no function but float"),
    ]:
        with pytest.raises(ValueError, match=f"load_function: {message}"):
            load_function(name)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        load_function("broken_import:f")


def test_inputs():
    rng = np.random.default_rng(0)
    assert parse_input("2x8x8x3", rng).shape == (2, 8, 8, 3)
    assert parse_input("8x", rng).shape == (8,)
    assert parse_input("8x", rng).std() > 0
    assert_close(parse_input("[[0.1, 0.5]]", rng), [[0.1, 0.5]])
    assert_close(parse_input("2.5", rng), 2.5)
    assert parse_input("[1, 0]", rng).dtype == jnp.int32
    for word in ("__import__('os')", "[1, 2", "[[1], [2, 3]]", "x8", "[" * 100_000):
        with pytest.raises(ValueError, match="parse_input: an input is a shape such as 2x8x3"):
            parse_input(word, rng)
    for word in ('"text"', "null", '{"a": 1}'):
        with pytest.raises(ValueError, match="parse_input: an input has numbers only"):
            parse_input(word, rng)


def test_required_inputs():
    assert required_inputs(lambda x, y, z=1: x, "f") == 2
    assert required_inputs(jnp.sin, "sin") == 1
    with pytest.raises(ValueError, match="m:f needs train by keyword"):
        required_inputs(lambda x, *, train: x, "m:f")
    with pytest.raises(ValueError, match="m:f has no required parameter; give the inputs"):
        required_inputs(lambda *xs: xs, "m:f")
    with pytest.raises(ValueError, match="m:f does not tell its parameters; give the inputs"):
        required_inputs(max, "m:f")
