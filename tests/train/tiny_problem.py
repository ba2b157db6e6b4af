"""A problem small enough to train in a test; a module of its own, so that spawned processes can import it."""

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset


class Sums(Dataset):
    """An endless stream: item i is four random numbers, drawn from i, and their sum."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x = torch.rand(4, generator=torch.Generator().manual_seed(index))
        return x, x.sum()


def small_net(dropout: float = 0.0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 1))


def squared_error(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    x, y = batch
    return (net(x)[:, 0] - y).square().mean()


def weights(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])
