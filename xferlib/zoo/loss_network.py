"""The loss network: the net whose features the perceptual losses of the book compare."""

from urllib.error import URLError

from torch import nn

from xferlib.nets.vgg import POOLINGS, VGG
from xferlib.zoo.weights import load

_NAMES = ("slim", "vgg19")
_SHIPPED = "loss-network"
_VGG19 = (2, 2, 4, 4, 4)


def loss_network(name: str = "slim", pooling: str | None = None) -> VGG:
    """
    Give a loss network: a frozen VGG that is called as ``net(images, layers)``.

    Parameters
    ----------
    name : {"slim", "vgg19"}
        The shipped net, a slim VGG-19 that ends with ``relu5_2``, or VGG-19 with torchvision's ImageNet weights, which
        are downloaded when they are first asked for. Both take RGB in [0, 1] and normalise it themselves.
    pooling : {"max", "average"}, optional
        How the maps are pooled; by default as the net was trained, "average" for the slim one, "max" for VGG-19.

    Returns
    -------
    VGG
        The net in evaluation mode, the caller's own. Its weights ask for no gradient; one reaches the images. A layer
        is ``convK_I`` before its ReLU and ``reluK_I`` after it, where each filter of the slim net has a mean of 1 over
        photographs, or less if it is faint.

    Raises
    ------
    ValueError
        If there is no such net or pooling.
    ConnectionError
        If the weights of VGG-19 are not on this machine and cannot be downloaded.
    ZooError
        If the shipped weights are missing or damaged.

    References
    ----------
    Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016, section 2.
    """
    if name not in _NAMES:
        raise ValueError(f"no loss network is named {name!r}; there are {', '.join(map(repr, _NAMES))}")
    if pooling not in (None, *POOLINGS):
        raise ValueError(f"pooling {pooling!r} is none of {', '.join(map(repr, POOLINGS))}")
    net = load(_SHIPPED) if name == "slim" else _vgg19()
    for layer in list(net._modules) if pooling else ():
        if layer.startswith("pool"):
            setattr(net, layer, POOLINGS[pooling](2, ceil_mode=True))
    return net.requires_grad_(False)


def _vgg19() -> VGG:
    """Build VGG-19 with torchvision's weights, whose convolutions are numbered rather than named."""
    from torchvision.models import VGG19_Weights

    try:
        weights = VGG19_Weights.DEFAULT.get_state_dict(progress=False)
    except (URLError, OSError) as error:
        raise ConnectionError(
            f"the ImageNet weights of VGG-19 could not be downloaded ({error}); go online once, or use the net that is "
            'shipped: loss_network("slim")'
        ) from error
    net = VGG(convs=_VGG19, normalise=True)
    convs = [layer for layer in net.children() if isinstance(layer, nn.Conv2d)]
    numbers = sorted({int(key.split(".")[1]) for key in weights if key.startswith("features.")})
    for conv, number in zip(convs, numbers, strict=True):
        conv.load_state_dict({part: weights[f"features.{number}.{part}"] for part in ("weight", "bias")})
    return net.eval()
