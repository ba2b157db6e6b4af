"""The shipped nets as ONNX graphs of pixels, which run in a browser: bytes in, bytes or labels out."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from xferlib.zoo import Row, ZooError, load, row, rows
from xferlib.zoo.inference import PICTURES
from xferlib.zoo.weights import write_whole

LEAST = 32
"""The smallest side that every exported net takes, in pixels."""

_TASKS = ("segmentation", *PICTURES)
_EXAMPLE = (99, 131)  # odd sides, so that nothing which holds only for even ones is taken for granted
_SMALL = 64  # numbers; a constant of fewer is not worth a node that widens it


class PixelNet(nn.Module):
    """
    A net of images as one of bytes, the way `xferlib.zoo.apply` at full size, with one view and an 8-bit file have it.

    Parameters
    ----------
    net : nn.Module
        Net of images (1, C, H, W) in [0, 1], in evaluation mode, with 3 channels or 1.
    task : str
        Its task in the manifest.
    """

    def __init__(self, net: nn.Module, task: str) -> None:
        super().__init__()
        self.net, self.task = net, task

    def forward(self, pixels: Tensor, shares: Tensor | None = None) -> Tensor:
        """
        Label the pixels, or make the new picture.

        Parameters
        ----------
        pixels : Tensor of uint8, shape (H, W, 3)
            RGB; sides of at least `LEAST`.
        shares : Tensor, shape (S,), optional
            For nets of a style: how much each style counts. What they lack of 1 is left to the picture itself.

        Returns
        -------
        Tensor of uint8, shape (H, W) or (s * H, s * W, 3)
            The number of each pixel's class, or RGB.
        """
        image = pixels.permute(2, 0, 1)[None].float() / 255
        if self.task == "segmentation":
            return self._scores(image).argmax(1)[0].to(torch.uint8)
        made = self.net(image) if shares is None else self._painted(image, shares)
        return (made.clamp(0, 1)[0].permute(1, 2, 0) * 255).round().to(torch.uint8)

    def _scores(self, image: Tensor) -> Tensor:
        if getattr(self.net, "in_channels", 3) == 1:
            image = image.mean(1, keepdim=True)
        margin = getattr(self.net, "margin", 0)
        if not margin:
            return self.net(image)
        height, width = image.shape[-2:]
        for axis, side in ((2, height), (3, width)):
            image = image.index_select(axis, _mirrored(side, margin, self.net.stride))
        return self.net(image)[..., :height, :width]

    def _painted(self, image: Tensor, shares: Tensor) -> Tensor:
        strength = shares.sum()
        if len(shares) == 1:
            return torch.lerp(image, self.net(image), strength)
        return torch.lerp(image, self.net(image, shares / strength.clamp_min(1e-6)), strength)


def _mirrored(side: int, margin: int, stride: int) -> Tensor:
    """Index an axis so that a net of valid convolutions gives its whole length: mirrored beyond, of a legal size."""
    full = side + 2 * margin
    full = full + (4 * (stride - 1) - full) % stride  # as UNet.legal_size has it
    index = torch.arange(full) - margin
    return side - 1 - (index.remainder(torch.full_like(index, 2 * (side - 1))) - (side - 1)).abs()


def exportable(folder: str | os.PathLike | None = None) -> list[Row]:
    """
    List the nets of a zoo that make labels or pictures of pictures.

    Parameters
    ----------
    folder : path, optional
        Folder with a manifest and weights; by default that of the shipped nets.

    Returns
    -------
    list of Row
        Their rows, sorted by name.

    Raises
    ------
    ZooError
        If the manifest cannot be read.
    """
    return [each for each in rows(folder) if each.task in _TASKS]


def pixel_net(name: str, folder: str | os.PathLike | None = None) -> PixelNet:
    """
    Load a net of a zoo as one of bytes.

    Parameters
    ----------
    name : str
        Name of the net.
    folder : path, optional
        Folder with a manifest and weights; by default that of the shipped nets.

    Returns
    -------
    PixelNet
        The net in evaluation mode, its layers as they were trained.

    Raises
    ------
    ZooError
        If the net cannot be loaded, or makes neither labels nor a picture.
    """
    entry = row(name, folder)
    if entry.task not in _TASKS:
        known = ", ".join(each.name for each in exportable(folder))
        raise ZooError(f"{name!r} is a net for {entry.task}: no labels or picture to show; there are: {known}")
    return PixelNet(load(name, folder, fast=False), entry.task).eval()


def export(name: str, file: str | os.PathLike, folder: str | os.PathLike | None = None) -> Path:
    """
    Write a net of a zoo as ONNX.

    The graph takes ``pixels``, uint8 (H, W, 3) of any size from `LEAST` on, and gives ``result``, uint8: (H, W) labels
    or an RGB picture (s * H, s * W, 3). For nets of a style it also takes ``shares``, float32 (S,), see `PixelNet`.

    Parameters
    ----------
    name : str
        Name of the net.
    file : path
        Where to write it; the folder must be there.
    folder : path, optional
        Folder with a manifest and weights; by default that of the shipped nets.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ImportError
        If onnx or onnxscript is missing.
    ZooError
        If the net cannot be loaded, or makes neither labels nor a picture.
    OSError
        If the file cannot be written; then there is none, or the one that was there before.

    Notes
    -----
    Weights that are the same in half precision, as all trained ones in the zoo are, are stored so and widened when the
    graph is loaded: nothing is lost. Normalisations stay apart from convolutions for that reason; runtimes join them.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError('onnx or onnxscript is missing; install them with: pip install ".[web]"') from error
    net, file = pixel_net(name, folder), Path(file)
    if file.is_dir() or not file.parent.is_dir():
        raise OSError(f"{file}: a folder is there; name a file" if file.is_dir() else f"{file.parent}: no such folder")
    with _quiet():
        program = torch.onnx.export(
            _exported(net, row(name, folder)),
            dynamo=True,
            optimize=False,  # it would join normalisations with convolutions
            input_names=["pixels", "shares"] if net.task == "style" else ["pixels"],
            output_names=["result"],
            verbose=False,
        )
        _simplify(program.model)
    model = program.model_proto
    _halve(model)
    onnx.checker.check_model(model)
    write_whole({file: model.SerializeToString()})
    return file


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporter says of its own code."""
    logger = logging.getLogger("onnx_ir")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _exported(net: PixelNet, entry: Row) -> torch.export.ExportedProgram:
    inputs = {"pixels": torch.randint(0, 256, (*_EXAMPLE, 3), dtype=torch.uint8)}
    shapes = {"pixels": {axis: torch.export.Dim.DYNAMIC for axis in (0, 1)}}
    if net.task == "style":
        count = max(len(entry.classes), 1)
        inputs["shares"], shapes["shares"] = torch.full((count,), 1 / count), {}
    with torch.no_grad():
        program = torch.export.export(net, (), inputs, dynamic_shapes=shapes)
    pooling = torch.ops.aten.adaptive_avg_pool2d.default
    if any(node.target is pooling for node in program.graph.nodes):
        program = program.run_decompositions({pooling: _averages})
    return program


def _averages(x: Tensor, size: list[int]) -> Tensor:
    """Adaptive average pooling by two products of matrices: for an input of unknown size ONNX has no such layer."""
    for axis, count in ((-1, size[1]), (-2, size[0])):
        side = x.shape[axis]
        cell, at = torch.arange(count, device=x.device)[:, None], torch.arange(side, device=x.device)
        inside = ((at >= cell * side // count) & (at < ((cell + 1) * side + count - 1) // count)).to(x.dtype)
        mean = inside / inside.sum(1, keepdim=True)
        x = x @ mean.T if axis == -1 else mean @ x
    return x


def _simplify(model: "onnx_ir.Model") -> None:  # noqa: F821
    """Compute what is constant, and drop what nothing needs and the notes of where each node comes from."""
    from onnx_ir.passes import Sequential, common
    from onnxscript.optimizer import fold_constants_ir

    common.InlinePass()(model)
    fold_constants_ir(model)
    passes = (
        common.RemoveUnusedNodesPass,
        common.RemoveUnusedOpsetsPass,
        common.LiftConstantsToInitializersPass,
        common.DeduplicateInitializersPass,
        common.CommonSubexpressionEliminationPass,
        common.ClearMetadataAndDocStringPass,
    )
    Sequential(*(each() for each in passes))(model)


def _halve(model: "onnx.ModelProto") -> None:  # noqa: F821
    """Store constants in half precision where that is the same numbers."""
    from onnx import TensorProto, helper, numpy_helper

    widened = []
    for constant in model.graph.initializer:
        values = numpy_helper.to_array(constant)
        if values.dtype != np.float32 or values.size < _SMALL:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if np.array_equal(half.astype(np.float32), values):
            widened.append(helper.make_node("Cast", [f"{constant.name}.half"], [constant.name], to=TensorProto.FLOAT))
            constant.CopyFrom(numpy_helper.from_array(half, f"{constant.name}.half"))
    nodes = [*widened, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
