"""The shipped nets: what there is, checked loading, saving, and applying one to a picture."""

from xferlib.zoo.inference import apply, probabilities
from xferlib.zoo.loss_network import loss_network
from xferlib.zoo.manifest import Row, ZooError, row, rows
from xferlib.zoo.weights import load, save

__all__ = ["Row", "ZooError", "apply", "load", "loss_network", "probabilities", "row", "rows", "save"]
