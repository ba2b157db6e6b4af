"""Datasets as streams: item i is the i-th sample of a training run, whatever happens around it."""

import warnings
from collections.abc import Callable, Iterator, Sized
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

_ORDER, _AUGMENT, _STEP, _CHANGE = range(4)


def _seed(*key: int) -> int:
    """Mix whole numbers into one seed of 64 bits."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """
    Seed of PyTorch's global generator during one training step.

    Parameters
    ----------
    seed : int
        Seed of the run, 0 or larger.
    step : int
        Training step, from 0.
    rank : int
        Process, from 0, so that processes drop different units.

    Returns
    -------
    int
        Seed of 64 bits.
    """
    return _seed(seed, _STEP, step, rank)


def item_seed(seed: int, index: int) -> int:
    """
    Seed of what is drawn at random for one item of a stream.

    Parameters
    ----------
    seed : int
        Seed of the stream, 0 or larger.
    index : int
        Item, from 0.

    Returns
    -------
    int
        Seed of 64 bits.
    """
    return _seed(seed, _AUGMENT, index)


def change_seed(seed: int, index: int) -> int:
    """
    Seed of how one item of a stream is changed again, which has nothing to do with its augmentation.

    Parameters
    ----------
    seed : int
        Seed of the stream, 0 or larger.
    index : int
        Item, from 0.

    Returns
    -------
    int
        Seed of 64 bits, never that of `item_seed`.
    """
    return _seed(seed, _CHANGE, index)


class Shuffled(Dataset):
    """
    A finite dataset as an endless stream in a new order each epoch; `shuffled` makes one.

    Parameters
    ----------
    dataset : Dataset
        Map-style dataset of known length.
    seed : int
        Seed of the order and of the augmentation, 0 or larger.
    augment : callable, optional
        Called as ``augment(sample, generator)``; returns the sample to train on.

    Raises
    ------
    ValueError
        If the dataset is empty.
    """

    def __init__(self, dataset: Dataset, seed: int, augment: Callable[[Any, Generator], Any] | None = None) -> None:
        if len(dataset) == 0:
            raise ValueError("the dataset to shuffle is empty")
        self.dataset, self.seed, self.augment = dataset, seed, augment
        self._order: tuple[int, Tensor] | None = None

    def _permutation(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            generator = Generator().manual_seed(_seed(self.seed, _ORDER, epoch))
            self._order = epoch, torch.randperm(len(self.dataset), generator=generator)
        return self._order[1]

    def __getitem__(self, index: int) -> Any:
        """Sample `index` of the run; it depends on the seed and the index alone."""
        epoch, position = divmod(index, len(self.dataset))
        sample = self.dataset[int(self._permutation(epoch)[position])]
        if self.augment is None:
            return sample
        return self.augment(sample, Generator().manual_seed(item_seed(self.seed, index)))


def shuffled(dataset: Dataset, seed: int, augment: Callable[[Any, Generator], Any] | None = None) -> Shuffled:
    """
    Turn a finite dataset into the endless stream that `fit` trains on.

    Each epoch takes every sample once, in an order that depends on the seed and the epoch alone. A run that
    starts again in the middle therefore sees the samples that it would have seen.

    Parameters
    ----------
    dataset : Dataset
        Map-style dataset of known length.
    seed : int
        Seed of the order and of the augmentation, 0 or larger.
    augment : callable, optional
        Called as ``augment(sample, generator)`` with a `torch.Generator` of its own for each item of the
        stream; returns the sample to train on.

    Returns
    -------
    Shuffled
        The stream: ``stream[i]`` is the i-th training sample, for any i.

    Raises
    ------
    ValueError
        If the dataset is empty.
    """
    return Shuffled(dataset, seed, augment)


def batches(
    dataset: Dataset,
    *,
    start: int,
    steps: int,
    batch_size: int,
    rank: int = 0,
    processes: int = 1,
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[Any]:
    """
    Load the batches of one process for steps `start` to ``steps - 1``.

    Step s takes items ``s * batch_size`` and on.

    Parameters
    ----------
    dataset : Dataset
        Stream of samples.
    start, steps : int
        First step, and number of steps of the whole run.
    batch_size : int
        Samples a step over all processes.
    rank, processes : int
        This process and their number; each takes an equal, contiguous share of every batch.
    workers : int
        Processes that prepare batches ahead of time; 0 prepares them in this one.
    pin_memory : bool
        Whether batches are put where a GPU can fetch them faster.

    Returns
    -------
    iterator
        Batches, collated as PyTorch's DataLoader does.

    Raises
    ------
    ValueError
        If a batch cannot be shared equally, or the dataset is too short for the run.
    """
    if batch_size < 1 or batch_size % processes:
        raise ValueError(f"a batch of {batch_size} cannot be shared equally by {processes} process(es)")
    if isinstance(dataset, Sized) and len(dataset) < steps * batch_size:
        raise ValueError(
            f"the dataset has {len(dataset)} items; {steps} steps of {batch_size} need {steps * batch_size}: "
            "pass train.shuffled(dataset, seed), which starts over in a new order"
        )
    share = batch_size // processes
    firsts = (step * batch_size + rank * share for step in range(start, steps))
    with warnings.catch_warnings():
        # PyTorch warns of more workers than cores, Python 3.12 of forking beside PyTorch's threads.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        loader = DataLoader(
            dataset,
            batch_sampler=[range(first, first + share) for first in firsts],
            num_workers=workers,
            pin_memory=pin_memory,
            generator=Generator().manual_seed(0),  # otherwise it would draw from the global one
        )
        return iter(loader)
