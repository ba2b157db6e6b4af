"""Let torchvision import beside a PyTorch whose build its compiled operators were not made for.

torchvision's Linux wheels are linked against CUDA. Beside a CPU-only PyTorch their operators do not load, and
``import torchvision`` stops at "operator torchvision::nms does not exist". Declaring the schemas of the two
operators that torchvision registers at import is enough for its transforms, models, datasets and utilities.
"""

from importlib.util import find_spec
from pathlib import Path

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def _compiled_operators_load() -> bool:
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True
    for library in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return False
    return hasattr(torch.ops.torchvision, "nms")


def declare_missing_operators() -> "torch.library.Library | None":
    """
    Declare torchvision's operators where its compiled library does not load.

    Returns
    -------
    torch.library.Library or None
        The library that holds the declarations, to be kept alive by the caller; None where nothing was missing.
    """
    if _compiled_operators_load():
        return None
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS.values():
        library.define(schema)
    return library
