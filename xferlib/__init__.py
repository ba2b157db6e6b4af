"""Dense prediction and image transfer: the library of the executable book *Image Transfer*."""

from xferlib._torchvision import declare_missing_operators

__version__ = "0.1.0"

_torchvision_operators = declare_missing_operators()
