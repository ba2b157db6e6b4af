"""Answers of a teacher, kept: what is kept, how exactly, and how large it is."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from xferlib import train
from xferlib.train.cached import Cached


class Noisy(nn.Module):
    """A teacher that would answer otherwise in training mode, and counts what it is asked."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.asked = []

    def forward(self, images):
        self.asked.append(len(images))
        return images.flatten(1) * self.scale + self.training


def samples(count=5):
    images = torch.rand(count, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    return TensorDataset(images, torch.arange(count))


def test_answers_are_those_of_the_teacher_in_evaluation():
    teacher, data = Noisy(), samples()
    cached = Cached(data, teacher, batch_size=2, dtype=torch.float32)
    assert teacher.asked == [2, 2, 1] and teacher.training and len(cached) == 5
    for i in range(5):
        image, label, answer = cached[i]
        assert torch.equal(image, data[i][0]) and label == i
        assert torch.equal(answer, 2 * image.flatten()) and not answer.requires_grad
    assert teacher.asked == [2, 2, 1]


def test_halves_take_half_the_memory_and_round():
    exact = Cached(samples(), Noisy().eval(), dtype=torch.float32)
    halves = Cached(samples(), Noisy().eval())
    assert exact.megabytes == 5 * 6 * 4 / 1e6 and halves.megabytes == exact.megabytes / 2
    assert halves[0][-1].dtype == torch.float32
    torch.testing.assert_close(halves[3][-1], exact[3][-1], rtol=2**-11, atol=0)


def test_any_answer_can_be_kept():
    cached = Cached(samples(), Noisy(), lambda net, images: images.mean((2, 3)), dtype=torch.float32)
    assert torch.equal(cached[1][-1], samples()[1][0].mean((1, 2)))


def test_answers_stay_with_their_samples_when_shuffled():
    stream = train.shuffled(Cached(samples(), Noisy(), dtype=torch.float32), seed=0)
    for i in range(10):
        image, _, answer = stream[i]
        assert torch.equal(answer, 2 * image.flatten())


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="empty or endless"):
        Cached(train.shuffled(samples(), 0), Noisy())
    with pytest.raises(ValueError, match="empty or endless"):
        Cached(samples(0), Noisy())
    loud = Noisy()
    nn.init.constant_(loud.scale, 1e6)
    with pytest.raises(ValueError, match=r"not finite in torch.float16; keep answers as torch.float32"):
        Cached(samples(), loud)


def test_a_teacher_of_mixed_modes_keeps_them():
    teacher = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2).eval())
    Cached([(torch.rand(3, 4, 4), torch.zeros(4, 4))] * 2, teacher)
    assert [module.training for module in teacher.modules()] == [True, True, False]
