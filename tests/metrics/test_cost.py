import pytest
import torch
import torch.nn as nn

from xferlib.metrics.cost import multiply_adds, parameters, peak_memory, seconds
from xferlib.nets.enet import ENet
from xferlib.nets.unet import UNet


def test_parameters_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.PReLU(5))
    assert parameters(net) == 3 * 5 * 9 + 5 + 5 + 5 + 5


def test_a_shared_weight_counts_once():
    conv = nn.Conv2d(2, 2, 1, bias=False)
    assert parameters(nn.Sequential(conv, nn.ReLU(), conv)) == 4


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(4, 6, 3, padding=1), 4 * 6 * 9 * 5 * 7),
        (nn.Conv2d(4, 6, 3), 4 * 6 * 9 * 3 * 5),
        (nn.Conv2d(4, 6, (1, 5), padding=(0, 2), groups=2), 2 * 6 * 5 * 5 * 7),
        # A transposed convolution multiplies each input value with the whole kernel.
        (nn.ConvTranspose2d(4, 6, 2, stride=2), 4 * 6 * 4 * 5 * 7),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), 4 * 6 * 9 * 5 * 7),
        (nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), 2 * 6 * 4 * 5 * 7),
        (nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)), 0),
    ],
)
def test_multiply_adds_by_hand(layer, expected):
    assert multiply_adds(layer, (4, 5, 7)) == expected
    assert multiply_adds(layer.to("meta"), (4, 5, 7)) == expected


def test_an_asymmetric_convolution_costs_two_fifths():
    five = multiply_adds(nn.Conv2d(8, 8, 5, padding=2), (8, 9, 9))
    row = multiply_adds(nn.Conv2d(8, 8, (1, 5), padding=(0, 2)), (8, 9, 9))
    assert 2 * row / five == pytest.approx(2 / 5)


def test_enet_costs_about_what_its_paper_says():
    with torch.device("meta"):
        net = ENet(20)
    # The paper says 3.83 GFLOPs, which counts more than convolutions; a known port measures 1.77 G multiply-adds.
    assert multiply_adds(net, (3, 360, 640)) == pytest.approx(1.77e9, rel=0.03)


def test_unet_by_an_independent_count():
    side, total, channels = 572, 0, 1
    for width in (64, 128, 256, 512, 1024):
        total += 9 * channels * width * (side - 2) ** 2 + 9 * width * width * (side - 4) ** 2
        side, channels = (side - 4) // 2, width
    side = 28
    for width in (512, 256, 128, 64):
        total += 4 * 2 * width * width * side**2
        side = 2 * side - 4
        total += 9 * 2 * width * width * (side + 2) ** 2 + 9 * width * width * side**2
    total += 64 * 2 * side**2
    with torch.device("meta"):
        assert multiply_adds(UNet(), (1, 572, 572)) == total


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_peak_memory_by_hand(device):
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 5, 1), nn.Conv2d(5, 1, 1)).to(device)
    # The second convolution reads two maps and writes five; the first two are gone when the third runs.
    assert peak_memory(net, (1, 8, 8)) == (2 + 5) * 64 * 4


def test_work_in_place_needs_no_memory():
    shape = (3, 16, 16)
    conv = nn.Conv2d(3, 4, 1)
    once = peak_memory(conv, shape)
    assert once == 4 * 256 * 4
    assert peak_memory(nn.Sequential(conv, nn.ReLU(inplace=True)), shape) == once
    assert peak_memory(nn.Sequential(conv, nn.ReLU()), shape) == 2 * once
    assert peak_memory(nn.Sequential(conv, nn.Flatten(), nn.Unflatten(1, (4, 16, 16))), shape) == once


def test_a_skip_keeps_its_map_alive():
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv2d(1, 1, 1) for _ in range(3))

        def forward(self, x):
            first = self.layers[0](x)
            x = self.layers[2](self.layers[1](first))
            return torch.cat([first, x], 1)

    assert peak_memory(Skip(), (1, 4, 4)) == 4 * 16 * 4  # first, x and the two joined


def test_a_net_is_left_as_it_was():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1).eval())
    multiply_adds(net, (2, 4, 4)), peak_memory(net, (2, 4, 4))
    assert net.training and net[0].training and not net[1].training
    assert net[0].num_batches_tracked == 0


@pytest.mark.parametrize("count", [multiply_adds, peak_memory])
@pytest.mark.parametrize("shape", [(3, 8), (1, 3, 8, 8), (3, 0, 8)])
def test_a_wrong_shape_is_named(count, shape):
    with pytest.raises(ValueError, match=r"shape \(.*is not \(channels, height, width\)"):
        count(nn.Conv2d(3, 1, 1), shape)


def test_seconds_takes_the_median_of_turns(monkeypatch):
    clock, order = [0.0], []
    monkeypatch.setattr("xferlib.metrics.cost.perf_counter", lambda: clock[0])

    def work(name, durations):
        def run():
            order.append(name)
            clock[0] += next(durations)

        return run

    works = {"a": work("a", iter([99.0, 1, 7, 2])), "b": work("b", iter([99.0, 5, 4, 6]))}
    assert seconds(works, repeats=3) == pytest.approx({"a": 2, "b": 5})
    assert "".join(order) == "abababab"


def test_no_measurement_is_refused():
    with pytest.raises(ValueError, match="repeats 0"):
        seconds({"a": lambda: None}, repeats=0)
