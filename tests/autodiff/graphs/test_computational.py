import xml.etree.ElementTree as ET

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array
from jaxcnn import functional as F
from jaxcnn import losses, models
from jaxcnn.autodiff.graphs import gates
from jaxcnn.autodiff.graphs.computational import graph


def textbook(x1, x2):
    return jnp.log(x1) + x1 * x2 - jnp.sin(x2)


def shown(found):
    """The texts of every box, by the text of its first line and its number."""
    return [[line.text for line in box.lines] for box in found.drawing.boxes]


def lenet():
    model = models.create("lenet")
    x = array(2, 28, 28, 1)
    variables = jax.jit(model.init)(jax.random.key(0), x)

    def loss(params, images):
        return losses.cross_entropy(model.apply(params, images), jnp.array([1, 2])).mean()

    return loss, variables, x


def test_the_textbooks_graph():
    found = graph(textbook, 2.0, 5.0, title="textbook")
    assert shown(found) == [
        ["x1", "v₋₁ = 2", "v̇₋₁ = 1", "v̄₋₁ = 5.5", "used 2×: adds"],
        ["x2", "v₀ = 5", "v̇₀ = 0", "v̄₀ = 1.716", "used 2×: adds"],
        ["ln", "v₁ = 0.693", "v̇₁ = 0.5", "v̄₁ = 1", "scales"],
        ["×", "v₂ = 10", "v̇₂ = 5", "v̄₂ = 1", "swaps"],
        ["sin", "v₃ = -0.959", "v̇₃ = 0", "v̄₃ = -1", "scales"],
        ["+", "v₄ = 10.693", "v̇₄ = 5.5", "v̄₄ = 1", "distributes"],
        ["−", "v₅ = 11.652", "v̇₅ = 5.5", "v̄₅ = 1", "distributes"],
        ["y", "11.652"],
    ]
    edges = {(e.source, e.target): e.label for e in found.drawing.edges}
    assert edges["v0", "s0"] == "×0.5"
    assert edges["v1", "s1"] == "×2"
    assert len(edges) == 9
    assert all(claim.holds for claim in found.claims)
    root = ET.fromstring(found.svg())
    texts = "".join(root.itertext())
    for word in ("textbook", "x1", "swaps", "11.652"):
        assert word in texts
    assert found.dot().startswith("digraph")
    assert found._repr_svg_() == found.svg()


def test_modes_leave_out_what_was_not_asked():
    forward = graph(textbook, 2.0, 5.0, modes=("forward",))
    assert shown(forward)[0] == ["x1", "v₋₁ = 2", "v̇₋₁ = 1"]
    assert forward.claims == ()
    reverse = graph(textbook, 2.0, 5.0, modes=("reverse",))
    assert shown(reverse)[0] == ["x1", "v₋₁ = 2", "v̄₋₁ = 5.5", "used 2×: adds"]


def test_graph_of_the_jvp_computes_it():
    found = graph(textbook, 2.0, 5.0, of="jvp", wrt="x2")
    boxes = shown(found)
    assert [box[0] for box in boxes[:4]] == ["x1", "x2", "ẋ1", "ẋ2"]
    assert boxes[-2:] == [["y", "11.652"], ["ẏ", "1.716"]]


def test_graph_of_the_gradient_computes_it():
    found = graph(textbook, 2.0, 5.0, of="gradient")
    assert shown(found)[-2:] == [["x̄1", "5.5"], ["x̄2", "1.716"]]


def test_ties_are_shown():
    f = lambda x, y: jnp.maximum(x, y) + jnp.max(jnp.stack([x, y, x])) + jax.nn.relu(x - y)  # noqa: E731
    notes = [box[-1] for box in shown(graph(f, 3.0, 3.0))]
    assert "routes (1 tie)" in notes
    assert "routes (2 ties)" in notes
    assert "routes (1 at zero, where it stops)" in notes
    apart = [box[-1] for box in shown(graph(f, 3.0, 4.0))]
    assert "routes" in apart


def test_ties_of_windows():
    x = jnp.array([[1.0, 1, 2, 3], [0, 1, 4, 4], [5, 6, 7, 8], [9, 9, 9, 9]])
    found = graph(lambda x: F.max_pool(x, 2).sum(), x[None, :, :, None])
    (claim,) = [c for c in found.claims if "window" in c.says]
    assert claim.holds
    assert "(4 ties)" in claim.says
    overlapping = graph(lambda x: F.max_pool(x, 3, stride=1, padding=1).sum(), x[None, :, :, None])
    (claim,) = [c for c in overlapping.claims if "window" in c.says]
    values = np.pad(np.asarray(x), 1, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(values, (3, 3)).reshape(16, 9)
    ties = sum((w == w.max()).sum() > 1 for w in windows)
    assert f"({ties} ties)" in claim.says


GATES = [
    (lambda a, b: a + b, "distributes"),
    (lambda a, b: a - b, "distributes"),
    (lambda a, b: a * b, "swaps"),
    (jnp.maximum, "routes"),
    (jnp.minimum, "routes"),
    (lambda a, b: jax.nn.relu(a) + b, "routes"),
    (lambda a, b: a @ b.T, "swaps"),
    (lambda a, b: jnp.einsum("ij,kj->ik", a, b), "swaps"),
    (lambda a, b: jnp.tanh(a) / b, "scales"),
    (lambda a, b: a.sum(axis=0) + b.max(axis=1)[0], "distributes"),
    (lambda a, b: a.max(axis=1, keepdims=True) * b, "routes"),
    (lambda a, b: a[:1] * b, "swaps"),
    (lambda a, b: a.T @ b, "rearranges"),
    (lambda a, b: a.sum(axis=0) @ b.max(axis=0), "distributes"),
    (lambda a, b: a * 0.1 + a * 0.2 - a * 0.3 + b, "adds"),
    (lambda a, b: ((a - a.mean(axis=0)) / jnp.sqrt(a.var(axis=0) + 1e-5)).sum() + b, "scales"),
]


@pytest.mark.parametrize(("f", "gate"), GATES)
def test_claims_hold_on_arrays(f, gate):
    with jax.enable_x64(True):
        args = array(3, 3), array(3, 3, seed=1)
        found = graph(f, *args, cotangents=None)
    assert gate in [claim.gate for claim in found.claims]
    for claim in found.claims:
        assert claim.holds, claim


@pytest.mark.parametrize("name", ["add", "sub", "mul", "max", "min", "relu", "reduce_sum"])
def test_claims_can_fail(name, monkeypatch):
    """With another gate's rule in its place, a gate's claim is found to be wrong."""
    gate, says, _ = gates.GATES[name]
    wrong = gates.GATES["add" if name == "sub" else "sub"][2]
    if name in ("relu", "reduce_sum"):
        wrong = lambda facts: [gates.Pair(2 * facts.parts[0], facts.parts[0])]  # noqa: E731
    monkeypatch.setitem(gates.GATES, name, (gate, says, wrong))
    fs = {
        "add": jnp.add,
        "sub": jnp.subtract,
        "mul": jnp.multiply,
        "max": jnp.maximum,
        "min": jnp.minimum,
        "relu": lambda a, b: jax.nn.relu(a),
        "reduce_sum": lambda a, b: a.sum(),
    }
    found = graph(fs[name], np.array([0.5, 2.0]), np.array([1.5, 1.0]))
    broken = [claim for claim in found.claims if not claim.holds]
    assert [claim.gate for claim in broken] == [gate]
    assert any("FAILS by" in text for box in shown(found) for text in box)


def test_lenets_layers_are_its_boxes():
    loss, variables, x = lenet()
    found = graph(loss, variables, x)  # more than 30 operations
    titles = [box[0] for box in shown(found)]
    layers = "conv1 relu1 pool1 conv2 relu2 pool2 flatten dense1 relu3 dense2 relu4 logits".split()
    assert titles[0] == "images"
    assert sorted(titles[1:13]) == sorted(layers)
    assert titles[-1] == "y"
    assert len(titles) == 15  # and one box for the loss
    (conv1,) = [box for box in shown(found) if box[0] == "conv1"]
    assert "kernel 5×5×1×6" in conv1
    assert "v₇ = f32[2,28,28,6]" in conv1
    assert all(claim.holds for claim in found.claims)
    assert len(found.claims) > 25
    assert {box.group for box in found.drawing.boxes} == {"", "LeNet"}
    ET.fromstring(found.svg())


def test_lenets_gradient():
    loss, variables, x = lenet()
    found = graph(loss, variables, x, of="gradient")
    titles = [box[0] for box in shown(found)]
    assert "conv1" in titles
    assert "conv1, backwards" in titles
    (back,) = [box for box in shown(found) if box[0] == "conv1, backwards"]
    assert "kernel (adjoint) 5×5×1×6" in back
    assert titles[-1] == "images (adjoint)"


@pytest.mark.slow
def test_lenets_operations():
    loss, variables, x = lenet()
    operations = graph(loss, variables, x, layers=False)
    assert len(operations.drawing.boxes) > 45
    ET.fromstring(operations.svg())


def test_a_module_used_twice_makes_no_cycle():
    def f(x):
        for _ in range(2):
            with jax.named_scope("shared"):
                x = jnp.sin(x)
            with jax.named_scope("other"):
                x = x * 2
        return x

    titles = [box[0] for box in shown(graph(f, 1.0, layers=True))]
    assert titles == ["x", "shared", "other", "shared", "other", "y"]


def test_save(tmp_path):
    found = graph(textbook, 2.0, 5.0)
    for ending, start in ((".svg", "<svg"), (".dot", "digraph")):
        path = found.save(tmp_path / f"graph{ending}")
        assert path.read_text("utf-8").startswith(start)
    with pytest.raises(ValueError, match=r"ends in .svg or .dot, got 'graph.png'"):
        found.save(tmp_path / "graph.png")
    with pytest.raises(ValueError, match="graph: of is .* got 'hessian'"):
        graph(textbook, 2.0, 5.0, of="hessian")
    with pytest.raises(ValueError, match="graph: modes are"):
        graph(textbook, 2.0, 5.0, modes=("backward",))
