"""Every architecture of the zoo trains, and what a training step of it costs to compile.

Small images (zoo_recipe.py), ten classes, fresh parameters: two steps of gradient descent with
a tenth of Polyak's step length must lower the loss. The cost is that of `train_step` with Adam for
8 images of the model's usual size and its usual classes: the seconds that XLA compiles, and the
memory that the compiled step needs (arguments, results and temporaries, from its memory analysis;
nothing runs). That every parameter has a gradient, the same in both modes, is zoo_equality.py's.

Command:  python experiments/zoo_training.py
Hardware: 2 CPU cores (AMD EPYC), shared with other work, jax 0.10.2
Time:     about 20 to 300 s a model, most of it compilation
Result:   82 of 85 models recorded (results/zoo_training.md; not efficientnet_b7, efficientnet_v2_l
          and regnet_y_128gf, for lack of time), each with a lower loss after two steps; a step
          compiles in 2.3 s (AlexNet) to 102 s (DenseNet-201), in 12 s at the median, and needs
          24 MB (ResNet-20) to 24.7 GB (EfficientNet-B6 at 528 pixels)
"""

import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax
import tyro
import zoo_recipe as recipe
from recording import recorded, save, save_table

from jaxcnn import models
from jaxcnn.train import create_state, train_step

BATCH = 8  # images of the step whose cost is told


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    names: tuple[str, ...] = ()
    """Models; by default all that have stages. Others keep their rows of the record."""

    smoke: bool = False
    """Only a tiny model, and no record."""


def trained(name: str) -> dict[str, float]:
    """The loss before and after two steps."""
    x = jnp.asarray(recipe.images(name))
    batch = {"image": x, "label": jnp.asarray(recipe.labels())}
    optimizer = optax.chain(optax.scale_by_polyak(max_learning_rate=10.0), optax.sgd(0.1))
    state = create_state(recipe.model(name), optimizer, jax.random.key(0), x)
    losses = []
    for _ in range(3):
        state, metrics = train_step(state, batch)
        losses.append(float(metrics["loss"]))
    return {"loss before": losses[0], "loss after": losses[2]}


def cost(name: str) -> dict[str, float]:
    """Seconds to compile a training step of 8 images of the usual size, and its memory in MB."""
    model, shape = models.create(name), models.entry(name).input_shape
    image = jax.ShapeDtypeStruct((BATCH, *shape), jnp.float32)
    label = jax.ShapeDtypeStruct((BATCH,), jnp.int32)

    structures = []

    def fresh(key: jax.Array) -> list[Any]:
        leaves, structure = jax.tree.flatten(create_state(model, optax.adam(1e-3), key, image))
        structures.append(structure)
        return leaves

    def step(leaves: list[Any], batch: Any) -> list[Any]:
        return jax.tree.leaves(train_step(jax.tree.unflatten(structures[0], leaves), batch))

    leaves = jax.eval_shape(fresh, jax.random.key(0))
    lowered = jax.jit(step).lower(leaves, {"image": image, "label": label})
    began = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - began
    memory: Any = compiled.memory_analysis()
    total = memory.argument_size_in_bytes + memory.output_size_in_bytes
    total += memory.temp_size_in_bytes - memory.alias_size_in_bytes
    return {"compile seconds": round(seconds, 1), "memory MB": round(total / 1e6)}


def main(config: Config) -> dict[str, Any]:
    """Print a row for each model and return all of them."""
    known = [name for name in models.names() if models.entry(name).stages]
    names = ("tiny",) if config.smoke else config.names or known
    result = {} if config.smoke else recorded("zoo_training")
    for name in names:
        row = {**trained(name), **cost(name)}
        result[name] = {k: v if isinstance(v, int) else float(f"{v:.4g}") for k, v in row.items()}
        print(name, result[name], flush=True)
        jax.clear_caches()
        if not config.smoke:
            save("zoo_training", result)
            save_table("zoo_training", dict(sorted(result.items())))
    return result


if __name__ == "__main__":
    main(tyro.cli(Config))
