"""What a config stands for: the model, its schedule and optimizer, and the state they start in."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxcnn import models, weights
from jaxcnn.losses import cross_entropy
from jaxcnn.train.config import TrainConfig, parse_options
from jaxcnn.train.inputs import Input
from jaxcnn.train.optimizers import make_optimizer
from jaxcnn.train.schedules import Schedule, make_schedule
from jaxcnn.train.steps import State, create_state


def make_model(config: TrainConfig, classes: int) -> nn.Module:
    """The model, with an output for each class."""
    return models.create(config.model, num_classes=classes, **model_options(config))


def model_options(config: TrainConfig) -> dict[str, Any]:
    """The model's options but `num_classes`."""
    options = parse_options(config.model_options)
    for name, source in {"num_classes": "the data set", "dtype": "the option dtype"}.items():
        if name in options:
            raise ValueError(f"train_run: {name} comes from {source}, not from model_options.")
    if config.dtype != "float32":
        options["dtype"] = config.dtype
    return options


def schedule_of(config: TrainConfig, images: int) -> Schedule:
    """The learning rate of each update of the optimizer, for so many training images."""
    return make_schedule(
        config.schedule,
        config.learning_rate,
        epochs=config.epochs,
        steps_per_epoch=max(images // config.batch_size, 1) / config.accumulate,
        warmup_epochs=config.warmup_epochs,
        decay_factor=config.decay_factor,
        decay_epochs=config.decay_epochs,
    )


def optimizer_of(
    config: TrainConfig, learning_rate: float | Schedule
) -> optax.GradientTransformation:
    """The optimizer, its updates made of `accumulate` batches each."""
    optimizer = make_optimizer(
        config.optimizer,
        learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        freeze=config.freeze,
        multipliers=config.multipliers,
    )
    if config.accumulate > 1 and config.optimizer == "lbfgs":
        raise ValueError("train: lbfgs searches along lines of one batch, got accumulate > 1.")
    return accumulating(optimizer, config.accumulate)


def accumulating(
    optimizer: optax.GradientTransformation, batches: int
) -> optax.GradientTransformation:
    """An optimizer whose updates are made of the mean gradient of so many batches."""
    if batches == 1:
        return optimizer
    return optax.MultiSteps(optimizer, batches).gradient_transformation()


def start_weights(config: TrainConfig, fed: Input) -> Any:
    """The variables of the checkpoint that training starts from, None where there is none."""
    if config.weights is None:
        return None
    return weights.load(
        config.model,
        config.weights,
        num_classes=len(fed.classes),
        input_shape=fed.shape,
        key=jax.random.key(config.seed),
        **model_options(config),
    )


def start_state(
    config: TrainConfig,
    fed: Input,
    optimizer: optax.GradientTransformation,
    variables: Any = None,
) -> State:
    """The state before the first step, of drawn weights where no variables are given."""
    return create_state(
        make_model(config, len(fed.classes)),
        optimizer,
        jax.random.key(config.seed),
        jax.ShapeDtypeStruct((1, *fed.shape), jnp.float32),
        loss=partial(cross_entropy, label_smoothing=config.label_smoothing),
        variables=variables,
        average=config.average,
    )
