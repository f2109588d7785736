from __future__ import annotations

import io
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, features
from PIL.JpegImagePlugin import JpegImageFile

from energon_prep.decode.image import _draft
from energon_prep.errors import PrepError, SampleError
from tests.decode.files import (
    GRAY,
    PALETTE,
    RGB,
    STORED,
    chunk,
    decoded,
    lanczos,
    png,
    png_header,
    smooth,
    swapped_profile,
    webp_header,
    written,
)

PHOTO = smooth(56, 80)
ORIENTATION = 0x0112
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")

FILES = {
    "jpg": written(PHOTO, "JPEG"),
    "progressive": written(PHOTO, "JPEG", progressive=True),
    "png": written(PHOTO, "PNG"),
    "webp": written(PHOTO, "WEBP"),
    "gif": written(PHOTO, "GIF"),
    "bmp": written(PHOTO, "BMP"),
    "tiff": written(PHOTO, "TIFF"),
    "lzw": written(PHOTO, "TIFF", compression="tiff_lzw"),
    "jpeg-in-tiff": written(PHOTO, "TIFF", compression="jpeg"),
    **({"avif": written(PHOTO, "AVIF")} if features.check("avif") else {}),
}


def rejected(data: bytes, **options) -> SampleError:
    with pytest.raises(SampleError) as caught:
        decoded(data, **options)
    return caught.value


@pytest.mark.parametrize("name", FILES)
def test_every_format_decodes_as_pillow_does(name):
    frames = decoded(FILES[name])
    with Image.open(io.BytesIO(FILES[name])) as reference:
        np.testing.assert_array_equal(frames.pixels[0], np.asarray(reference.convert("RGB")))
    assert (frames.original_height, frames.original_width) == (56, 80)
    assert frames.crop == (0, 0, 56, 80)
    assert frames.framerate is None


def test_pixels_own_their_memory():
    pixels = decoded(FILES["jpg"], mode="crop", resolution=32, multiple=16).pixels
    assert pixels.shape == (1, 32, 32, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous and pixels.flags.owndata and pixels.flags.writeable


def test_gray_jpeg():
    pixels = decoded(written(PHOTO.convert("L"), "JPEG")).pixels
    assert pixels.shape == (1, 56, 80, 3)
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_interlaced_png():
    samples = np.asarray(PHOTO)[:21, :13]
    np.testing.assert_array_equal(decoded(png(samples, RGB, interlaced=True)).pixels[0], samples)


@pytest.mark.parametrize(
    "suffix", ["GIF", "WEBP", "TIFF", "PNG", pytest.param("AVIF", marks=needs_avif)]
)
def test_first_of_several_frames(suffix):
    red, blue = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    pixels = decoded(written(red, suffix, save_all=True, append_images=[blue])).pixels
    assert pixels.shape[0] == 1
    assert np.abs(pixels[0, 0, 0].astype(int) - (255, 0, 0)).max() <= 3


def test_bytes_tell_the_format():
    assert rejected(b"").reason == "empty file"
    for data in (
        b"not a picture at all",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"P6 1 1 255 abc",
    ):
        error = rejected(data)
        assert (error.stage, error.reason) == ("decode", "not an image Pillow can read")
        assert repr(data[:10])[1:-1] in error.detail


def test_avif_without_support(monkeypatch):
    monkeypatch.setattr(features, "check", lambda name: False)
    error = rejected(struct.pack(">I", 28) + b"ftypmif1\0\0\0\0mif1avifmiaf")
    assert "11.3" in error.reason
    assert Image.__version__ in error.detail


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_cut_files_are_rejected(name, share):
    error = rejected(FILES[name][: int(len(FILES[name]) * share)])
    assert error.stage == "decode"
    assert error.reason in ("truncated image", "broken image")
    if name in ("jpg", "progressive"):
        assert error.reason == "truncated image" or share == 0.05


def test_palette_png_without_a_palette_is_rejected():
    assert rejected(png(np.zeros((16, 16, 1), np.uint8), PALETTE)).reason == "broken image"


def test_grey_filling_is_refused(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(PrepError, match="LOAD_TRUNCATED_IMAGES"):
        decoded(FILES["jpg"][:-100])


@pytest.mark.parametrize("header", [png_header, webp_header])
def test_bombs_are_refused_by_their_header(header):
    error = rejected(header(40000, 50000), max_pixels=200_000_000)
    assert (error.reason, error.detail) == ("more pixels than limits.max_pixels", "40000x50000")


def test_pixels_are_counted_after_the_first_frame_has_its_say():
    gif = bytearray(written(Image.new("L", (16, 16)), "GIF"))
    place = gif.index(b",\0\0\0\0\x10\0\x10\0")
    gif[place + 5 : place + 9] = struct.pack("<HH", 4000, 4000)
    assert rejected(bytes(gif), max_pixels=10**6).reason == "more pixels than limits.max_pixels"


@pytest.mark.parametrize("name", FILES)
def test_max_pixels_alone_decides(name, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded(FILES[name], max_pixels=56 * 80)
    assert rejected(FILES[name], max_pixels=56 * 80 - 1).detail == "56x80"
    assert Image.MAX_IMAGE_PIXELS == 56 * 80  # raised, never lowered


def test_min_size():
    assert decoded(FILES["png"], min_size=56)
    error = rejected(FILES["png"], min_size=57)
    assert (error.stage, error.reason) == ("filter", "shorter side below resize.min_size")
    assert error.detail == "56x80, needs 57"


def test_smaller_than_a_patch():
    error = rejected(FILES["png"], multiple=64)
    assert (error.stage, error.reason) == ("decode", "smaller than one latent patch")


def oriented(upright: Image.Image, orientation: int, suffix: str, **options) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(upright))))
    return written(stored, suffix, exif=exif, **options)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_orientation_is_applied_exactly(orientation, suffix, options):
    upright = smooth(37, 53)
    data = oriented(upright, orientation, suffix, **options)
    frames = decoded(data)
    np.testing.assert_array_equal(frames.pixels[0], np.asarray(upright))
    assert (frames.original_height, frames.original_width) == (37, 53)
    cropped = decoded(data, multiple=16)  # an uneven remainder, so that a flipped crop would show
    top, left, bottom, right = cropped.crop
    np.testing.assert_array_equal(cropped.pixels[0], np.asarray(upright)[top:bottom, left:right])
    assert cropped.crop == (2, 2, 34, 50)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("mode", ["bucket", "crop", "stretch"])
def test_orientation_of_a_reduced_jpeg(orientation, mode):
    upright = smooth(601, 1003)
    options = {"mode": mode, "resolution": 64, "multiple": 16}
    frames = decoded(oriented(upright, orientation, "JPEG", quality=95), **options)
    reference = decoded(written(upright, "PNG"), **options)
    assert (frames.original_height, frames.original_width) == (601, 1003)
    # a reduced pixel is 4 wide, one of the result 9
    assert np.abs(np.subtract(frames.crop, reference.crop)).max() <= 4
    assert np.abs(frames.pixels[0] - lanczos(upright, frames)).mean() < 0.5
    # so the crop is the right one
    assert np.abs(frames.pixels[0] - lanczos(upright, frames, shift=4)).mean() > 1


@needs_avif
def test_orientation_of_avif():
    frames = decoded(oriented(smooth(36, 52), 6, "AVIF", quality=95))
    assert np.abs(frames.pixels[0].astype(int) - np.asarray(smooth(36, 52))).mean() < 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x09"]
)
def test_broken_exif_is_ignored(exif):
    for suffix in ("JPEG", "PNG", "WEBP"):
        assert decoded(written(PHOTO, suffix, exif=exif)).pixels.shape == (1, 56, 80, 3)
    assert decoded(png(np.asarray(PHOTO), RGB, before=chunk(b"eXIf", exif[6:]))).pixels.shape == (
        1,
        56,
        80,
        3,
    )


@pytest.mark.parametrize("size", [(640, 480), (641, 479), (1999, 3001), (100, 90)])
@pytest.mark.parametrize("gap", [1.0, 1.5, 2.0])
def test_draft_leaves_gap_times_the_target(size, gap):
    image = JpegImageFile(io.BytesIO(written(Image.new("L", size), "JPEG")))
    target = (60, 70)
    scale = _draft(image, target, gap)
    image.load()
    assert (image.height >= gap * target[0] and image.width >= gap * target[1]) or scale == 1
    assert image.size == (-(-size[0] * scale // 1), -(-size[1] * scale // 1))
    halved = (
        size[0] * scale / 2 >= gap * target[1] + 1 and size[1] * scale / 2 >= gap * target[0] + 1
    )
    assert scale == 1 / 8 or not halved  # and it is the smallest that does


@pytest.mark.parametrize("mode", ["bucket", "crop", "fit", "stretch"])
def test_draft_changes_pixels_little_and_nothing_else(mode):
    data = written(smooth(1000, 1500), "JPEG", quality=95)
    options = {"mode": mode, "resolution": 128, "multiple": 16}
    whole = decoded(data, **options, draft_gap=100)
    reduced = decoded(data, **options, draft_gap=1.5)
    assert np.abs(np.subtract(reduced.crop, whole.crop)).max() <= 2  # a reduced pixel is 4 wide
    (original,) = decoded(data).pixels
    for frames in (whole, reduced):
        difference = np.abs(frames.pixels[0] - lanczos(Image.fromarray(original), frames))
        assert difference.max() <= 6
        assert difference.mean() < 0.5
    assert not np.array_equal(reduced.pixels, whole.pixels)


@pytest.mark.parametrize("name", ["lanczos", "bicubic", "bilinear", "box"])
def test_filters_are_antialiased(name):
    checkered = np.indices((256, 256)).sum(axis=0, dtype=np.uint8) % 2 * 255
    data = png(checkered[..., None], GRAY)
    pixels = decoded(data, mode="stretch", resolution=32, multiple=16, filter=name).pixels[
        0, 4:-4, 4:-4
    ]
    assert np.abs(pixels.astype(int) - 127).max() <= 3


def test_crop_is_what_is_seen():
    image = Image.new("RGB", (300, 100), "red")
    image.paste((0, 255, 0), (100, 0, 200, 100))
    frames = decoded(written(image, "PNG"), mode="crop", resolution=32, multiple=16)
    assert frames.crop == (0, 100, 100, 200)
    assert frames.pixels[0, 16, 16].tolist() == [0, 255, 0]
    assert np.abs(frames.pixels[0, :, 2:-2].astype(int) - (0, 255, 0)).max() <= 1


def test_threads_decode_alike():
    photos = [
        written(smooth(90, 130, seed), "JPEG", icc_profile=swapped_profile()) for seed in range(24)
    ]
    alone = [decoded(photo, mode="crop", resolution=64).pixels for photo in photos]
    with ThreadPoolExecutor(8) as pool:
        together = pool.map(lambda photo: decoded(photo, mode="crop", resolution=64).pixels, photos)
    for expected, found in zip(alone, together, strict=True):
        np.testing.assert_array_equal(found, expected)


@settings(
    max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(["jpg", "progressive", "png", "webp", "gif", "tiff"]),
    edits=st.lists(st.tuples(st.integers(0, 10**5), st.integers(0, 255)), min_size=1, max_size=8),
    headers_only=st.booleans(),
    end=st.integers(1, 10**5),
)
@pytest.mark.filterwarnings("ignore")
def test_mutated_files_give_frames_or_a_sample_error(name, edits, headers_only, end):
    data = bytearray(FILES[name])
    for place, value in edits:
        data[place % (200 if headers_only else len(data))] = value
    try:
        frames = decoded(
            bytes(data[:end]), mode="crop", resolution=32, multiple=16, max_pixels=10**6
        )
    except SampleError as error:
        assert error.stage == "decode"
    else:
        assert frames.pixels.shape == (1, 32, 32, 3)


def test_an_mpo_is_its_first_picture():
    """As phones and stereo cameras write them, several JPEGs in one file."""
    first, second = smooth(32, 48, seed=1), smooth(32, 48, seed=2)
    data = written(first, "MPO", save_all=True, append_images=[second], quality=95)
    assert np.abs(decoded(data).pixels[0].astype(int) - np.asarray(first)).mean() < 4


@pytest.mark.parametrize(("sample_format", "kind"), [(1, None), (2, "signed, mode L")])
def test_signed_bytes_of_a_tiff_are_no_gray(sample_format, kind):
    """Pillow gives -128 as 128."""
    tags = [
        (256, 4),
        (257, 2),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 0),
        (277, 1),
        (278, 2),
        (279, 8),
        (339, sample_format),
    ]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack("<HHIHH", tag, 3, 1, start if tag == 273 else value, 0) for tag, value in tags
    )
    data = (
        b"II*\0"
        + struct.pack("<IH", 8, len(tags))
        + entries
        + bytes(4)
        + bytes([0, 1, 127, 128, 129, 200, 254, 255])
    )
    if kind is None:
        assert decoded(data).pixels[0, :, :, 0].tolist() == [[0, 1, 127, 128], [129, 200, 254, 255]]
        return
    with pytest.raises(SampleError) as caught:
        decoded(data)
    assert (caught.value.reason, caught.value.detail) == (
        "floating-point, signed or 32-bit pixels",
        kind,
    )
