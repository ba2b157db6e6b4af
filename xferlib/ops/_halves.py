"""Floats, also of two bytes, which are for keeping: too coarse for long sums, unknown to many a kernel of the CPU."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

_Function = TypeVar("_Function", bound=Callable[..., Any])


def wide(x: Tensor) -> Tensor:
    """Bring floats of two bytes to float32; those of four and eight stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def exact(function: _Function) -> _Function:
    """Have a function of tensors compute in their precision, also where autocast asks for less."""

    @wraps(function)
    def computed(*given: Any, **named: Any) -> Any:
        device = next((x.device.type for x in (*given, *named.values()) if isinstance(x, Tensor)), "cpu")
        if not torch.amp.is_autocast_available(device):  # as on "meta"
            return function(*given, **named)
        with torch.autocast(device, enabled=False):
            return function(*given, **named)

    return computed


def check_floats(x: Tensor, name: str = "images") -> None:
    """Refuse bytes and other whole numbers."""
    if not x.is_floating_point():
        raise ValueError(f"{name} are {x.dtype}; expected floats: {name} / 255 makes them of bytes")
