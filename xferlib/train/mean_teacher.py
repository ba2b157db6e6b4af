"""Learning from pictures without labels: a teacher that is the student's running mean, and the samples for both."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import Dataset

from xferlib.data.augment import rectangle
from xferlib.train.stream import change_seed


class MeanTeacher(nn.Module):
    """
    A student, and a teacher whose weights are the running mean of the student's.

    Being a net like any other, it trains with `fit` and its checkpoints hold both. In evaluation mode the teacher
    answers.

    Parameters
    ----------
    student : nn.Module
        The net to train.
    decay : float
        Weight of the past in the running mean, in [0, 1). In the first steps it is less, so that the random weights
        of the beginning are soon forgotten. At 0 the student teaches itself.

    Raises
    ------
    ValueError
        If the decay is not in [0, 1).

    References
    ----------
    Tarvainen, Valpola, "Mean teachers are better role models", NIPS 2017, equation 2.
    """

    def __init__(self, student: nn.Module, decay: float = 0.99) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay {decay} is not in [0, 1)")
        self.student = student
        self.teacher = deepcopy(student).requires_grad_(False).eval()
        self.decay = decay
        self.register_buffer("followed", torch.zeros((), dtype=torch.int64))
        self.train(student.training)  # one mode for both, so that `fit` sees it

    def train(self, mode: bool = True) -> "MeanTeacher":
        """
        Set the student's mode; the teacher stays in evaluation mode.

        Parameters
        ----------
        mode : bool
            Whether to train.

        Returns
        -------
        MeanTeacher
            This net.
        """
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(
        self, images: Tensor, plain: Tensor | None = None, changed: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """
        Answer as the teacher does; in training let it take a step after the student, and answer as the student does.

        With pictures that have no labels both answer, for the loss.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            The images; those with labels while training.
        plain : Tensor, shape (U, 3, H, W), optional
            Images without labels, for the teacher.
        changed : Tensor, shape (U, 3, H, W), optional
            The same images, changed in light or in parts, for the student.

        Returns
        -------
        Tensor or tuple of Tensor
            Logits (B, C, H, W) of the teacher, or in training of the student; with `plain`, the student's logits of
            `images` and of `changed`, and the teacher's of `plain`, which carry no gradient.

        Raises
        ------
        ValueError
            If only one of `plain` and `changed` is given.
        """
        if (plain is None) != (changed is None):
            raise ValueError("only one of plain and changed is given; the loss needs both, labelling neither")
        if plain is None and not self.training:
            return self.teacher(images)
        self._follow()
        if plain is None:
            return self.student(images)
        with torch.no_grad():
            guess = self.teacher(plain)
        # One after the other, for a norm of the batch should not mix pictures in plain and in changed light; and the
        # changed ones stay out of its running statistics, for pictures to be labelled are not changed.
        scores = self.student(images)
        with _statistics_kept(self.student):
            return scores, self.student(changed), guess

    @torch.no_grad()
    def _follow(self) -> None:
        self.followed += 1
        decay = min(self.decay, 1 - 1 / self.followed.item())
        theirs = self.student.state_dict()
        for name, mine in self.teacher.state_dict().items():
            if mine.is_floating_point():
                mine.lerp_(theirs[name], 1 - decay)
            else:
                mine.copy_(theirs[name])


@contextmanager
def _statistics_kept(net: nn.Module) -> Iterator[None]:
    """Let the norms of a net in training see a batch without remembering it."""
    norms = [norm for norm in net.modules() if isinstance(norm, _BatchNorm) and norm.track_running_stats]
    kept = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, kept, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(batches)


class WithUnlabelled(Dataset):
    """
    A stream of samples, each a labelled image beside one without a label, plain and changed.

    Item i is ``(image, labels, plain, changed, mask)``: the i-th labelled sample, the i-th unlabelled image of shape
    (3, H, W), the same after `change`, and a random rectangle (1, H, W), bool, for those who mix two pictures.

    Parameters
    ----------
    labelled : Dataset
        Stream of (image, labels), as `xferlib.train.shuffled` makes it.
    unlabelled : Dataset
        Stream of (image, ...); only the image is used.
    change : callable
        Called as ``change(image, generator)``; gives the changed image. It must leave every pixel in its place.
    seed : int
        Seed of the changes and rectangles, 0 or larger; streams of the same seed draw others.
    """

    def __init__(
        self, labelled: Dataset, unlabelled: Dataset, change: Callable[[Tensor, Generator], Tensor], seed: int
    ) -> None:
        self.labelled, self.unlabelled, self.change, self.seed = labelled, unlabelled, change, seed

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Sample `index` of the run; it depends on the seed and the index alone."""
        image, labels = self.labelled[index]
        plain = self.unlabelled[index][0]
        generator = Generator().manual_seed(change_seed(self.seed, index))
        return image, labels, plain, self.change(plain, generator), rectangle(plain.shape[-2:], generator)[None]
