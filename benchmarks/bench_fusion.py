"""Our exposure fusion in PyTorch against OpenCV's in C++, on seven exposures of a photograph."""

from importlib.util import find_spec

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import Row, command, pair
from xferlib.data import exposures, photos
from xferlib.ops.fusion import fuse_exposures

SIZES = ((512, 768), (1024, 1536))


def exposed(size: tuple[int, int], name: str = "chelsea") -> Tensor:
    """
    Expose a photograph seven times, with noise.

    Parameters
    ----------
    size : tuple of int
        Height and width.
    name : str
        A photograph.

    Returns
    -------
    Tensor, shape (7, 3, H, W)
        The exposures, in 256 steps.
    """
    image = F.interpolate(photos.load(name)[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)
    return exposures.stack(image, generator=torch.Generator().manual_seed(0))


def as_bytes(stack: Tensor) -> list[np.ndarray]:
    """
    Give exposures as OpenCV reads them.

    Parameters
    ----------
    stack : Tensor, shape (N, 3, H, W)
        Exposures in [0, 1].

    Returns
    -------
    list of ndarray
        N arrays of bytes, (H, W, 3).
    """
    return [np.ascontiguousarray(image) for image in (stack * 255).round().byte().permute(0, 2, 3, 1).numpy()]


def run(repeats: int = 9) -> list[Row]:
    """
    Time both at one and two threads; each gets the exposures in the form that it takes.

    Parameters
    ----------
    repeats : int
        How often each is timed.

    Returns
    -------
    list of (str, float, float)
        What was done, our milliseconds, the peer's milliseconds. Where the two pictures differ by more than 1e-3, a
        RuntimeError says so.
    """
    import cv2

    peer = cv2.createMergeMertens(1, 1, 1)  # by default, exposedness does not count
    rows: list[Row] = []
    before, theirs_before = torch.get_num_threads(), cv2.getNumThreads()
    for size in SIZES:
        stack = exposed(size)
        images = as_bytes(stack)
        apart = (fuse_exposures(stack) - torch.from_numpy(peer.process(images)).permute(2, 0, 1)).abs().max().item()
        if apart > 1e-3:
            raise RuntimeError(f"ours and OpenCV's differ by {apart:.1e} at {size}")
        for threads in (1, 2):
            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)
            name = f"{len(images)} exposures of {size[0]}x{size[1]}, threads {threads}"
            work = pair(lambda s=stack: fuse_exposures(s), lambda i=images: peer.process(i), repeats)
            rows.append((name, *work))
    torch.set_num_threads(before)
    cv2.setNumThreads(theirs_before)
    return rows


if __name__ == "__main__":
    if find_spec("cv2") is None:
        print("left out: OpenCV is not installed; pip install opencv-python-headless")
    else:
        command(__doc__, run, 9)
