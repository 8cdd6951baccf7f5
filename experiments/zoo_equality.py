"""Every architecture of the zoo, held against PyTorch's values for the same weights and images.

tests/golden/zoo holds what torchvision's, timm's and the papers' models give in float64 for the
weights of zoo_recipe.py; here our models load these weights by `jaxcnn.weights.from_torch`. Printed
for each: the parameters of both, the largest relative difference of the logits and of each stage
in evaluation mode, and of logits, loss, gradients (by parameter group) and batch statistics in
training mode; there too, how many parameters have no gradient, and how far the loss's slope along a
drawn direction differs between forward (`jax.jvp`) and reverse mode.

Gradients are compared in float64: in float32 and batches of four, a value on the other side of a
ReLU's kink moves a whole channel, and PyTorch's own gradients of ResNet-50 differ by 8 % between
float32 and float64.

Command:  python experiments/zoo_equality.py
Hardware: 2 CPU cores (AMD EPYC), jax 0.10.2
Time:     about 10 to 60 s a model, most of it compilation; up to 12 minutes for those of `EAGER`
Result:   82 of 85 models recorded (results/zoo_equality.md; not efficientnet_b7, efficientnet_v2_l
          and regnet_y_128gf, for lack of time): all parameter counts equal; largest relative
          difference in evaluation, stages included, 3.1e-14 in float64 and 1.6e-5 in float32; in
          training, float64, 1.6e-12 of logits, 1.2e-11 of gradients, 3.5e-13 of statistics and
          3.3e-13 between the modes; every parameter has a gradient
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
import zoo_recipe as recipe
from flax import linen as nn
from flax.traverse_util import flatten_dict
from recording import recorded, save, save_table

from jaxcnn import models, weights
from jaxcnn.losses import cross_entropy
from jaxcnn.models.figures import measure
from jaxcnn.train.steps import AUXILIARY

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "zoo"
# Many wide depthwise convolutions: compiled for a CPU in float64 these ask for 8 to 20 GB, and
# operation by operation for less than 5.
EAGER = {"convnext_base", "convnext_large", "efficientnet_lite4"}
EAGER |= {f"efficientnet_{size}" for size in ("b4", "b5", "b6", "b7", "v2_s", "v2_m", "v2_l")}


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    names: tuple[str, ...] = ()
    """Models; by default all that have golden values. Others keep their rows of the record."""

    smoke: bool = False
    """Only a small model, and no record."""


def golden(name: str) -> dict[str, np.ndarray]:
    """PyTorch's values for a model."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def load(name: str, dtype: Any) -> tuple[nn.Module, Any, jax.Array]:
    """A model of ten classes without dropout, the recipe's weights and the recipe's images."""
    variables = weights.from_torch(name, recipe.state(name))
    variables = jax.tree.map(lambda v: np.asarray(v, dtype), variables)
    return recipe.model(name), variables, jnp.asarray(recipe.images(name), dtype)


def evaluated(name: str, values: dict[str, np.ndarray], dtype: Any) -> dict[str, float]:
    """Relative differences of each stage and the logits, in evaluation mode."""
    model, variables, x = load(name, dtype)
    stages = models.entry(name).stages

    @jax.jit
    def run(variables: Any, x: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        found: Any = model.apply(variables, x, capture_intermediates=True, mutable="intermediates")
        logits, captured = found
        flow: Any = flatten_dict(captured["intermediates"], sep="/")
        return logits, {stage: flow[f"{stage}/__call__"][0] for stage in stages}

    with jax.disable_jit(name in EAGER):
        logits, outputs = run(variables, x)
    differences = {
        stage: difference(recipe.sample(np.asarray(y)), values[f"eval.{stage}"])
        for stage, y in outputs.items()
    }
    return {**differences, "logits": difference(logits, values["eval"])}


def trained(name: str, values: dict[str, np.ndarray], dtype: Any) -> dict[str, float]:
    """Relative differences of logits, loss, gradients and batch statistics, in training mode.

    Also how many parameters have no gradient (not finite or all zero), and the relative difference
    of the loss's slope along a drawn direction in forward and in reverse mode.
    """
    model, variables, x = load(name, dtype)
    labels = jnp.asarray(recipe.labels())
    direction = jax.tree_util.tree_map_with_path(
        lambda path, v: recipe.draw(str(path), *v.shape).astype(dtype), variables["params"]
    )

    def loss(params: Any) -> tuple[jax.Array, Any]:
        found: Any = model.apply(
            {**variables, "params": params}, x, train=True, mutable=["batch_stats", "auxiliary"]
        )
        logits, updated = found
        losses = cross_entropy(logits, labels).mean()
        for y in jax.tree.leaves(updated.get("auxiliary", {})):
            losses += AUXILIARY * cross_entropy(y, labels).mean()
        return losses, (logits, updated.get("batch_stats", {}))

    @jax.jit
    def both_modes(params: Any, direction: Any) -> Any:
        value, gradient = jax.value_and_grad(loss, has_aux=True)(params)
        _, slope, _ = jax.jvp(loss, (params,), (direction,), has_aux=True)
        return value, gradient, slope

    with jax.disable_jit(name in EAGER):
        (value, (logits, stats)), gradient, slope = both_modes(variables["params"], direction)
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
    product = sum(float(jnp.vdot(g, d)) for g, d in pairs)
    state = weights.to_torch(name, {"params": gradient, "batch_stats": stats})
    running = {k: v for k, v in state.items() if "running" in k}
    rest = {k: v for k, v in state.items() if k not in running and v.dtype == dtype}
    return {
        "logits": difference(logits, values["train"]),
        "loss": difference(value, values["loss"]),
        "gradient": projected_difference(recipe.projections(rest), values["gradient"]),
        "stats": projected_difference(recipe.projections(running), values["stats"]),
        "no gradient": sum(not (np.isfinite(v).all() and v.any()) for v in rest.values()),
        "jvp - vjp": abs(float(slope) - product) / abs(product),
    }


def difference(ours: Any, theirs: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    ours = np.asarray(ours, np.float64)
    assert ours.shape == theirs.shape, f"{ours.shape} instead of {theirs.shape}"
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def projected_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference of a group's projection, relative to the group's norm."""
    assert ours.shape == theirs.shape, f"{ours.shape} instead of {theirs.shape}"
    norms = theirs[:, 1:]
    return float(np.max(np.abs(ours - theirs) / norms, initial=0))


def main(config: Config) -> dict[str, Any]:
    """Print a row for each model and return all of them."""
    known = sorted(path.stem for path in GOLDEN.glob("*.npz"))
    names = ("squeezenet1_1",) if config.smoke else config.names or known
    result = {} if config.smoke else recorded("zoo_equality")
    for part in (evaluation, training):
        for name in names:
            row = {k: rounded(v) for k, v in part(name).items()}
            result[name] = {**result.get(name, {}), **row}
            print(name, row, flush=True)
            jax.clear_caches()
            if not config.smoke:
                save("zoo_equality", result)
                rows = {k: columns(k, row) for k, row in sorted(result.items())}
                save_table("zoo_equality", rows)
    return result


def evaluation(name: str) -> dict[str, Any]:
    """Parameters, and differences in evaluation mode."""
    values = golden(name)
    row = {
        "parameters": measure(name).parameters,
        "PyTorch's": int(values["parameters"]),
        "evaluation in float32": evaluated(name, values, jnp.float32),
    }
    with jax.enable_x64(True):
        return {**row, "evaluation in float64": evaluated(name, values, jnp.float64)}


def training(name: str) -> dict[str, Any]:
    """Differences in training mode."""
    with jax.enable_x64(True):
        return {"training in float64": trained(name, golden(name), jnp.float64)}


def columns(name: str, row: dict[str, Any]) -> dict[str, str]:
    """A model's row of the record, for people: parameters, and relative differences."""
    single, double = row["evaluation in float32"], row["evaluation in float64"]
    trained = row.get("training in float64", {})
    told = {k: f"{v:.0e}" for k, v in trained.items()}
    return {
        "parameters": f"{row['parameters']:,}",
        "PyTorch's": format(row["PyTorch's"], ","),
        "logits, float32": f"{single['logits']:.0e}",
        "logits, float64": f"{double['logits']:.0e}",
        "stages, float32": ", ".join(f"{k} {single[k]:.0e}" for k in models.entry(name).stages),
        "gradients": told.get("gradient", ""),
        "statistics": told.get("stats", ""),
        "jvp - vjp": told.get("jvp - vjp", ""),
        "parameters without gradient": str(trained.get("no gradient", "")),
    }


def rounded(row: Any) -> Any:
    """Numbers of two digits."""
    return jax.tree.map(lambda v: float(f"{v:.1e}") if isinstance(v, float) else v, row)


if __name__ == "__main__":
    main(tyro.cli(Config))
