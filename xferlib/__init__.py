"""Dense prediction and image transfer: the library of the executable book *Image Transfer*."""

from typing import TYPE_CHECKING, Any

from xferlib._torchvision import declare_missing_operators

if TYPE_CHECKING:
    from xferlib.zoo import apply

__all__ = ["apply"]
__version__ = "0.1.0"

_torchvision_operators = declare_missing_operators()


def __getattr__(name: str) -> Any:
    """Import `apply` when it is asked for, so that importing one module does not import all."""
    if name == "apply":
        from xferlib.zoo import apply

        return apply
    raise AttributeError(f"module 'xferlib' has no attribute {name!r}")
