"""A teacher's answers computed once, so that a student need not wait for them in every step."""

from collections.abc import Callable, Sized
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from xferlib.ops._modes import evaluating


class Cached(Dataset):
    """
    Samples with what a teacher says of each: item i is the sample's parts and then the answer, in float32.

    Answers belong to the samples as they are here. Changes that come after, such as the augmentation of `shuffled`,
    must leave them true, or change them as they change the sample.

    Parameters
    ----------
    dataset : Dataset
        Map-style dataset of known length, of tuples that begin with an image.
    teacher : nn.Module
        The net to ask, in evaluation mode and without gradients; it keeps its mode.
    answer : callable, optional
        Called as ``answer(teacher, images)``, gives a tensor (B, ...); by default the teacher's output.
    batch_size : int
        Images asked about at once.
    dtype : torch.dtype
        How answers are kept.

    Raises
    ------
    ValueError
        If the dataset is empty or an answer is too large for its type.
    """

    def __init__(
        self,
        dataset: Dataset,
        teacher: nn.Module,
        answer: Callable[[nn.Module, Tensor], Tensor] | None = None,
        *,
        batch_size: int = 32,
        dtype: torch.dtype = torch.float16,
    ) -> None:
        if not isinstance(dataset, Sized) or len(dataset) == 0:
            raise ValueError("the dataset is empty or endless; answers can be kept for a finite number of samples")
        self.dataset = dataset
        self.answers = _asked(dataset, teacher, answer or _plain, batch_size).to(dtype)
        if not self.answers.isfinite().all():
            raise ValueError(f"an answer is not finite in {dtype}; keep answers as torch.float32")

    def __len__(self) -> int:
        """Give the number of samples."""
        return len(self.answers)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Sample `index` and its answer."""
        return *self.dataset[index], self.answers[index].float()

    @property
    def megabytes(self) -> float:
        """Memory that the answers take, in millions of bytes."""
        return self.answers.numel() * self.answers.element_size() / 1e6


def _plain(teacher: nn.Module, images: Tensor) -> Tensor:
    return teacher(images)


@torch.no_grad()
def _asked(dataset: Any, teacher: nn.Module, answer: Callable[..., Tensor], batch_size: int) -> Tensor:
    with evaluating(teacher):
        chunks = torch.arange(len(dataset)).split(batch_size)
        return torch.cat([answer(teacher, torch.stack([dataset[int(i)][0] for i in chunk])) for chunk in chunks])
