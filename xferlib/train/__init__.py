"""Training: the loop (`fit`), streams of samples, schedules, and the recipes of the shipped nets."""

from xferlib.train.checkpoint import CheckpointError
from xferlib.train.fit import History, Progress, fit
from xferlib.train.recipe import Recipe, RecipeError
from xferlib.train.schedule import constant, cosine, poly, restarts
from xferlib.train.stream import Shuffled, shuffled
from xferlib.train.study import Study

__all__ = [
    "CheckpointError",
    "History",
    "Progress",
    "Recipe",
    "RecipeError",
    "Shuffled",
    "Study",
    "constant",
    "cosine",
    "fit",
    "poly",
    "restarts",
    "shuffled",
]
