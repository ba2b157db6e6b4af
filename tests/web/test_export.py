"""The exported graphs against the nets that they came from, in ONNX Runtime."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, numpy_helper

from tools import demo
from xferlib import zoo
from xferlib.data import images, photos
from xferlib.nets.unet import UNet
from xferlib.ops.tiling import apply_tiled
from xferlib.web import export
from xferlib.zoo import ZooError

NAMES = [row.name for row in export.exportable()]
SIZES = [(160, 240), (133, 97), (32, 32)]  # a whole number of every net's strides, odd sides, and the least ones


def photograph(height: int, width: int) -> np.ndarray:
    picture = photos.load("astronaut")[:, 20 : 20 + height, 100 : 100 + width]
    return np.array(images.to_pil(picture))


def session(path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module", params=NAMES)
def exported(request):
    """A net's row and its graph, the very file that the site ships."""
    path = demo.net_file(request.param)
    return zoo.row(request.param), path, session(path)


def expected(row: zoo.Row, pixels: np.ndarray, shares: np.ndarray | None) -> np.ndarray:
    """What `xferlib.apply` makes of one view of the same bytes, as an 8-bit file holds it."""
    styles = None
    if shares is not None and len(shares) > 1:
        styles = {name: float(share) for name, share in zip(row.classes, shares, strict=True)}
    result = zoo.apply(row.name, pixels, styles=styles, views=1)
    if row.task == "segmentation":
        return result.numpy()
    if shares is not None and len(shares) == 1:
        result = torch.lerp(
            images.from_pil(images.to_pil(torch.tensor(pixels).permute(2, 0, 1) / 255)), result, shares[0]
        )
    return (result.permute(1, 2, 0) * 255).round().numpy()


@pytest.mark.parametrize("size", SIZES)
def test_the_graph_makes_what_the_net_makes(exported, size):
    row, _, graph = exported
    pixels, feed, shares = photograph(*size), {}, None
    if row.task == "style":
        shares = np.zeros(len(row.classes), np.float32)
        shares[0], shares[-1] = 0.5, 0.25 if len(shares) > 1 else 0.75
        feed["shares"] = shares
    (made,) = graph.run(None, {"pixels": pixels, **feed})
    wanted = expected(row, pixels, shares)
    assert made.dtype == np.uint8
    assert made.shape == wanted.shape
    if row.task == "segmentation":
        assert (made == wanted).mean() >= 0.999
        assert len(np.unique(made)) > 1 or min(size) == export.LEAST  # so small a piece may be of one class
    else:
        assert np.abs(made.astype(int) - wanted.astype(int)).max() <= 1
        assert (made == wanted).mean() >= 0.99  # what differs is rounding at the half


def test_the_graph_says_what_it_takes_and_gives(exported):
    row, path, graph = exported
    inputs = {each.name: (each.type, len(each.shape)) for each in graph.get_inputs()}
    assert inputs.pop("pixels") == ("tensor(uint8)", 3)
    assert inputs == ({"shares": ("tensor(float)", 1)} if row.task == "style" else {})
    (result,) = graph.get_outputs()
    assert (result.name, result.type) == ("result", "tensor(uint8)")
    assert all(isinstance(side, str) for side in graph.get_inputs()[0].shape[:2]), "height and width are free"
    onnx.checker.check_model(str(path), full_check=True)


def test_the_file_is_hardly_larger_than_the_weights(exported):
    row, path, _ = exported
    assert path.stat().st_size < 1.15 * row.bytes + 300_000


def test_constants_in_half_precision_are_the_trained_weights(exported):
    row, path, _ = exported
    graph = onnx.load(path).graph
    half = {
        each.name: numpy_helper.to_array(each) for each in graph.initializer if each.data_type == TensorProto.FLOAT16
    }
    widened = {node.input[0] for node in graph.node if node.op_type == "Cast"}
    assert half and half.keys() <= widened
    weights = {value.numpy().tobytes() for value in zoo.load(row.name, fast=False).state_dict().values()}
    found = [value for value in half.values() if value.astype(np.float32).tobytes() in weights]
    assert len(found) >= len(half) // 2  # the others were transposed or made for the graph
    left = [numpy_helper.to_array(each) for each in graph.initializer if each.data_type == TensorProto.FLOAT]
    assert sum(value.size for value in left) <= 0.1 * sum(value.size for value in half.values())


def test_a_strength_of_nothing_leaves_the_picture():
    pixels = photograph(64, 80)
    (made,) = session(demo.net_file("styles")).run(None, {"pixels": pixels, "shares": np.zeros(8, np.float32)})
    np.testing.assert_array_equal(made, pixels)


@pytest.mark.parametrize(("height", "width"), [(40, 75), (33, 32)])
def test_a_net_of_valid_convolutions_sees_the_mirror_as_tiles_do(height, width):
    torch.manual_seed(0)
    net = UNet(1, 3, width=4, depth=2, padding="valid").eval()
    pixels = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8)
    with torch.no_grad():
        labels = export.PixelNet(net, "segmentation")(pixels)
    image = (pixels.permute(2, 0, 1) / 255).mean(0, keepdim=True)
    tiled = apply_tiled(net, image, net.legal_size(60))
    assert (labels == tiled.argmax(0)).float().mean() > 0.999


@pytest.mark.parametrize("size", [(7, 13), (12, 12), (3, 5)])
@pytest.mark.parametrize("grid", [1, 2, 3])
def test_averages_are_those_of_adaptive_pooling(size, grid):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(export._averages(x, [grid, grid]), F.adaptive_avg_pool2d(x, grid))


def test_a_net_without_a_picture_is_refused():
    with pytest.raises(ZooError, match=r"'loss-network' is a net for features.*fcn8s-streets"):
        export.pixel_net("loss-network")
    with pytest.raises(ZooError, match="did you mean 'sr-x4'"):
        export.pixel_net("sr-x44")


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(OSError):
        export.export("espcn-x4", tmp_path / "no" / "such.onnx")
    assert list(tmp_path.iterdir()) == []
