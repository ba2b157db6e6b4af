"""A step of distillation with the teacher's answers kept from before, against one that asks the teacher each time."""

import argparse
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset, default_collate

from benchmarks import Row, figures, pair, table, write
from xferlib import zoo
from xferlib.data import digits, streets
from xferlib.losses.distillation import distillation_loss
from xferlib.nets.digit_nets import DigitNet, Perceptron
from xferlib.nets.enet import ENet
from xferlib.train.cached import Cached

SCENES, SCENES_A_STEP, DIGITS_A_STEP = 8, 4, 100
Step = Callable[[], None]


def steps(student: nn.Module, teacher: nn.Module, dataset: Dataset, batch: int) -> tuple[Step, Step, Cached]:
    """
    Give one step of training with kept answers, and one with answers asked for.

    Parameters
    ----------
    student, teacher : nn.Module
        The nets; the teacher is in evaluation mode.
    dataset : Dataset
        Samples (image, label), as many as a batch at least.
    batch : int
        Samples a step.

    Returns
    -------
    cached, computed : callable
        One step each, with the loading of its samples.
    kept : Cached
        The answers.
    """
    solver = torch.optim.AdamW(student.parameters())
    kept = Cached(dataset, teacher, batch_size=batch)

    def learn(images: Tensor, labels: Tensor, answers: Tensor) -> None:
        loss = distillation_loss(student(images), labels, answers, temperature=2.0, share=0.9)
        solver.zero_grad()
        loss.backward()
        solver.step()

    def cached() -> None:
        learn(*default_collate([kept[i] for i in range(batch)]))

    def computed() -> None:
        images, labels = default_collate([dataset[i] for i in range(batch)])
        with torch.no_grad():
            answers = teacher(images)
        learn(images, labels, answers)

    return cached, computed, kept


def _works() -> dict[str, tuple[Step, Step, Cached]]:
    scenes = [streets.draw(seed) for seed in range(SCENES)]
    roads = TensorDataset(*(torch.stack(part) for part in zip(*scenes, strict=True)))
    return {
        f"perceptron from a convolutional net, {DIGITS_A_STEP} digits": steps(
            Perceptron(), DigitNet().eval(), TensorDataset(*digits.load(digits.TRAIN)), DIGITS_A_STEP
        ),
        f"E-Net from FCN-8s, {SCENES_A_STEP} drawn streets": steps(
            ENet(len(streets.CLASSES)).train(), zoo.load("fcn8s-streets"), roads, SCENES_A_STEP
        ),
    }


def run(repeats: int = 7) -> tuple[list[Row], dict[str, dict[str, float]]]:
    """
    Time both steps of both nets in turn, at one thread.

    Parameters
    ----------
    repeats : int
        How often each is timed.

    Returns
    -------
    rows : list of (str, float, float)
        What was done, the milliseconds with kept answers, those with computed ones.
    memory : dict of str to dict of str to float
        For each, "kilobytes a sample" of the kept answers.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    rows, memory = [], {}
    for name, (cached, computed, kept) in _works().items():
        rows.append((name, *pair(cached, computed, repeats)))
        memory[name] = {"kilobytes a sample": 1000 * kept.megabytes / len(kept)}
    torch.set_num_threads(before)
    return rows, memory


def main() -> None:
    """Print the table of ratios; with ``--json`` keep the figures in a file too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    start = perf_counter()
    rows, memory = run(options.repeats)
    print(table(rows))
    for name, taken in memory.items():
        print(f"{name}: {taken['kilobytes a sample']:.3g} kB of answers a sample")
    if options.json:
        found: dict[str, Any] = {name: {**row, **memory[name]} for name, row in figures(rows).items()}
        write(options.json, found, perf_counter() - start)


if __name__ == "__main__":
    main()
