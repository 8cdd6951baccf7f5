"""Training: a pure jitted step, evaluation, the loop around them, and whole runs."""

from jaxcnn.train.checkpoints import restore, restore_variables, writing
from jaxcnn.train.config import TrainConfig, parse_options
from jaxcnn.train.diagnosis import diagnose
from jaxcnn.train.directories import read_config
from jaxcnn.train.features import dataset_features, extract, photo_features, save_features
from jaxcnn.train.guesses import Guess, predict_pretrained, predict_run
from jaxcnn.train.loop import Fit, fit
from jaxcnn.train.optimizers import make_optimizer
from jaxcnn.train.parallel import Layout, make_layout
from jaxcnn.train.ranges import Range, learning_rate_range
from jaxcnn.train.runs import evaluate_run, load_run, train_run
from jaxcnn.train.schedules import make_schedule
from jaxcnn.train.searches import Search
from jaxcnn.train.steps import Evaluation, State, create_state, evaluate, predict, train_step
from jaxcnn.train.sweeps import sweep

__all__ = [
    "Evaluation",
    "Fit",
    "Guess",
    "Layout",
    "Range",
    "Search",
    "State",
    "TrainConfig",
    "create_state",
    "dataset_features",
    "diagnose",
    "evaluate",
    "evaluate_run",
    "extract",
    "fit",
    "learning_rate_range",
    "load_run",
    "make_layout",
    "make_optimizer",
    "make_schedule",
    "parse_options",
    "photo_features",
    "predict",
    "predict_pretrained",
    "predict_run",
    "read_config",
    "restore",
    "restore_variables",
    "save_features",
    "sweep",
    "train_run",
    "train_step",
    "writing",
]
