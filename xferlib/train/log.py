"""The log of a training: a line of a CSV file for every step, kept while it runs."""

import csv
import io
from pathlib import Path
from typing import TextIO

from xferlib.train.fit import Progress
from xferlib.zoo.weights import write_whole


class Log:
    """
    Write what each step did, as ``on_step`` of `xferlib.train.fit`.

    The columns are step, seconds, lr, loss, and the terms of the loss where it has several. A run that goes on from a
    checkpoint keeps the lines up to it and replaces those after.

    Parameters
    ----------
    path : Path
        The file; its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def __call__(self, progress: Progress) -> None:
        """
        Write one line.

        Parameters
        ----------
        progress : Progress
            The step.
        """
        terms = progress.losses if len(progress.losses) > 1 else {}
        if self._file is None:
            self._file = self._opened(["step", "seconds", "lr", "loss", *terms], progress.step)
        values = [progress.step, round(progress.seconds, 3), *(f"{x:.6g}" for x in (progress.lr, progress.loss))]
        csv.writer(self._file).writerow([*values, *(f"{term:.6g}" for term in terms.values())])

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self, columns: list[str], step: int) -> TextIO:
        """Open the file with the lines of earlier steps in it."""
        kept = [line for line in read(self.path) if int(line["step"]) < step] if step > 1 else []
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept)
        write_whole({self.path: text.getvalue().encode()})
        return self.path.open("a", buffering=1, newline="", encoding="utf-8")  # a line at a time


def read(path: Path) -> list[dict[str, str]]:
    """
    Read a log.

    Parameters
    ----------
    path : Path
        File that `Log` wrote.

    Returns
    -------
    list of dict
        The lines, values by column; none where there is no file. A last line that was cut off is left out.
    """
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if line.endswith("\n")))
