"""The tile strategy on dask arrays: the same result, lazily, from and to Zarr, on several processes."""

import os
import sys
from functools import partial

import dask
import dask.array as da
import numpy as np
import pytest
import torch
from dask.distributed import Client, LocalCluster

from xferlib.nets.unet import UNet
from xferlib.ops.tiling import apply_tiled, map_tiles, reach


@pytest.fixture(autouse=True)
def one_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def net(**kwargs):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet(2, 3, width=4, depth=2, **kwargs).double().eval()


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.double)


def argmax(scores):
    return scores.argmax(1)


def equal(lazy, expected):
    assert lazy.shape == tuple(expected.shape) and lazy.dtype == expected.numpy().dtype
    np.testing.assert_allclose(lazy.compute(), expected, rtol=0, atol=1e-12)


VALID, PADDED = net(), net(padding="reflect")
REACH = reach(PADDED, 2)


def test_mirror_of_dask_is_not_ours():
    # What the function's notes say: dask's repeats the border pixel.
    array = da.arange(6, chunks=3)
    np.testing.assert_array_equal(da.overlap.overlap(array, 2, "reflect")[:3], [1, 0, 0])
    np.testing.assert_array_equal(np.pad(np.arange(6), 2, "reflect")[:3], [2, 1, 0])


# An image of many tiles, one that is smaller than the margin, one side only, and last chunks smaller than the margin.
@pytest.mark.parametrize("size", [(70, 93), (7, 9), (6, 100), (65, 41)])
@pytest.mark.parametrize("padding", ["reflect", "replicate", "zeros"])
def test_valid_net(size, padding):
    image = noise(2, *size)
    array = da.from_array(image.numpy(), chunks=(1, 30, 50))
    for tile, step in ((60, None), (92, 27)):
        expected = apply_tiled(VALID, image, tile, step=step, padding=padding)
        equal(map_tiles(VALID, array, tile, step=step, padding=padding), expected)


def test_small_steps_share_a_chunk():
    # A step of 8 leaves a tile 32 beyond its kept part: four tiles make a chunk as large as what it borrows.
    lazy = map_tiles(VALID, da.zeros((2, 100, 133)), 60, step=8)
    assert lazy.chunks == ((3,), (32, 32, 32, 4), (32, 32, 32, 32, 5))


def test_valid_net_without_padding():
    image = noise(2, 100, 133)
    for tile, step in ((60, None), (92, 27)):
        expected = apply_tiled(VALID, image, tile, step=step, padding="none")
        equal(map_tiles(VALID, da.from_array(image.numpy()), tile, step=step, padding="none"), expected)


@pytest.mark.parametrize("size", [(110, 93), (20, 121)])
def test_net_that_keeps_the_size(size):
    image = noise(2, *size)
    array = da.from_array(image.numpy(), chunks=(2, 64, 64))
    with torch.no_grad():
        whole = PADDED(image[None])[0]
    for tile, step in ((60, None), (89, 8)):
        equal(map_tiles(PADDED, array, tile, step=step, halo=REACH), whole)
    equal(map_tiles(PADDED, array, 60, halo=3), apply_tiled(PADDED, image, 60, halo=3))


def test_then_and_scale():
    image = noise(2, 100, 70)
    array = da.from_array(image.numpy())
    equal(map_tiles(VALID, array, 60, then=argmax), apply_tiled(VALID, image, 60, then=argmax))
    twice = torch.nn.Upsample(scale_factor=2)
    equal(map_tiles(twice, array, 30), twice(image[None])[0])
    equal(map_tiles(twice, array, 30, then=partial(torch.sum, dim=1)), twice(image[None])[0].sum(0))


def test_bytes_in_the_order_of_another_machine():
    image = noise(2, 100, 70)
    array = da.from_array(image.numpy().astype(">f8"), chunks=(2, 64, 64))
    equal(map_tiles(VALID, array, 60), apply_tiled(VALID, image, 60))


def test_nothing_is_computed_before_it_is_asked_for():
    read = []

    def pixels(block_info):
        read.append(block_info[None]["chunk-location"])
        return np.zeros(block_info[None]["chunk-shape"])

    array = da.map_blocks(pixels, chunks=((2,), (50, 50), (50, 50)), dtype=float, meta=np.empty((0, 0, 0)))
    result = map_tiles(VALID, array, 60)
    assert isinstance(result, da.Array) and not read
    result[:, :10, :10].compute()
    assert read == [(0, 0, 0)]


def test_from_zarr_to_zarr(tmp_path):
    image = noise(2, 150, 133)
    da.from_array(image.numpy(), chunks=(2, 64, 64)).to_zarr(tmp_path / "image.zarr")
    array = da.from_zarr(tmp_path / "image.zarr")
    map_tiles(VALID, array, 92, then=argmax).to_zarr(tmp_path / "valid.zarr")
    labels = da.from_zarr(tmp_path / "valid.zarr")
    assert labels.chunks == ((52, 52, 46), (52, 52, 29))
    equal(labels, apply_tiled(VALID, image, 92, then=argmax))
    # Chunks of this one are cut where the halo is not, and evened out.
    map_tiles(PADDED, array, 92, halo=REACH).to_zarr(tmp_path / "same.zarr")
    equal(da.from_zarr(tmp_path / "same.zarr"), apply_tiled(PADDED, image, 92, halo=REACH))


def test_on_two_worker_processes():
    image = noise(2, 90, 100)
    array = da.from_array(image.numpy(), chunks=(2, 64, 64))
    local = {"processes": True, "host": "127.0.0.1", "dashboard_address": ":0"}
    with LocalCluster(n_workers=2, threads_per_worker=1, **local) as cluster, Client(cluster, timeout=120) as client:
        client.wait_for_workers(2, timeout=120)
        processes = client.run(os.getpid)
        assert len({os.getpid(), *processes.values()}) == 3
        lazy = map_tiles(VALID, array, 92)
        assert lazy.numblocks == (1, 2, 2)
        result = client.compute(lazy).result(timeout=120)
    np.testing.assert_allclose(result, apply_tiled(VALID, image, 92), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("array", "kwargs", "message"),
    [
        (da.zeros((2, 0, 70)), {}, r"array of shape \(2, 0, 70\)"),
        (da.zeros((50, 70)), {}, r"array of shape \(50, 70\); give \(C, H, W\)"),
        (da.zeros((2, 50, 70), dtype=np.uint8), {}, r"array of uint8; .*array / np.float32\(255\)"),
        (da.zeros((3, 50, 70)), {}, r"takes \(B, 2, H, W\)"),
        (da.zeros((2, 50, 70)), {"tile": 62}, "nearest legal: 60 and 64"),
        (da.zeros((2, 50, 70)), {"step": 21}, "step 21 leaves gaps"),
        (da.zeros((2, 50, 70)), {"then": lambda scores: scores.mean((2, 3))}, r"then made \(1, 3\)"),
    ],
)
def test_bad_requests_are_named(array, kwargs, message):
    with pytest.raises(ValueError, match=message):
        map_tiles(VALID, array, **{"tile": 60, **kwargs})


def test_first_pixel_without_a_number_is_named():
    image = noise(2, 100, 133)
    image[1, 77, 99] = torch.nan
    lazy = map_tiles(VALID, da.from_array(image.numpy()), 60)
    with pytest.raises(ValueError, match="nan in channel 1 at row 77, column 99"):
        lazy.compute()


def test_missing_dask_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(ImportError, match=r'pip install "\.\[large\]"'):
        map_tiles(VALID, None, 60)
