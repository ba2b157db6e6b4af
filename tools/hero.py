"""Draw the picture of the landing page: a street that turns into its labels, class by class."""

import torch
from torch import Tensor

from tools.notebooks import ROOT
from xferlib import viz
from xferlib.data import images, streets

SEED, HEIGHT, WIDTH = 60, 600, 1600
# Where each class has half turned, from left to right: things turn at different places.
TURNS = dict(
    sky=0.62, building=0.30, pole=0.22, road=0.50, pavement=0.44, tree=0.56, sign=0.30, fence=0.26, car=0.40,
    pedestrian=0.36, bicyclist=0.28,
)  # fmt: skip


def hero(seed: int = SEED, softness: float = 0.05) -> Tensor:
    """Blend a drawn street into its painted labels: (3, HEIGHT, WIDTH) in [0, 1]."""
    image, labels = streets.draw(seed, HEIGHT, WIDTH)
    painted = viz.colorize(labels, streets.PALETTE)
    turns = torch.tensor([TURNS[name] for name in streets.CLASSES])[labels]
    share = torch.sigmoid((torch.linspace(0, 1, WIDTH) - turns) / softness)
    return image + share * (painted - image)


if __name__ == "__main__":
    images.write(ROOT / "_static" / "hero.jpg", hero(), quality=88)
