"""The options of a training run, as the command line and config.json hold them."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from jaxcnn.train.optimizers import OptimizerName
from jaxcnn.train.schedules import ScheduleName


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Options of `jaxcnn train`."""

    model: str = "lenet"
    """Model by name; `jaxcnn models` lists them, `jaxcnn summary NAME` shows one."""

    model_options: dict[str, str] = dataclasses.field(default_factory=dict)
    """Options of the model as NAME VALUE pairs, such as: drop_rate 0.2 widths [16,32,64]."""

    data: str = "digits"
    """Data set: digits, mnist, fashion-mnist, cifar10, cifar100, folder:PATH or synthetic."""

    data_path: Path | None = None
    """Directory of the data set's files; by default $JAXCNN_DATA, the caches, then a download."""

    image_size: int | None = None
    """Height and width in pixels; by default the images' own, or what the model needs."""

    epochs: int = 20
    """Passes over the training images, in all."""

    batch_size: int = 32
    """Images in an optimizer step."""

    weights: str | None = None
    """Checkpoint to start from: a file of torchvision's, timm's or ours, or hub:OWNER/NAME@..."""

    freeze: tuple[str, ...] = ()
    """Globs of parameters that stay as they are, such as: 'layer[123]/*' 'bn1/*'. Batch
    statistics go on following the data."""

    multipliers: dict[str, float] = dataclasses.field(default_factory=dict)
    """Learning-rate multipliers as GLOB FACTOR pairs, such as: 'fc/*' 10."""

    optimizer: OptimizerName = "adam"
    """Optimizer, from Optax."""

    learning_rate: float = 2e-3
    """Largest learning rate of the schedule."""

    schedule: ScheduleName = "cosine"
    """How the learning rate changes from step to step."""

    warmup_epochs: float = 1.0
    """Epochs of linear warm-up, for warmup-cosine."""

    decay_factor: float = 0.1
    """What step and exponential multiply the learning rate by."""

    decay_epochs: float = 10.0
    """Epochs between two such multiplications."""

    momentum: float = 0.9
    """Momentum, for momentum, nesterov and rmsprop."""

    weight_decay: float = 0.0
    """Weight decay of kernels; biases and norm scales are left out."""

    clip_norm: float | None = None
    """Largest global norm of a gradient; larger ones are scaled down."""

    label_smoothing: float = 0.0
    """Share of each label that is spread evenly over all classes."""

    pad_crop: int = 1
    """Largest random shift of a training image, in pixels; black beyond its edges. 0: none."""

    flip: bool = False
    """Flip each training image left to right with probability 1/2."""

    cutout: int = 0
    """Side of a square that is cut out of each training image, in pixels; 0: none."""

    mixup: float = 0.0
    """Mix training images and labels in pairs by a share from Beta(MIXUP, MIXUP); 0: none."""

    validation: float = 0.1
    """Share of the training images held out to validate after each epoch."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type that layers compute in; parameters and statistics stay in float32."""

    accumulate: int = 1
    """Batches whose mean gradient makes an optimizer step."""

    average: float = 0.0
    """Decay of a moving average of the weights (EMA), by which they are tested, such as 0.999;
    0: none."""

    mesh: str | None = None
    """Devices that share each batch, as data=N; by default all there are."""

    shard_optimizer: bool = False
    """Cut the optimizer's state over the devices, too."""

    batch_norm: Literal["synchronised", "per-device"] = "synchronised"
    """Statistics of the whole batch, as on one device, or of each device's part of it."""

    stream: bool = False
    """Read each batch when it is needed: a folder from the disk, whatever its size."""

    workers: int = 0
    """Processes that read a streamed folder; 0 reads in threads."""

    skip_corrupt: bool = False
    """Leave out images of a folder that cannot be read, and count them."""

    keep: int = 3
    """Newest checkpoints that are kept, beside the best."""

    checkpoint_steps: int | None = None
    """Batches after which a long epoch is saved in its middle, too."""

    seed: int = 0
    """Seed of parameters, shuffles, dropout and the validation split."""

    out: Path | None = None
    """Directory of the run; by default runs/DATE-TIME-MODEL-DATA."""

    def __post_init__(self) -> None:
        """Reject what no run can have, before anything is written."""
        rules = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "image_size": (self.image_size is None or self.image_size >= 1, "at least 1 pixel"),
            "learning_rate": (self.learning_rate > 0, "positive"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "clip_norm": (self.clip_norm is None or self.clip_norm > 0, "positive"),
            "label_smoothing": (0 <= self.label_smoothing <= 1, "in [0, 1]"),
            "pad_crop": (self.pad_crop >= 0, "0 or more pixels"),
            "cutout": (self.cutout >= 0, "0 or more pixels"),
            "mixup": (self.mixup >= 0, "0 or more"),
            "accumulate": (self.accumulate >= 1, "at least 1"),
            "average": (0 <= self.average < 1, "in [0, 1)"),
            "workers": (self.workers >= 0, "0 or more"),
            "keep": (self.keep >= 1, "at least 1"),
            "checkpoint_steps": (
                self.checkpoint_steps is None or self.checkpoint_steps >= 1,
                "at least 1",
            ),
            "validation": (0 <= self.validation < 1, "in [0, 1)"),
            "multipliers": (all(m >= 0 for m in self.multipliers.values()), "0 or more"),
            "seed": (0 <= self.seed < 2**32, "in [0, 2^32)"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise ValueError(f"train: {name} must be {rule}, got {getattr(self, name)}.")


def only_defaults(verb: str, config: TrainConfig, names: Sequence[str]) -> None:
    """Refuse options that a verb would not heed.

    Raises:
        ValueError: one of them is not at its default.
    """
    for name in names:
        default, value = getattr(TrainConfig(), name), getattr(config, name)
        if value != default:
            raise ValueError(f"{verb}: {name} must be {default}, got {value}.")


def to_json(config: TrainConfig) -> dict[str, Any]:
    """A config as plain JSON values."""
    values = dataclasses.asdict(config)
    return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}


def from_json(values: dict[str, Any]) -> TrainConfig:
    """The config that `to_json` wrote.

    Raises:
        ValueError: fields that this version does not know.
    """
    known = {field.name for field in dataclasses.fields(TrainConfig)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"config: unknown fields {', '.join(unknown)}.")
    paths = {
        name: Path(values[name]) for name in ("data_path", "out") if values.get(name) is not None
    }
    freeze = {"freeze": tuple(values.get("freeze", ()))}
    return TrainConfig(**{**values, **paths, **freeze})


def parse_options(options: dict[str, str]) -> dict[str, Any]:
    """Model options from the command line: JSON where it is JSON, text elsewhere.

    Example:
        >>> parse_options({"drop_rate": "0.2", "widths": "[16, 32]", "name": "x"})
        {'drop_rate': 0.2, 'widths': (16, 32), 'name': 'x'}
    """

    def value(text: str) -> Any:
        try:
            parsed = json.loads(text)
        except json.JSONDecodeError:
            return text
        return tuple(parsed) if isinstance(parsed, list) else parsed

    return {name: value(text) for name, text in options.items()}
