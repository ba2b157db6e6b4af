"""Weighted least squares: against a dense and a sparse solution, and its promises."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import spsolve

from xferlib.ops.wls import wls_filter


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def pairs(guide, smoothness, sensitivity, epsilon):
    """List the pairs of neighbours of a picture (H, W) and their weights, one by one."""
    height, width = guide.shape
    log = np.log(np.maximum(guide, 1 / 255))
    for y in range(height):
        for x in range(width):
            for other in ((y + 1, x), (y, x + 1)):
                if other[0] < height and other[1] < width:
                    step = abs(log[y, x] - log[other])
                    weight = smoothness / (step**sensitivity + epsilon)
                    yield y * width + x, other[0] * width + other[1], weight


def dense(values, guide, smoothness=1.0, sensitivity=1.2, epsilon=1e-4):
    matrix = np.eye(guide.size)
    for i, j, weight in pairs(guide, smoothness, sensitivity, epsilon):
        matrix[[i, j], [i, j]] += weight
        matrix[[i, j], [j, i]] -= weight
    return np.linalg.solve(matrix, values.ravel()).reshape(values.shape)


@settings(deadline=None, max_examples=30)
@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    smoothness=st.sampled_from([0.0, 0.3, 2.0, 50.0]),
    sensitivity=st.sampled_from([0.0, 1.2, 2.0]),
    seed=st.integers(0, 99),
)
def test_it_is_the_dense_solution(size, smoothness, sensitivity, seed):
    values, guide = noise(1, 1, *size, seed=seed), noise(1, 1, *size, seed=seed + 100)
    found = wls_filter(values, guide, smoothness, sensitivity, tolerance=1e-9)[0, 0].numpy()
    expected = dense(values[0, 0].numpy(), guide[0, 0].numpy(), smoothness, sensitivity)
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-6])
def test_a_larger_picture_keeps_to_the_tolerance(tolerance):
    rows, columns = np.mgrid[:41, :58]
    picture = 0.5 + 0.3 * np.sin(rows / 9) * np.cos(columns / 7) + 0.2 * ((rows - 20) ** 2 + (columns - 30) ** 2 < 150)
    picture = torch.from_numpy(picture + 0.05 * noise(41, 58).numpy())[None, None].clamp(0, 1)
    i, j, weights = (np.array(each) for each in zip(*pairs(picture[0, 0].numpy(), 2.0, 2.0, 1e-4), strict=True))
    size = picture.numel()
    flows = sparse.coo_matrix((weights, (i, j)), (size, size))
    flows = flows + flows.T
    matrix = sparse.eye(size) + sparse.diags(np.asarray(flows.sum(1)).ravel()) - flows
    expected = spsolve(matrix.tocsc(), picture.numpy().ravel())
    found = wls_filter(picture, picture, 2.0, 2.0, tolerance=tolerance).numpy().ravel()
    assert np.linalg.norm(found - expected) <= tolerance * np.linalg.norm(picture)
    residual = matrix @ found - picture.numpy().ravel()
    assert np.linalg.norm(residual) <= 1.01 * tolerance * np.linalg.norm(picture)


def test_two_pixels_by_hand():
    # One pair of weight a = 3 / (0 + 1): (1 + a) u - a v = 0 and (1 + a) v - a u = 1, so u = a / (1 + 2a).
    found = wls_filter(torch.tensor([[[[0.0, 1.0]]]]), torch.full((1, 1, 1, 2), 0.5), 3.0, 1.0, 1.0, tolerance=1e-9)
    assert found.flatten().tolist() == pytest.approx([3 / 7, 4 / 7])


def test_nothing_and_much_smoothness():
    values = noise(1, 1, 9, 12)
    guide = noise(1, 1, 9, 12, seed=1)
    assert torch.allclose(wls_filter(values, guide, 0.0, tolerance=1e-9), values)
    assert torch.allclose(wls_filter(values, guide, 1e6, tolerance=1e-9), values.mean(), atol=1e-3)


def test_the_mean_stays_and_no_value_goes_beyond():
    values, guide = noise(2, 3, 15, 10), noise(2, 1, 15, 10, seed=1)
    found = wls_filter(values, guide, tolerance=1e-9)
    assert torch.allclose(found.mean((-2, -1)), values.mean((-2, -1)), atol=1e-8)
    assert (found.amax((-2, -1)) <= values.amax((-2, -1))).all()
    assert (found.amin((-2, -1)) >= values.amin((-2, -1))).all()


def test_it_is_linear_and_its_own_transpose():
    guide, one, two = noise(1, 1, 8, 7), noise(1, 1, 8, 7, seed=1), noise(1, 1, 8, 7, seed=2)
    smooth = [wls_filter(each, guide, tolerance=1e-10) for each in (one, two, one + 2 * two)]
    assert torch.allclose(smooth[2], smooth[0] + 2 * smooth[1], atol=1e-7)
    assert torch.allclose((smooth[0] * two).sum(), (one * smooth[1]).sum(), atol=1e-7)


def test_an_edge_stays_sharp_where_a_blur_makes_a_halo():
    step = torch.full((1, 1, 24, 40), 0.2)
    step[..., 20:] = 0.8
    rough = step + 0.02 * (noise(1, 1, 24, 40, dtype=torch.float32) - 0.5)
    base = wls_filter(rough, rough, 0.25, 2.0)
    assert (base - step).abs().max() < 0.01
    assert base.diff(dim=-2).abs().max() < 0.1 * rough.diff(dim=-2).abs().max()
    without = wls_filter(rough, torch.full_like(rough, 0.5), smoothness=1e-3)  # no edge in the guide: a blur
    assert (without - step).abs().max() > 0.2


def test_channels_and_images_are_smoothed_each_by_itself():
    values, guide = noise(2, 3, 9, 8), noise(2, 1, 9, 8, seed=1)
    values[0, 1] = 0
    together = wls_filter(values, guide, tolerance=1e-9)
    for i in range(2):
        for c in range(3):
            alone = wls_filter(values[i : i + 1, c : c + 1], guide[i : i + 1], tolerance=1e-9)
            assert torch.allclose(together[i, c], alone[0, 0], atol=1e-7)


def test_black_guides_single_precision_and_the_callers_values():
    values = noise(1, 2, 6, 5, dtype=torch.float32)
    kept = values.clone()
    found = wls_filter(values, torch.zeros(1, 1, 6, 5))
    assert found.dtype == torch.float32 and found.isfinite().all()
    assert torch.equal(values, kept)
    assert torch.equal(wls_filter(0 * values, values[:, :1]), 0 * values)
    dark = (noise(1, 1, 6, 5, seed=1) > 0.5) / 255
    assert torch.equal(wls_filter(values, dark), found), "black is one step of a byte"


def test_giving_up_is_said():
    values = noise(1, 1, 30, 30)
    with pytest.raises(RuntimeError, match=r"after 2 iterations the error may be .*, not 1.0e-09; allow more"):
        wls_filter(values, noise(1, 1, 30, 30, seed=1), tolerance=1e-9, most=2)
    one = torch.full((1, 1, 1, 1), 0.5).double()
    assert torch.equal(wls_filter(one, one, most=0), one), "nothing to do needs no iteration"


@pytest.mark.parametrize(
    ("values", "guide", "options", "says"),
    [
        ((1, 2, 4, 5), (1, 1, 4, 6), {}, "do not belong together"),
        ((1, 2, 4, 5), (1, 3, 4, 5), {}, r"a guide of \(1, 3, 4, 5\)"),
        ((2, 4, 5), (1, 4, 5), {}, "do not belong together"),
        ((1, 1, 0, 5), (1, 1, 0, 5), {}, "do not belong together"),
        ((1, 2, 4, 5), (1, 1, 4, 5), {"smoothness": -1.0}, "smoothness -1.0"),
        ((1, 2, 4, 5), (1, 1, 4, 5), {"sensitivity": float("nan")}, "sensitivity nan"),
        ((1, 2, 4, 5), (1, 1, 4, 5), {"epsilon": 0.0}, "epsilon 0.0"),
        ((1, 2, 4, 5), (1, 1, 4, 5), {"tolerance": 0.0}, "tolerance 0.0"),
        ((1, 2, 4, 5), (1, 1, 4, 5), {"most": -1}, "-1 iterations"),
    ],
)
def test_bad_input_is_named(values, guide, options, says):
    with pytest.raises(ValueError, match=says):
        wls_filter(noise(*values), noise(*guide), **options)


def test_bytes_are_refused_with_the_way_out():
    floats = noise(1, 1, 6, 7)
    whole = (255 * floats).byte()
    for values, guide in ((whole, whole), (whole, floats), (floats, whole)):
        with pytest.raises(ValueError, match=r"(values|guide) are torch.uint8; expected floats: \1 / 255"):
            wls_filter(values, guide)
