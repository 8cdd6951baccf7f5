import jax
import jax.numpy as jnp
import pytest
import tyro

from jaxcnn import losses, models
from jaxcnn.cli.gradchecks import gradcheck
from jaxcnn.models import example_loss


def call(*arguments):
    return tyro.cli(gradcheck, args=arguments)


def test_function_with_random_inputs(capsys):
    assert call("jaxcnn.losses:mse") == 0
    said = capsys.readouterr().out
    assert said.startswith("mse: 16 inputs, 8 outputs, float64")
    assert "order 2, reverse over forward" in said


def test_function_with_inputs(capsys):
    words = ("jaxcnn.losses:nll", "[[-0.5, -1.5]]", "[1]", "--order", "1", "--modes", "reverse")
    assert call(*words) == 0
    said = capsys.readouterr().out
    assert "2 inputs, 1 output" in said
    assert "forward" not in said
    assert "order 2" not in said


def test_wrong_gradient_is_exit_code_1(capsys, tmp_path, monkeypatch):
    (tmp_path / "wrong_rule.py").write_text(
        "import jax\n"
        "f = jax.custom_jvp(lambda x: x * x)\n"
        "f.defjvp(lambda p, t: (f(p[0]), p[0] * t[0]))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert call("wrong_rule:f", "[3.0, 2.0]", "--order", "1", "--dtype", "float32") == 1
    said = capsys.readouterr().out
    assert "float32" in said
    assert "d output[0] / d args[0][0]: expected 6, found 3" in said


def test_model(capsys):
    assert call("--model", "tiny", "--seed", "3") == 0
    said = capsys.readouterr().out
    assert "loss: 30 inputs, 1 output" in said
    assert "order 2" not in said


def test_example_loss_is_the_mean_cross_entropy():
    loss, params, images = example_loss("tiny", 1)
    keys = jax.random.split(jax.random.key(1), 3)
    assert images.shape == (2, 3, 3, 1)
    model = models.create("tiny")
    logits = model.apply({"params": params}, images, train=False)
    labels = jax.random.randint(keys[2], (2,), 0, logits.shape[1])
    assert jnp.allclose(loss(params, images), losses.cross_entropy(logits, labels).mean())


def test_errors():
    with pytest.raises(ValueError, match="takes MODULE:FUNCTION or --model NAME, got neither"):
        call()
    with pytest.raises(ValueError, match="takes MODULE:FUNCTION or --model NAME, got both"):
        call("jax.numpy:sin", "--model", "tiny")
    with pytest.raises(ValueError, match="order must be an integer >= 1, got 0"):
        call("jax.numpy:sin", "--order", "0")
    with pytest.raises(ValueError, match="numpy:sin is no function that JAX can trace"):
        call("numpy:sin", "0.5")
    with pytest.raises(ValueError, match="no model named 'lenett'"):
        call("--model", "lenett")
