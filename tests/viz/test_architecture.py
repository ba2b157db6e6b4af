from itertools import combinations

import matplotlib.pyplot as plt
import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from xferlib import viz
from xferlib.nets.enet import ENet
from xferlib.nets.unet import UNet
from xferlib.viz.style import MUTED
from xferlib.viz.trace import Edge, collapse, trace


def twice(before, after):
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1),
        nn.ReLU(inplace=True),
    )


class UNetLike(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        w = [width, 2 * width, 4 * width]
        self.down = nn.ModuleList([twice(3, w[0]), twice(w[0], w[1])])
        self.bottom = twice(w[1], w[2])
        self.up = nn.ModuleList([nn.ConvTranspose2d(w[2], w[1], 2, 2), nn.ConvTranspose2d(w[1], w[0], 2, 2)])
        self.join = nn.ModuleList([twice(w[2], w[1]), twice(w[1], w[0])])
        self.score = nn.Conv2d(w[0], 2, 1)

    def forward(self, x):
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.bottom(x)
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([skips.pop(), up(x)], 1))
        return self.score(x)


class FCNLike(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.pool1 = nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2)
        self.conv2, self.pool2 = nn.Conv2d(8, 16, 3, padding=1), nn.MaxPool2d(2)
        self.score, self.score_pool1 = nn.Conv2d(16, 5, 1), nn.Conv2d(8, 5, 1)
        self.upscore2, self.upscore = nn.ConvTranspose2d(5, 5, 4, 2), nn.ConvTranspose2d(5, 5, 4, 2)

    def forward(self, x):
        size = x.shape[-2:]
        skip = self.pool1(F.relu(self.conv1(x)))
        x = self.upscore2(self.score(self.pool2(F.relu(self.conv2(skip)))))
        x = x[..., : skip.shape[2], : skip.shape[3]] + 0.01 * self.score_pool1(skip)
        return self.upscore(x)[..., : size[0], : size[1]]


class Bottleneck(nn.Module):
    def __init__(self, before, after, down=False, up=False):
        super().__init__()
        inside = after // 4
        middle = nn.ConvTranspose2d(inside, inside, 2, 2) if up else nn.Conv2d(inside, inside, 3, padding=1)
        first = nn.Conv2d(before, inside, 2, 2) if down else nn.Conv2d(before, inside, 1)
        self.body = nn.Sequential(first, nn.PReLU(), middle, nn.PReLU(), nn.Conv2d(inside, after, 1), nn.Dropout2d())
        self.pool = nn.MaxPool2d(2, return_indices=True) if down else None
        self.main = nn.Conv2d(before, after, 1) if up else None

    def forward(self, x, indices=None):
        y = self.body(x)
        if self.pool is not None:
            x, indices = self.pool(x)
            x = torch.cat([x, x.new_zeros(len(x), y.shape[1] - x.shape[1], *x.shape[2:])], 1)
            return F.relu(x + y), indices
        if self.main is not None:
            x = F.max_unpool2d(self.main(x), indices, 2)
        return F.relu(x + y)


class ENetLike(nn.Module):
    def __init__(self):
        super().__init__()
        self.initial = nn.Conv2d(3, 13, 3, 2, 1)
        self.down1, self.down2 = Bottleneck(16, 32, down=True), Bottleneck(32, 64, down=True)
        self.stage1 = nn.ModuleList([Bottleneck(32, 32) for _ in range(4)])
        self.stage2 = nn.ModuleList([Bottleneck(64, 64) for _ in range(8)])
        self.up4, self.up5 = Bottleneck(64, 32, up=True), Bottleneck(32, 16, up=True)
        self.full = nn.ConvTranspose2d(16, 11, 2, 2)

    def forward(self, x):
        x = torch.cat([self.initial(x), F.max_pool2d(x, 2)], 1)
        x, first = self.down1(x)
        for block in self.stage1:
            x = block(x)
        x, second = self.down2(x)
        for block in self.stage2:
            x = block(x)
        return self.full(self.up5(self.up4(x, second), first))


class TwoHeads(nn.Module):
    """A classifier with an auxiliary map."""

    def __init__(self):
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 8, 3)
        self.aux, self.fc = nn.Conv2d(8, 2, 1), nn.Linear(8, 10)

    def forward(self, x):
        x = self.stem(x)
        deep = F.relu(self.deep(x))
        return {"out": self.fc(deep.mean((2, 3))), "aux": self.aux(x)}


NETS = {
    "fcn": (FCNLike, (3, 64, 96)),
    "unet": (UNetLike, (3, 64, 64)),
    "enet": (ENetLike, (3, 64, 128)),
    "heads": (TwoHeads, (3, 33, 33)),
}


def words(figure):
    legends = figure.axes[0].get_legend().get_texts()
    return [text.get_text() for text in [*figure.axes[0].texts, *legends]]


def test_trace_of_a_chain_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2))
    first, conv, pool = trace(net, (3, 9, 17)).blocks
    assert (first.kind, first.shape) == ("input", (3, 9, 17))
    assert (conv.kind, conv.name, conv.detail, conv.shape) == ("conv", "0", "3×3", (8, 4, 8))
    assert (pool.kind, pool.name, pool.shape) == ("pool", "3", (8, 2, 4))
    assert conv.inputs == [Edge(0)] and pool.inputs == [Edge(1)]


def test_trace_finds_the_skips_of_a_u_net():
    graph = trace(UNetLike(4), (3, 32, 32))
    joins = [block for block in graph.blocks if block.kind == "join"]
    assert [join.detail for join in joins] == ["cat", "cat"]
    assert [join.shape for join in joins] == [(16, 16, 16), (8, 32, 32)]
    sources = [[graph.blocks[edge.source].name for edge in join.inputs] for join in joins]
    assert sources == [["down.1.3", "up.0"], ["down.0.3", "up.1"]]


def test_trace_folds_crops_and_scalings_away():
    graph = trace(FCNLike(), (3, 64, 96))
    names = [block.name for block in graph.blocks if block.kind not in ("input", "join")]
    assert names == ["conv1", "pool1", "conv2", "pool2", "score", "upscore2", "score_pool1", "upscore"]
    assert graph.blocks[-1].shape == (5, 64, 96)
    join = next(block for block in graph.blocks if block.kind == "join")
    assert (join.detail, join.shape) == ("+", (5, 32, 48))


def test_trace_tells_places_of_maxima_from_maps():
    graph = trace(ENetLike(), (3, 64, 64))
    unpools = [block for block in graph.blocks if block.kind == "unpool"]
    assert [[edge.indices for edge in block.inputs] for block in unpools] == [[False, True]] * 2


def test_collapsing_keeps_every_way_between_modules():
    graph = collapse(trace(ENetLike(), (3, 64, 64)), 1)
    names = [block.name for block in graph.blocks]
    stages = [f"stage1.{i}" for i in range(4)], [f"stage2.{i}" for i in range(8)]
    assert names == ["input", "initial", "", "", "down1", *stages[0], "down2", *stages[1], "up4", "up5", "full"]
    kinds = {block.name: block.kind for block in graph.blocks}
    assert (kinds["down1"], kinds["stage1.0"], kinds["up4"], kinds["full"]) == ("down", "block", "up", "deconv")
    up = graph.blocks[names.index("up4")]
    assert up.inputs == [Edge(names.index("stage2.7")), Edge(names.index("down2"), indices=True)]
    with pytest.raises(ValueError, match="depth 0"):
        collapse(graph, 0)


@pytest.mark.parametrize("name", NETS)
def test_tracing_leaves_the_net_and_the_generator_as_they_were(name):
    make, shape = NETS[name]
    net = make().train()
    next(net.children()).eval()
    modes = [module.training for module in net.modules()]
    state = {key: value.clone() for key, value in net.state_dict().items()}
    seed = torch.random.get_rng_state()
    trace(net, shape)
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), seed)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


@pytest.mark.parametrize("name", NETS)
def test_the_drawing_says_sizes_and_channels_and_is_closed(name):
    make, shape = NETS[name]
    figure = viz.architecture(make(), shape)
    said = words(figure)
    assert any(f"{shape[1]}×{shape[2]}" == word.replace("\n", "") for word in said)
    assert str(shape[0]) in said
    assert any("parameters" in word for word in said)
    assert not plt.get_fignums()


def test_the_drawing_of_an_fcn_has_its_skip_with_the_score_on_it():
    said = words(viz.architecture(FCNLike(), (3, 64, 96)))
    assert "score_pool1, 5" in said and "+" in said
    assert {"convolution", "pooling", "deconvolution"} <= set(said)


def test_equal_convolutions_are_one_stack_and_the_whole_is_in_the_figure():
    figure = viz.architecture(UNetLike(), (3, 64, 64))
    said = words(figure)
    assert "2 × down.0" in said and said.count("cat") == 2
    figure.draw_without_rendering()
    box = figure.bbox
    for text in figure.axes[0].texts:
        extent = text.get_window_extent()
        assert box.x0 <= extent.x0 and extent.x1 <= box.x1 and box.y0 <= extent.y0, text.get_text()


def test_a_long_net_is_drawn_by_its_modules_unless_told_otherwise():
    assert "8 × stage2" in words(viz.architecture(ENetLike(), (3, 64, 64)))
    with pytest.raises(ValueError, match=r"ENetLike has \d+ columns; choose depth=1"):
        viz.architecture(ENetLike(), (3, 64, 64), depth=9)


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(16, 4)

    def forward(self, x):
        return self.mix(x.flatten(2))


@pytest.mark.parametrize(
    ("net", "shape", "message"),
    [
        (nn.Conv2d(4, 2, 3), (3, 8, 8), r"Conv2d does not run on an input of shape \(3, 8, 8\)"),
        (nn.Conv2d(3, 2, 3), (8, 8), r"\(8, 8\) is not \(channels, height, width\)"),
        (nn.Conv2d(3, 2, 3), (3, 0, 8), r"\(3, 0, 8\) is not"),
        (nn.ReLU(), (3, 8, 8), "ReLU has no convolution"),
        (Tokens(), (3, 4, 4), r"linear gave a tensor of shape \(1, 3, 4\)"),
    ],
)
def test_errors_say_what_can_be_drawn(net, shape, message):
    with pytest.raises(ValueError, match=message):
        viz.architecture(net, shape)
    assert not plt.get_fignums()


class Forgetful(nn.Module):
    """Drops its intermediate maps at once, so that later tensors may take their place in memory."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 3, 1) for _ in range(20)])

    def forward(self, x):
        for conv in self.convs:
            x = conv(x).exp()
            x = x + torch.zeros(3, 1, 1)
        return x


def test_a_new_tensor_is_not_taken_for_one_that_is_gone():
    kinds = [block.kind for block in trace(Forgetful(), (3, 4, 4)).blocks]
    assert kinds == ["input"] + 20 * ["conv"]


def boxes(figure):
    return [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]


def arrows(figure, color=None):
    shown = [text.arrow_patch for text in figure.axes[0].texts if getattr(text, "arrow_patch", None)]
    return [arrow for arrow in shown if color is None or to_hex(arrow.get_edgecolor()) == color.lower()]


def texts_that_touch(figure):
    figure.draw_without_rendering()
    drawn = [text for text in figure.axes[0].texts if text.get_text()]
    extents = [text.get_window_extent() for text in [*drawn, figure.axes[0].get_legend()]]
    return [
        (drawn[i].get_text(), drawn[j].get_text() if j < len(drawn) else "key")
        for i, j in combinations(range(len(extents)), 2)
        if extents[i].overlaps(extents[j])
    ]


def test_factors_by_hand():
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.Conv2d(2, 2, 3, stride=2, padding=1),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(2, 1, 4, stride=4),
    )
    blocks = trace(net, (1, 10, 18)).blocks
    assert [block.shape[1:] for block in blocks] == [(10, 18), (8, 16), (4, 8), (2, 4), (8, 16)]
    assert [block.factor for block in blocks] == [1, 1, 2, 2, 0.25]


@pytest.mark.parametrize("size", [6, 7, 64])
def test_a_stage_of_valid_convolutions_is_no_reducing_block_however_small_its_map(size):
    stage = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3))
    graph = collapse(trace(nn.Sequential(stage), (1, size, size)), 1)
    assert [block.kind for block in graph.blocks] == ["input", "block"]
    assert graph.blocks[1].shape == (2, size - 4, size - 4) and graph.blocks[1].factor == 1


def test_a_module_reduces_by_the_product_of_its_factors_also_when_it_joins_what_came_from_outside():
    class Up(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.conv = nn.ConvTranspose2d(4, 2, 2, 2), nn.Conv2d(4, 2, 3)

        def forward(self, skip, x):
            return self.conv(torch.cat([skip, self.up(x)], 1))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.up = nn.Conv2d(1, 2, 1), Up()
            self.down = nn.Sequential(nn.Conv2d(2, 4, 3, 2, 1), nn.MaxPool2d(2), nn.Upsample(scale_factor=2))

        def forward(self, x):
            x = self.first(x)
            return self.up(x, self.down(x))

    graph = collapse(trace(Net(), (1, 16, 16)), 1)
    assert [(block.kind, block.factor) for block in graph.blocks[1:]] == [("conv", 1), ("down", 2), ("up", 0.5)]


def test_stages_of_the_u_net_are_drawn_as_convolutions():
    figure = viz.architecture(UNet(width=2), (1, 188, 188))
    said = words(figure)
    assert "convolution or block" in said and not any("reducing" in word for word in said)
    colors = [to_hex(box.get_facecolor()) for box in boxes(figure)]
    # Nine stages and the score; four poolings; four deconvolutions.
    assert [colors.count(color.lower()) for color in ("#8DB9DE", "#E98C6C", "#6FBF9F")] == [10, 4, 4]


@pytest.mark.parametrize("side", [572, 188])
def test_sizes_below_the_line_do_not_touch(side):
    said = {word for pair in texts_that_touch(viz.architecture(UNet(width=1), (1, side, side))) for word in pair}
    assert not [word for word in said if "×" in word]


FIGURE_1 = """
572 570 568  284 282 280  140 138 136  68 66 64  32 30 28  56 54 52  104 102 100  200 198 196  392 390 388 388
"""
CHANNELS_OF_FIGURE_1 = """
1 64 64  64 128 128  128 256 256  256 512 512  512 1024 1024  1024 512 512  512 256 256  256 128 128  128 64 64 2
"""


def test_the_u_has_every_size_of_the_papers_figure():
    said = words(viz.architecture(UNet(width=2), (1, 572, 572), layout="u"))
    assert sorted(word for word in said if word.endswith("²") and "crop" not in word) == sorted(
        f"{size}²" for size in FIGURE_1.split()
    )
    assert [word for word in said if "crop" in word] == [f"crop to {size}²" for size in (56, 104, 200, 392)]
    assert said.count("concatenate") == 4


def test_the_u_has_every_number_of_channels_of_the_papers_figure():
    said = words(viz.architecture(UNet(), (1, 188, 188), layout="u"))
    assert sorted(word for word in said if word.isdecimal()) == sorted(CHANNELS_OF_FIGURE_1.split())
    assert "UNet, 31.0 M parameters" in said


def test_arrows_of_the_u():
    figure = viz.architecture(UNet(width=2), (1, 188, 188), layout="u")
    counts = {"#8DB9DE": 18, "#2F6CA6": 1, "#E98C6C": 4, "#6FBF9F": 4, MUTED: 4}
    assert {color: len(arrows(figure, color)) for color in counts} == counts
    assert len(arrows(figure)) == sum(counts.values())
    assert {"convolution 3×3", "convolution 1×1", "pooling", "deconvolution 2×2"} <= set(words(figure))
    for color, sign in (("#E98C6C", -1), ("#6FBF9F", 1)):
        for text in figure.axes[0].texts:
            if getattr(text, "arrow_patch", None) in arrows(figure, color):
                (x, y), (x_end, y_end) = text.get_position(), text.xy
                assert x == pytest.approx(x_end) and sign * (y_end - y) > 0.15


def test_without_skips_the_u_has_no_skip_arrows_and_no_white_halves():
    figure = viz.architecture(UNet(width=2, skips=False), (1, 188, 188), layout="u")
    assert not arrows(figure, MUTED) and "concatenate" not in words(figure)
    assert len(arrows(figure)) == len(boxes(figure)) - 1 == 27


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (UNet(width=64), (1, 188, 188)),
        (UNet(width=12, depth=3, norm=True), (1, 252, 252)),
        (UNet(3, 11, width=12, padding="zeros", norm=True), (3, 128, 256)),
        (UNet(1, 2, width=1, depth=1), (1, 404, 404)),
        (UNet(1, 2, width=1, depth=5, padding="reflect", skips=False), (1, 65, 199)),
        (UNet(1, 2, width=1, depth=6, padding="zeros"), (1, 64, 64)),
        (UNetLike(), (3, 64, 64)),
        (ENet(), (3, 64, 64)),
    ],
    ids=["paper", "slim", "padded", "shallow", "no skips", "deep", "other", "places"],
)
def test_nothing_in_a_u_touches_or_leaves_the_figure(net, shape):
    figure = viz.architecture(net, shape, layout="u")
    assert texts_that_touch(figure) == []
    shown = [box.get_window_extent() for box in boxes(figure)]
    for text in figure.axes[0].texts:
        extent = text.get_window_extent()
        assert figure.bbox.x0 <= extent.x0 and extent.x1 <= figure.bbox.x1, text.get_text()
        assert figure.bbox.y0 <= extent.y0 and extent.y1 <= figure.bbox.y1, text.get_text()
        assert not text.get_text() or not any(extent.overlaps(box) for box in shown), text.get_text()
    assert not plt.get_fignums()


def test_a_u_by_stages():
    figure = viz.architecture(UNet(width=2), (1, 188, 188), depth=1, layout="u")
    said = words(figure)
    assert "block" in said and "186²" not in said and "184²" in said
    assert len(arrows(figure, "#8DB9DE")) == 9


class Interpolating(nn.Module):
    """Enlarges, convolves, and only then adds its skip."""

    def __init__(self):
        super().__init__()
        self.first, self.low, self.after, self.last = (nn.Conv2d(a, 4, 3, padding=1) for a in (3, 4, 4, 4))

    def forward(self, x):
        skip = self.first(x)
        x = F.interpolate(self.low(F.avg_pool2d(skip, 2)), scale_factor=2)
        return self.last(skip + self.after(x))


def test_a_skip_may_join_after_a_convolution():
    figure = viz.architecture(Interpolating(), (3, 16, 16), layout="u")
    said = words(figure)
    assert {"add", "interpolation", "join"} <= set(said) and said.count("16²") == 6
    assert texts_that_touch(figure) == []


def test_places_of_maxima_are_dashed_arrows_in_a_u():
    figure = viz.architecture(ENet(), (3, 64, 64), layout="u")
    assert "places of maxima" in words(figure) and len(arrows(figure, MUTED)) == 2
    assert len(arrows(figure, "#6FBF9F")) == 3


class Twice(nn.Module):
    """Two skips at one scale."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.low = (nn.Conv2d(a, 4, 3, padding=1) for a in (3, 4, 4))

    def forward(self, x):
        first = self.first(x)
        second = self.second(first)
        low = self.low(F.max_pool2d(second, 2))
        return torch.cat([first, second, F.interpolate(low, scale_factor=2)], 1)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Conv2d(3, 2, 3), "Conv2d has no U shape: it does not reduce its map and then enlarge it; layout='line'"),
        (nn.Sequential(nn.Upsample(scale_factor=2), nn.MaxPool2d(2)), "it reduces its map again after it has enlarged"),
        (FCNLike(), r"what goes from 'pool1' to a join \(\+\) passes through 'score_pool1'"),
        (TwoHeads(), "it does not reduce its map and then enlarge it"),
        (Twice(), "is not the only skip of its scale"),
    ],
)
def test_a_net_without_the_shape_is_not_drawn_as_a_u(net, message):
    with pytest.raises(ValueError, match=message):
        viz.architecture(net, (3, 64, 64), layout="u")
    assert not plt.get_fignums()


def test_an_unknown_layout_is_named():
    with pytest.raises(ValueError, match="layout 'v' is neither 'line' nor 'u'"):
        viz.architecture(UNet(width=1), (1, 188, 188), layout="v")
