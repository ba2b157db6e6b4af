import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from xferlib import train
from xferlib.train.stream import batches, change_seed, item_seed, step_seed


class Numbers(Dataset):
    """Item i is i."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return range(self.length)[index]


class Endless(Dataset):
    """Item i is i, for any i."""

    def __getitem__(self, index: int) -> int:
        return index


@given(length=st.integers(1, 30), seed=st.integers(0, 2**32))
def test_each_epoch_takes_every_sample_once(length, seed):
    stream = train.shuffled(Numbers(length), seed)
    for epoch in range(3):
        assert sorted(stream[epoch * length + k] for k in range(length)) == list(range(length))


def test_epochs_and_seeds_differ():
    def epoch(seed, number):
        stream = train.shuffled(Numbers(50), seed)
        return [stream[50 * number + k] for k in range(50)]

    orders = [epoch(0, 0), epoch(0, 1), epoch(1, 0), epoch(1, 1)]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])


def test_an_item_depends_on_its_index_alone():
    def noisy(sample, generator):
        return sample + torch.rand((), generator=generator).item()

    forwards, backwards = (train.shuffled(Numbers(7), 3, noisy) for _ in range(2))
    expected = [forwards[i] for i in range(20)]
    assert [backwards[i] for i in reversed(range(20))] == expected[::-1]
    assert len(set(expected)) == 20


def test_augmentation_differs_between_epochs_and_seeds():
    def draw(_, generator):
        return torch.rand((), generator=generator).item()

    values = [train.shuffled(Numbers(1), seed, draw)[i] for seed in (0, 1) for i in range(3)]
    assert len(set(values)) == 6


def test_an_empty_dataset_is_refused():
    with pytest.raises(ValueError, match="empty"):
        train.shuffled(Numbers(0), 0)


def test_batches_take_the_items_in_order():
    found = [batch.tolist() for batch in batches(Endless(), start=2, steps=5, batch_size=3)]
    assert found == [[6, 7, 8], [9, 10, 11], [12, 13, 14]]


def test_processes_share_each_batch():
    shares = [
        [batch.tolist() for batch in batches(Endless(), start=1, steps=3, batch_size=6, rank=rank, processes=3)]
        for rank in range(3)
    ]
    joined = [[i for part in parts for i in part] for parts in zip(*shares, strict=True)]
    assert joined == [list(range(6, 12)), list(range(12, 18))]


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match="batch of 4 cannot be shared equally by 3"):
        batches(Endless(), start=0, steps=1, batch_size=4, processes=3)


def test_an_item_is_changed_by_another_seed_than_it_is_augmented_by():
    keys = [(seed, index) for seed in range(5) for index in range(20)]
    assert len({make(*key) for key in keys for make in (item_seed, change_seed)}) == 200
    assert change_seed(3, 4) == change_seed(3, 4)


def test_step_seeds_differ_between_seeds_steps_and_processes():
    seeds = {step_seed(seed, step, rank) for seed in range(5) for step in range(20) for rank in range(3)}
    assert len(seeds) == 5 * 20 * 3
