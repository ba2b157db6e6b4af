"""Style transfer by optimisation: our loss network against VGG-19's, and our defaults against the paper's recipe."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import process_time

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import Row, command, pair
from xferlib.data import paintings, photos
from xferlib.losses.perceptual import LossNetwork, Targets, Weights, perceptual_loss, style_targets
from xferlib.nets.vgg import VGG
from xferlib.train.recipes.styles import WEIGHTS
from xferlib.train.stylize import CONTENT_LAYERS, STYLE_LAYERS, Progress, stylize
from xferlib.zoo.loss_network import loss_network

SIDE = 256
PAIRS = (("china", "impasto"), ("astronaut", "stained-glass"), ("chelsea", "woodcut"))
PLAIN_STEPS, STEPS, CLOSE = 100, (20, 20, 100), 1.02
"""Evaluations of the paper's recipe and of ours; both are timed to two per cent above the recipe's least loss."""


def iteration(net: LossNetwork) -> Callable[[], object]:
    """
    Prepare one iteration: the loss of a picture of 256x256 and its gradient.

    Parameters
    ----------
    net : callable
        The loss network, with VGG-19's layers.

    Returns
    -------
    callable
        The work.
    """
    image = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weights = Weights({"relu4_2": 1.0}, dict.fromkeys(STYLE_LAYERS, 0.2))
    other = image.detach().flip(-1)
    with torch.no_grad():
        targets = Targets(net(other, ("relu4_2",)), style_targets(net, [other], STYLE_LAYERS))
    return lambda: torch.autograd.grad(sum(perceptual_loss(net, image, targets, weights).values()), image)


@dataclass
class Clock:
    """
    The loss of a run at full size, and the processor time at which it had it.

    Parameters
    ----------
    loss : list of float
        The loss at each evaluation at full size.
    ms : list of float
        Milliseconds of processor time since the start, smaller scales included.
    began : float
        When the run began.
    """

    loss: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)
    began: float = field(default_factory=process_time)

    def note(self, progress: Progress) -> None:
        """
        Take down an evaluation.

        Parameters
        ----------
        progress : Progress
            As `stylize` tells it.
        """
        if progress.size[0] > SIDE:  # with its frame
            self.loss.append(progress.loss)
            self.ms.append(1000 * (process_time() - self.began))

    def reached(self, goal: float) -> float:
        """
        Give the time after which the loss was low enough.

        Parameters
        ----------
        goal : float
            The loss.

        Returns
        -------
        float
            Milliseconds, infinite where it never was.
        """
        return next((ms for loss, ms in zip(self.loss, self.ms, strict=True) if loss <= goal), float("inf"))


def public_recipe(picture: Tensor, painting: Tensor, net: LossNetwork) -> Clock:
    """
    Paint as public code does: PyTorch's L-BFGS without a line search, from noise, at full size, pixels to 255.

    Parameters
    ----------
    picture, painting : Tensor, shape (3, H, W)
        Content and style.
    net : callable
        The loss network.

    Returns
    -------
    Clock
        The loss at each evaluation, the same loss as `stylize` has.
    """
    framed = F.pad(picture[None], (16,) * 4, "reflect")  # as in `stylize`
    with torch.no_grad():
        targets = Targets(net(framed, CONTENT_LAYERS), style_targets(net, [painting[None]], STYLE_LAYERS))
    noise = torch.randn(framed.shape, generator=torch.Generator().manual_seed(0))
    pixels = (255 * (0.5 + 0.1 * noise)).requires_grad_()
    options = {"max_iter": PLAIN_STEPS, "max_eval": PLAIN_STEPS, "tolerance_grad": 0, "tolerance_change": 0}
    solver, clock = torch.optim.LBFGS([pixels], **options), Clock()

    def closure() -> Tensor:
        loss = 1e6 * sum(perceptual_loss(net, pixels / 255, targets, WEIGHTS).values())
        clock.loss.append(loss.item() / 1e6)
        clock.ms.append(1000 * (process_time() - clock.began))
        (gradient,) = torch.autograd.grad(loss, pixels)
        pixels.grad = gradient.contiguous()
        return loss.detach()

    solver.step(closure)
    return clock


def times_to_equal_loss(name: str, style: str, net: LossNetwork) -> dict[str, tuple[float, float]]:
    """
    Time ours against both forms of the paper's recipe, until each is close to the loss at which the recipe ends.

    Parameters
    ----------
    name, style : str
        Photograph and painting.
    net : callable
        The loss network of all.

    Returns
    -------
    dict of str to tuple of float
        Milliseconds of processor time of ours and of the recipe, by the recipe's name.
    """
    picture, painting = photos.square(photos.load(name), SIDE), paintings.draw(style, SIDE, SIDE)
    ours = Clock()
    stylize(picture, painting, net, steps=STEPS, on_step=ours.note, progress=False)
    searched = Clock()
    stylize(picture, painting, net, steps=PLAIN_STEPS, start="noise", on_step=searched.note, progress=False)
    recipes = {
        "without a line search": public_recipe(picture, painting, net),
        "with a line search": searched,
    }
    goals = {recipe: CLOSE * min(run.loss) for recipe, run in recipes.items()}
    return {recipe: (ours.reached(goals[recipe]), run.reached(goals[recipe])) for recipe, run in recipes.items()}


def run(repeats: int = 5) -> list[Row]:
    """
    Time one iteration at two threads and one, and whole runs at one.

    Parameters
    ----------
    repeats : int
        How often each iteration is timed; a whole run is many of them.

    Returns
    -------
    list of (str, float, float)
        What was done, our milliseconds, the peer's milliseconds; of whole runs in processor time.
    """
    ours = loss_network()
    peer = VGG(convs=(2, 2, 4, 4, 4), normalise=True).requires_grad_(False)
    rows, before = [], torch.get_num_threads()
    for threads in (2, 1):
        torch.set_num_threads(threads)
        work = pair(iteration(ours), iteration(peer), repeats)
        rows.append((f"one iteration at {SIDE}x{SIDE}, threads {threads}, against VGG-19", *work))
    torch.set_num_threads(1)
    for name, style in PAIRS:
        for recipe, times in times_to_equal_loss(name, style, ours).items():
            rows.append((f"{name} in {style} to the loss of L-BFGS from noise {recipe}", *times))
    torch.set_num_threads(before)
    return rows


if __name__ == "__main__":
    command(__doc__, run, repeats=5)
