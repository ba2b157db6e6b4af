"""Reading and writing pictures of every kind, and refusing what is none."""

import io
import os
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from xferlib.data import images
from xferlib.data.images import ImageError

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RGB[..., 0]
PALETTE = np.array([[10, 20, 30], [200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)


def unit(pixels):
    """Give (H, W, 3) or (H, W) bytes as the tensor that should be read."""
    pixels = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)


def stored(path, image, **options):
    image.save(path, **options)
    return path


def close(image, expected, levels=0.51):
    return image.shape == expected.shape and float((image - expected).abs().max()) <= levels / 255


# ------------------------------------------------------------------ modes


@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp", "ppm"])
def test_lossless_rgb_is_read_exactly(tmp_path, suffix):
    image = images.read(stored(tmp_path / f"a.{suffix}", Image.fromarray(RGB)))
    assert image.dtype == torch.float32
    assert torch.equal(image, unit(RGB))


def test_grey_becomes_three_equal_channels(tmp_path):
    assert torch.equal(images.read(stored(tmp_path / "a.png", Image.fromarray(GREY))), unit(GREY))


def test_one_bit(tmp_path):
    bits = GREY > 127
    image = images.read(stored(tmp_path / "a.png", Image.fromarray(bits)))
    assert torch.equal(image, unit(bits.astype(np.uint8) * 255))


def exchanged(name="BGR linear ok"):
    """Give the profile of sRGB with red and blue exchanged, under another name of 13 letters."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = (profile.index(tag) for tag in (b"rXYZ", b"bXYZ"))
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile).replace("sRGB built-in".encode("utf-16-be"), name.encode("utf-16-be"))


def linear_grey():
    """Give a profile of grey whose values are light itself."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = b"GRAY"
    tag = profile.index(b"rTRC")
    profile[tag : tag + 4] = b"kTRC"
    curve = int.from_bytes(profile[tag + 4 : tag + 8], "big")
    profile[curve : curve + 14] = struct.pack(">4sIIH", b"curv", 0, 1, 0x100)
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "grey".encode("utf-16-be"))


def test_linear_values_are_no_srgb_whatever_their_name(tmp_path):
    flat = Image.new("RGB", (4, 4), (200, 90, 40))
    read = images.read(stored(tmp_path / "a.png", flat, icc_profile=exchanged("sRGB linear.1")))
    assert (read.mean((1, 2)) * 255 - torch.tensor([40.0, 90.0, 200.0])).abs().max() < 4
    grey = images.read(stored(tmp_path / "b.png", Image.new("L", (4, 4), 55), icc_profile=linear_grey()))
    light = 1.055 * (55 / 255) ** (1 / 2.4) - 0.055
    torch.testing.assert_close(grey, torch.full((3, 4, 4), light), atol=1.5 / 255, rtol=0)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp"])
def test_colours_of_another_profile_are_converted(tmp_path, suffix):
    flat = Image.new("RGB", (16, 16), (200, 90, 40))
    read = images.read(stored(tmp_path / f"a.{suffix}", flat, icc_profile=exchanged()))
    assert (read.mean((1, 2)) * 255 - torch.tensor([40.0, 90.0, 200.0])).abs().max() < 4
    assert close(images.from_pil(flat), unit(np.asarray(flat)))


def test_a_profile_leaves_transparency_and_orientation(tmp_path):
    pixels = np.full((2, 3, 4), (200, 90, 40, 255), np.uint8)
    pixels[0, 0, 3] = 0
    exif = Image.Exif()
    exif[0x0112] = 3
    picture = Image.fromarray(pixels)
    read = images.read(stored(tmp_path / "a.png", picture, icc_profile=exchanged(), exif=exif))
    assert (
        torch.equal(read[:, 1, 2], torch.ones(3))
        and (read[:, 0, 0] * 255 - torch.tensor([40, 90, 200])).abs().max() < 4
    )
    opaque = Image.fromarray(pixels[..., :3])
    read = images.read(stored(tmp_path / "b.png", opaque, icc_profile=exchanged(), transparency=(200, 90, 40)))
    assert torch.equal(read, torch.ones(3, 2, 3))


@pytest.mark.parametrize("profile", [b"no profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_profiles_that_say_nothing_new_change_no_value(tmp_path, profile, mode):
    picture = Image.fromarray(RGB if mode == "RGB" else GREY)
    assert torch.equal(images.read(stored(tmp_path / "a.png", picture, icc_profile=profile)), unit(np.asarray(picture)))


def test_a_profile_of_colours_does_not_fit_a_print(tmp_path):
    printed = Image.new("CMYK", (4, 4), (0, 255, 255, 0))
    plain = images.read(stored(tmp_path / "a.jpg", printed))
    assert torch.equal(images.read(stored(tmp_path / "b.jpg", printed, icc_profile=exchanged())), plain)


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_alpha_is_laid_over_white(tmp_path, suffix):
    alpha = np.linspace(0, 255, GREY.size).round().astype(np.uint8).reshape(GREY.shape)
    rgba = Image.fromarray(np.dstack([RGB, alpha]))
    lossless = {"lossless": True, "exact": True} if suffix == "webp" else {}
    image = images.read(stored(tmp_path / f"a.{suffix}", rgba, **lossless))
    share = torch.from_numpy(alpha / 255).float()
    assert close(image, unit(RGB) * share + 1 - share, 1e-3)


def test_grey_with_alpha(tmp_path):
    alpha = np.where(np.arange(9) < 4, 255, 51).astype(np.uint8) * np.ones((6, 1), np.uint8)
    image = images.read(stored(tmp_path / "a.png", Image.fromarray(np.dstack([GREY, alpha]))))
    assert torch.equal(image[..., :4], unit(GREY)[..., :4])
    assert close(image[..., 4:], unit(GREY)[..., 4:] * 0.2 + 0.8, 1e-3)


def palette_image():
    indices = np.arange(24, dtype=np.uint8).reshape(4, 6) % 4
    image = Image.fromarray(indices)
    image.putpalette(PALETTE.tobytes())
    return image, indices


@pytest.mark.parametrize("suffix", ["png", "gif", "tiff"])
def test_palette(tmp_path, suffix):
    image, indices = palette_image()
    assert torch.equal(images.read(stored(tmp_path / f"a.{suffix}", image)), unit(PALETTE[indices]))


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_palette_with_one_transparent_colour(tmp_path, suffix):
    image, indices = palette_image()
    seen = PALETTE.copy()
    seen[2] = 255
    path = stored(tmp_path / f"a.{suffix}", image, transparency=2)
    assert torch.equal(images.read(path), unit(seen[indices]))


def test_palette_with_an_alpha_for_each_colour(tmp_path):
    image, indices = palette_image()
    path = stored(tmp_path / "a.png", image, transparency=bytes([255, 0, 51, 255]))
    seen = PALETTE.astype(float)
    seen[1], seen[2] = 255, seen[2] * 0.2 + 255 * 0.8
    assert close(images.read(path), unit(seen[indices]), 1e-3)


@pytest.mark.parametrize(("pixels", "colour"), [(RGB, tuple(int(c) for c in RGB[2, 3])), (GREY, int(GREY[2, 3]))])
def test_png_with_a_transparent_colour_but_no_alpha(tmp_path, pixels, colour):
    image = images.read(stored(tmp_path / "a.png", Image.fromarray(pixels), transparency=colour))
    assert torch.equal(image[:, 2, 3], torch.ones(3))
    hit = (pixels == np.array(colour)).reshape(6, 9, -1).all(2)
    assert torch.equal(image[:, ~hit], unit(pixels)[:, ~hit])


def test_cmyk_tiff(tmp_path):
    ink = np.zeros((2, 3, 4), np.uint8)
    ink[0, 0] = (255, 0, 0, 0)
    ink[0, 1] = (0, 0, 0, 255)
    image = images.read(stored(tmp_path / "a.tiff", Image.fromarray(ink, "CMYK")))
    assert image[:, 0, 0].tolist() == [0, 1, 1]
    assert image[:, 0, 1].tolist() == [0, 0, 0]
    assert image[:, 1, 2].tolist() == [1, 1, 1]


def test_cmyk_jpeg(tmp_path):
    red = Image.new("RGB", (32, 32), (255, 0, 0)).convert("CMYK")
    image = images.read(stored(tmp_path / "a.jpg", red, quality=95))
    assert close(image, torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 32, 32), 6)


@pytest.mark.parametrize("mode", ["YCbCr", "LAB", "HSV", "RGBX"])
def test_other_modes_of_pillow(mode):
    pixels = np.full((4, 5, 3), 128, np.uint8)
    image = images.from_pil(Image.fromarray(pixels).convert("RGB").convert(mode) if mode != "LAB" else lab())
    assert close(image, unit(pixels), 6)


def lab():
    from PIL import ImageCms

    rgb, target = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(rgb, target, "RGB", "LAB")
    return ImageCms.applyTransform(Image.new("RGB", (5, 4), (128, 128, 128)), transform)


# ------------------------------------------------------------------ sixteen bits and floats

DEEP = np.array([[0, 1, 255, 256], [257, 32768, 65534, 65535]], np.uint16)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_keep_their_precision(tmp_path, suffix):
    image = images.read(stored(tmp_path / f"a.{suffix}", Image.fromarray(DEEP)))
    assert torch.equal(image, torch.from_numpy(DEEP / 65535).float().expand(3, -1, -1))
    assert torch.equal((image[0] * 65535).round().int(), torch.from_numpy(DEEP.astype(np.int32)))


def test_sixteen_bits_big_endian(tmp_path):
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 4 2 65535\n" + DEEP.astype(">u2").tobytes())
    assert torch.equal((images.read(path)[0] * 65535).round().int(), torch.from_numpy(DEEP.astype(np.int32)))


def test_sixteen_bits_with_a_transparent_value(tmp_path):
    image = images.read(stored(tmp_path / "a.png", Image.fromarray(DEEP), transparency=256))
    assert image[0, 0, 3] == 1
    assert image[0, 0, 2] == pytest.approx(255 / 65535)


def test_twelve_bits_in_sixteen(tmp_path):
    path = stored(tmp_path / "a.png", Image.fromarray(np.array([[0, 4095]], np.uint16)))
    assert images.read(path, white=4095)[0].tolist() == [[0, 1]]
    with pytest.warns(UserWarning, match=r"brightest pixel of .*a.png is 4095 of 65535: .* 12 bits, give white=4095"):
        assert images.read(path)[0, 0, 1] == pytest.approx(4095 / 65535)


@pytest.mark.parametrize("values", [[0, 2**14], [0, 0]])
def test_a_picture_bright_enough_for_sixteen_bits_is_taken_for_one(tmp_path, values):
    assert images.read(stored(tmp_path / "a.png", Image.fromarray(np.array([values], np.uint16)))).min() == 0


def test_thirty_two_bit_integers(tmp_path):
    image = images.read(stored(tmp_path / "a.tiff", Image.fromarray(DEEP.astype(np.int32))))
    assert torch.equal(image[0], torch.from_numpy(DEEP / 65535).float())


def test_floats_are_taken_as_they_are(tmp_path):
    values = np.random.default_rng(1).random((4, 5), np.float32)
    path = stored(tmp_path / "a.tiff", Image.fromarray(values))
    assert torch.equal(images.read(path), torch.from_numpy(values).expand(3, -1, -1))


@pytest.mark.parametrize("values", [[[0.0, 255.0]], [[-0.5, 1.0]], [[np.nan, 1.0]], [[0.5, np.inf]]])
def test_floats_without_a_known_range_are_refused(tmp_path, values):
    path = stored(tmp_path / "a.tiff", Image.fromarray(np.array(values, np.float32)))
    with pytest.raises(ImageError, match=r"a\.tiff: mode F runs from .* give white=, or --white,"):
        images.read(path)


def test_white_tells_the_range(tmp_path):
    path = stored(tmp_path / "a.tiff", Image.fromarray(np.array([[0.0, 51.0, 255.0]], np.float32)))
    assert images.read(path, white=255)[0, 0].tolist() == pytest.approx([0, 0.2, 1])
    with pytest.raises(ImageError, match="white=0 is not positive"):
        images.read(path, white=0)


# ------------------------------------------------------------------ orientation, frames, formats

QUADRANTS = np.repeat(np.repeat(np.array([[0, 80, 160], [200, 240, 40]], np.uint8), 16, 0), 16, 1)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda a: a),
        (2, np.fliplr),
        (3, lambda a: np.rot90(a, 2)),
        (4, np.flipud),
        (5, np.transpose),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a, 2).T),
        (8, np.rot90),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_exif_orientation(tmp_path, suffix, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"jpg": {"quality": 95}, "webp": {"lossless": True}}.get(suffix, {})
    path = stored(tmp_path / f"a.{suffix}", Image.fromarray(QUADRANTS), exif=exif, **options)
    assert close(images.read(path), unit(turn(QUADRANTS)), 6 if suffix == "jpg" else 0.1)


def test_orientation_of_sixteen_bits(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = images.read(stored(tmp_path / "a.png", Image.fromarray(DEEP), exif=exif))
    assert torch.equal(image[0], torch.from_numpy(np.rot90(DEEP, -1) / 65535).float())


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0"])
def test_damaged_exif_does_not_spoil_the_picture(tmp_path, exif):
    path = stored(tmp_path / "a.jpg", Image.fromarray(QUADRANTS), exif=exif, quality=95)
    assert close(images.read(path), unit(QUADRANTS), 6)


@pytest.mark.parametrize("suffix", ["gif", "webp", "tiff", "png"])
def test_of_many_frames_the_first(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    path = stored(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    assert close(images.read(path), torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 6, 8), 6)


def test_the_content_decides_not_the_suffix(tmp_path):
    image = images.read(stored(tmp_path / "a.jpg", Image.fromarray(RGB), format="PNG"))
    assert torch.equal(image, unit(RGB))


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_from_pil_turns_a_picture_that_was_opened_elsewhere(form):
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(QUADRANTS).save(buffer, form, exif=exif)
    image = Image.open(buffer)
    for _ in range(2):
        assert torch.equal(images.from_pil(image), unit(np.rot90(QUADRANTS, -1)))


def test_from_pil_leaves_its_argument_alone():
    image = Image.fromarray(RGB)
    images.from_pil(image).zero_()
    assert np.array_equal(np.asarray(image), RGB)


# ------------------------------------------------------------------ files that are none


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.png: no such file, though its folder is there"):
        images.read(tmp_path / "no.png")
    with pytest.raises(FileNotFoundError, match="nor is there a folder"):
        images.read(tmp_path / "nowhere" / "no.png")


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "a").write_text("x")
    with pytest.raises(FileNotFoundError, match="nor is there a folder"):
        images.read(tmp_path / "a" / "b.png")


def test_a_folder(tmp_path):
    with pytest.raises(ImageError, match=r"a folder, not a picture; see .*ImageFolder"):
        images.read(tmp_path)


def test_an_empty_file(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(ImageError, match=r"a\.png: the file is empty"):
        images.read(tmp_path / "a.png")


def test_a_file_that_is_no_picture(tmp_path):
    (tmp_path / "a.png").write_text("hello, I am a text of some length, and no picture at all")
    with pytest.raises(ImageError, match=r"a\.png: not a picture that Pillow can read; convert"):
        images.read(tmp_path / "a.png")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_one_may_not_read(tmp_path):
    path = stored(tmp_path / "a.png", Image.fromarray(RGB))
    path.chmod(0)
    with pytest.raises(ImageError, match="no permission"):
        images.read(path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_a_file_cut_short(tmp_path, suffix, share):
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = stored(tmp_path / f"a.{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ImageError, match=rf"a\.{suffix}: .*(again|convert)"):
        images.read(path)


def test_too_many_pixels(tmp_path):
    path = stored(tmp_path / "a.png", Image.new("1", (300, 200)))
    with pytest.raises(ImageError, match=r"a\.png: more than 59999 pixels.*read\(path, max_pixels="):
        images.read(path, max_pixels=59999)
    with pytest.raises(ImageError, match="more than 100 pixels"):
        images.read(path, max_pixels=100)
    assert images.read(path, max_pixels=60000).shape == (3, 200, 300)


def test_a_bomb_is_refused_by_default_and_before_decoding(tmp_path):
    path = tmp_path / "a.png"
    Image.new("1", (20000, 20000)).save(path)
    with pytest.raises(ImageError, match="decompression bomb"):
        images.read(path)


def test_the_limit_of_pillow_is_left_as_it_was(tmp_path):
    before = Image.MAX_IMAGE_PIXELS
    path = stored(tmp_path / "a.png", Image.fromarray(RGB))
    images.read(path, max_pixels=54)
    with pytest.raises(ImageError):
        images.read(path, max_pixels=53)
    assert before == Image.MAX_IMAGE_PIXELS


def test_no_warning_leaks(tmp_path):
    image, _ = palette_image()
    path = stored(tmp_path / "a.png", image, transparency=bytes([255, 0, 51, 255]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images.read(path)
    assert not caught


def test_threads_may_read_side_by_side(tmp_path):
    path = stored(tmp_path / "a.png", Image.fromarray(RGB))
    before, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    threads = [threading.Thread(target=images.read, args=(path, 1000 + k)) for k in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert before == Image.MAX_IMAGE_PIXELS and warnings.filters == filters


def encoded(suffix):
    buffer = io.BytesIO()
    Image.fromarray(QUADRANTS).save(buffer, {"jpg": "JPEG"}.get(suffix, suffix.upper()))
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "gif"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_by_name(tmp_path_factory, suffix, data):
    content = bytearray(encoded(suffix))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged.{suffix}"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        image = images.read(path, max_pixels=10**6)
    except ImageError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        assert image.dtype == torch.float32 and image.shape[0] == 3
        assert image.min() >= 0 and image.max() <= 1


# ------------------------------------------------------------------ writing


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.tif", "a.tiff"])
def test_lossless_round_trip(tmp_path, name):
    images.write(tmp_path / name, unit(RGB))
    assert torch.equal(images.read(tmp_path / name), unit(RGB))


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.webp"])
def test_lossy_round_trip(tmp_path, name):
    smooth = torch.linspace(0, 1, 64).expand(3, 48, 64)
    images.write(tmp_path / name, smooth)
    assert close(images.read(tmp_path / name), smooth, 4)
    with Image.open(tmp_path / name) as image:
        assert image.format == {"webp": "WEBP"}.get(name[2:], "JPEG")


def test_quality_is_paid_for_in_bytes(tmp_path):
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    for quality in (20, 95):
        images.write(tmp_path / f"{quality}.jpg", noise, quality=quality)
    assert (tmp_path / "20.jpg").stat().st_size < (tmp_path / "95.jpg").stat().st_size
    with pytest.raises(ImageError, match="quality 0 is not in 1 to 100"):
        images.write(tmp_path / "a.jpg", noise, quality=0)


def test_values_are_clamped_and_rounded():
    image = torch.tensor([-1.0, 2.0, 0.4 / 255, 0.6 / 255, 254.6 / 255]).expand(3, 1, 5)
    assert np.asarray(images.to_pil(image))[0, :, 0].tolist() == [0, 255, 0, 1, 255]


def test_one_channel_is_written_in_grey(tmp_path):
    images.write(tmp_path / "a.png", unit(RGB)[:1])
    with Image.open(tmp_path / "a.png") as written:
        assert written.mode == "L" and np.array_equal(np.asarray(written), RGB[:, :, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_is_written(dtype):
    assert np.asarray(images.to_pil(torch.full((3, 2, 2), 0.5, dtype=dtype))).flatten()[0] in (127, 128)


def test_a_strided_picture_with_a_gradient_is_written(tmp_path):
    image = unit(RGB).clone().requires_grad_()
    images.write(tmp_path / "a.png", image.transpose(1, 2))
    assert torch.equal(images.read(tmp_path / "a.png"), unit(RGB).transpose(1, 2))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(2, 4, 4), r"shape \(2, 4, 4\) is not \(3, H, W\) or \(1, H, W\)"),
        (torch.zeros(1, 3, 4, 4), r"shape \(1, 3, 4, 4\) is not \(3, H, W\)"),
        (torch.zeros(4, 4), "is not"),
        (torch.zeros(4, 4, 3), "is not"),
        (torch.zeros(3, 0, 4), "is not"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "uint8 is not floating point; for 0..255 divide by 255"),
        (torch.full((3, 4, 4), torch.nan), "48 of 48 values are nan or infinite"),
        (torch.full((3, 4, 4), torch.inf), "nan or infinite"),
    ],
)
def test_what_is_no_picture_is_not_written(tmp_path, image, message):
    with pytest.raises(ImageError, match=message):
        images.to_pil(image)
    with pytest.raises(ImageError, match=r"a\.png: .*" + message):
        images.write(tmp_path / "a.png", image)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.gif"])
def test_unknown_suffix(tmp_path, name):
    with pytest.raises(ImageError, match=r"unknown suffix .*use one of \.png, \.jpg"):
        images.write(tmp_path / name, unit(RGB))


def test_a_missing_folder_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*make it first"):
        images.write(tmp_path / "nowhere" / "a.png", unit(RGB))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    images.write(path, unit(RGB))
    before = path.read_bytes()

    def broken(self, file, *_, **__):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", broken)
    with pytest.raises(ImageError, match=r"PNG of 6 x 9 not written .*No space"):
        images.write(path, unit(RGB).transpose(1, 2))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_too_large_for_its_format(tmp_path):
    with pytest.raises(ImageError, match=r"a\.webp: WEBP of 17000 x 1 not written"):
        images.write(tmp_path / "a.webp", torch.zeros(3, 1, 17000))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="modes are a matter of POSIX")
def test_a_written_file_has_the_usual_mode(tmp_path):
    (tmp_path / "usual").touch()
    images.write(tmp_path / "a.png", unit(RGB))
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "usual").stat().st_mode


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_png_round_trip_of_any_picture(tmp_path_factory, height, width, seed):
    path = tmp_path_factory.getbasetemp() / "any.png"
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))
    images.write(path, image)
    assert close(images.read(path), image, 0.5001)


# ------------------------------------------------------------------ labels

LABELS = torch.tensor([[0, 1, 2], [3, 255, 0]])


def test_labels_round_trip(tmp_path):
    path = tmp_path / "a.png"
    images.write_labels(path, LABELS, PALETTE)
    labels = images.read_labels(path)
    assert labels.dtype == torch.int64
    assert torch.equal(labels, LABELS)
    with Image.open(path) as image:
        assert image.mode == "P"
    seen = np.vstack([PALETTE, np.zeros((252, 3), np.uint8)])[LABELS.numpy()]
    assert torch.equal(images.read(path), unit(seen)), "the palette gives the colours, void is black"


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 256), st.integers(0, 2**32 - 1))
def test_labels_round_trip_with_any_palette(tmp_path_factory, num_classes, seed):
    path = tmp_path_factory.getbasetemp() / "labels.png"
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(rng.choice([*range(num_classes), 255], (5, 7)))
    images.write_labels(path, labels, rng.integers(0, 256, (num_classes, 3), dtype=np.uint8))
    assert torch.equal(images.read_labels(path), labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.bool_])
def test_grey_files_hold_labels_too(tmp_path, dtype):
    numbers = np.array([[0, 1], [1, 0]], dtype) if dtype == np.bool_ else np.array([[0, 7], [11, 255]], dtype)
    suffix = "tiff" if dtype == np.int32 else "png"
    path = stored(tmp_path / f"a.{suffix}", Image.fromarray(numbers))
    assert torch.equal(images.read_labels(path), torch.from_numpy(numbers.astype(np.int64)))


def test_many_instances_fit_in_sixteen_bits(tmp_path):
    path = stored(tmp_path / "a.png", Image.fromarray(DEEP))
    assert torch.equal(images.read_labels(path), torch.from_numpy(DEEP.astype(np.int64)))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_masks_of_few_bits_are_read_as_stored(tmp_path, bits):
    """A grey PNG of one row, written by hand: Pillow writes none of 2 or 4 bits."""
    count = 8 // bits
    values = [(3 * i + 1) % 2**bits for i in range(count)]
    row = bytes([0, sum(value << (8 - bits * (i + 1)) for i, value in enumerate(values))])

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", count, 1, bits, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    assert images.read_labels(tmp_path / "a.png").tolist() == [values]


def test_colours_are_no_labels(tmp_path):
    with pytest.raises(ImageError, match=r"a\.png: mode RGB holds colours"):
        images.read_labels(stored(tmp_path / "a.png", Image.fromarray(RGB)))
    with pytest.raises(ImageError, match=r"a\.jpg: JPEG alters class numbers"):
        images.read_labels(stored(tmp_path / "a.jpg", Image.fromarray(GREY)))


@pytest.mark.parametrize(
    ("labels", "palette", "message"),
    [
        (torch.tensor([[4]]), PALETTE, "label 4 has no colour: the palette has 4"),
        (torch.tensor([[-1]]), PALETTE, "label -1 has no colour"),
        (torch.tensor([[0.0]]), PALETTE, "float32, not integers"),
        (torch.zeros(1, 2, 2, dtype=torch.long), PALETTE, r"shape \(1, 2, 2\) are not \(H, W\)"),
        (torch.tensor([[0]]), PALETTE / 255, "float64, is not"),
        (torch.tensor([[0]]), PALETTE[:, :2], "palette of shape"),
        (torch.tensor([[0]]), np.zeros((257, 3), np.uint8), "palette of shape"),
    ],
)
def test_labels_that_cannot_be_written(tmp_path, labels, palette, message):
    with pytest.raises(ImageError, match=r"a\.png: .*" + message):
        images.write_labels(tmp_path / "a.png", labels, palette)
    assert not list(tmp_path.iterdir())


def test_labels_are_written_as_png_only(tmp_path):
    with pytest.raises(ImageError, match=r"written as \.png, not '\.jpg'"):
        images.write_labels(tmp_path / "a.jpg", LABELS, PALETTE)


def test_numbers_above_255_come_back_from_a_file(tmp_path):
    numbers = torch.arange(600).view(20, 30)
    images.write_numbers(tmp_path / "n.png", numbers)
    assert torch.equal(images.read_labels(tmp_path / "n.png"), numbers)


@pytest.mark.parametrize(
    ("name", "numbers", "words"),
    [
        ("n.jpg", torch.zeros(2, 2).long(), "written as .png"),
        ("n.png", torch.zeros(2, 2), "float32"),
        ("n.png", torch.zeros(2, 2, 1).long(), r"\(2, 2, 1\)"),
        ("n.png", torch.full((2, 2), 65536), "65536 do not fit"),
        ("n.png", torch.full((2, 2), -1), "from -1"),
    ],
)
def test_numbers_that_cannot_be_written_are_named(tmp_path, name, numbers, words):
    with pytest.raises(images.ImageError, match=words):
        images.write_numbers(tmp_path / name, numbers)
    assert not list(tmp_path.iterdir())


def test_a_want_of_memory_is_not_laid_on_the_file(tmp_path, monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(images, "_converted", full)
    with pytest.raises(MemoryError):
        images.read(stored(tmp_path / "a.png", Image.fromarray(DEEP)))
