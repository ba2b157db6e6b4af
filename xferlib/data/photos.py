"""
Real photographs, read without a download from the packages scikit-image and scikit-learn.

``TRAIN`` and ``TEST`` are fixed and share no picture: what is trained on the one is judged on the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from types import MappingProxyType

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF


@dataclass(frozen=True)
class Origin:
    """
    Where a photograph comes from and what may be done with it.

    Parameters
    ----------
    title : str
        What the picture shows.
    author : str
        Who made it, as far as its distributor records.
    terms : str
        The licence, or what its distributor says of the rights.
    source : str
        Address of the original, or of the page that describes it.
    """

    title: str
    author: str
    terms: str
    source: str


_CC0 = "CC0 1.0"
_CC_BY = "CC BY 2.0"
_PUBLIC = "public domain"
_FREE = "no known copyright restrictions"
_SCIKIT_IMAGE = "https://scikit-image.org/docs/stable/api/skimage.data.html"

ORIGINS = MappingProxyType(
    {
        "astronaut": Origin("Astronaut Eileen Collins", "NASA", _PUBLIC, "https://flic.kr/p/r9qvLn"),
        "brick": Origin("Brick wall", "CC0Textures", _CC0, "https://cc0textures.com/view.php?tex=Bricks25"),
        "camera": Origin("Photographer with a tripod", "Lav Varshney", _CC0, _SCIKIT_IMAGE),
        "chelsea": Origin("Chelsea the cat", "Stefan van der Walt", _CC0, _SCIKIT_IMAGE),
        "china": Origin(
            "Tower above a lake in China",
            "danielbuechele",
            _CC_BY,
            "https://www.flickr.com/photos/danielbuechele/6061409035/",
        ),
        "coffee": Origin("Coffee cup", "Rachel Michetti, Pikolo Espresso Bar", _CC0, _SCIKIT_IMAGE),
        "coins": Origin(
            "Greek coins from Pompeii",
            "Brooklyn Museum Collection",
            _FREE,
            "https://www.brooklynmuseum.org/opencollection/archives/image/51611",
        ),
        "flower": Origin(
            "Dahlia in flower",
            "vultilion",
            _CC_BY,
            "https://www.flickr.com/photos/vultilion/6056698931/",
        ),
        "grass": Origin("Grass", "linolafett", _CC0, "https://www.deviantart.com/linolafett/art/Grass-01-434853879"),
        "gravel": Origin("Gravel", "CC0Textures", _CC0, "https://cc0textures.com/view.php?tex=Gravel04"),
        "hubble_deep_field": Origin(
            "Hubble eXtreme Deep Field",
            "NASA, HubbleSite",
            _PUBLIC,
            "http://hubblesite.org/newscenter/archive/releases/2012/37/image/a/",
        ),
        "immunohistochemistry": Origin(
            "Stained colonic glands under the microscope",
            "Center for Microscopy And Molecular Imaging (CMMI)",
            _FREE,
            _SCIKIT_IMAGE,
        ),
        "moon": Origin("Surface of the moon", "not recorded", "no licence stated: give credit", _SCIKIT_IMAGE),
        "motorcycle": Origin(
            "Motorcycle, left view of a stereo pair (Middlebury 2014)",
            "D. Scharstein and others, Middlebury College",
            "no licence stated: cite Scharstein et al., GCPR 2014",
            "http://vision.middlebury.edu/stereo/data/scenes2014/",
        ),
        "retina": Origin(
            "Fundus of a left eye",
            "Mikael Häggström",
            _CC0,
            "https://commons.wikimedia.org/wiki/File:Fundus_photograph_of_normal_left_eye.jpg",
        ),
        "rocket": Origin(
            "Falcon 9 before the launch of DSCOVR",
            "SpaceX",
            _PUBLIC,
            "https://www.flickr.com/photos/spacexphotos/16511594820/",
        ),
        "text": Origin(
            "Handwriting seen at a slant",
            "not recorded",
            _PUBLIC,
            "https://en.wikipedia.org/wiki/File:Corner.png",
        ),
    }
)
"""Title, author, terms and source of every photograph, by name."""

TEST = ("astronaut", "chelsea", "china", "coins", "motorcycle")
"""Names of the photographs that nothing is trained on."""

NAMES = tuple(ORIGINS)
"""Names of all photographs."""

TRAIN = tuple(name for name in NAMES if name not in TEST)
"""Names of the photographs that may be trained on."""


@lru_cache(maxsize=len(NAMES))
def _decoded(name: str) -> Tensor:
    """Give the photograph as (3, H, W) uint8; it is cached, so it must not leave this module."""
    if name in ("china", "flower"):
        from sklearn.datasets import load_sample_image

        pixels = load_sample_image(f"{name}.jpg")
    else:
        import skimage.data

        pixels = skimage.data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(skimage.data, name)()
    picture = torch.tensor(pixels)
    return picture.permute(2, 0, 1).contiguous() if picture.ndim == 3 else picture.expand(3, -1, -1)


def load(name: str) -> Tensor:
    """
    Load a photograph.

    Parameters
    ----------
    name : str
        One of ``NAMES``.

    Returns
    -------
    Tensor, shape (3, H, W), float32
        The picture in [0, 1]; a grey one has three equal channels. The caller owns it.

    Raises
    ------
    ValueError
        If there is no photograph of this name.
    """
    if name not in ORIGINS:
        close = get_close_matches(str(name), NAMES, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"no photograph is named {name!r}; {hint}there are: {', '.join(NAMES)}")
    return _decoded(name) / 255


def square(image: Tensor, size: int) -> Tensor:
    """
    Bring a picture to a square.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].
    size : int
        Side to bring the largest square in its middle to, in pixels.

    Returns
    -------
    Tensor, shape (3, size, size)
        RGB in [0, 1], without aliasing.
    """
    middle = TF.center_crop(image, [min(image.shape[1:])] * 2)
    return TF.resize(middle, [size, size], antialias=True).clamp(0, 1)


def squares(names: Sequence[str], size: int = 256) -> Tensor:
    """
    Load photographs as squares of one size.

    Parameters
    ----------
    names : sequence of str
        Some of ``NAMES``.
    size : int
        Their side in pixels.

    Returns
    -------
    Tensor, shape (len(names), 3, size, size)
        RGB in [0, 1].
    """
    return torch.stack([square(load(name), size) for name in names])
