"""HEIC and JPEG XL, as far as what decodes them is installed."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from energon_prep.decode import image, plugins
from energon_prep.decode.plugins import jxl_size
from energon_prep.errors import SampleError
from tests.decode.files import decoded, smooth, written

PICTURE = smooth(48, 80)


@pytest.fixture
def heif() -> bytes:
    pytest.importorskip("pillow_heif").register_heif_opener()
    return written(PICTURE, "HEIF", quality=90)


@pytest.fixture
def jxl() -> bytes:
    pytest.importorskip("pillow_jxl")
    return written(PICTURE, "JXL", lossless=True)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic",
            "HEIC needs a plugin: pip install 'energon-prep[heif]'",
        ),
        (b"\xff\x0a" + bytes(50), "JPEG XL needs a plugin: pip install 'energon-prep[jxl]'"),
    ],
)
def test_without_the_plugin_the_remedy_is_told(
    monkeypatch: pytest.MonkeyPatch, data: bytes, reason: str
) -> None:
    for module in (image, plugins):
        monkeypatch.setattr(module, "has_plugin", lambda kind: False)
    with pytest.raises(SampleError) as caught:
        decoded(data)
    assert caught.value.reason == reason


def test_heic(heif: bytes) -> None:
    pixels = decoded(heif).pixels[0].astype(int)
    assert np.abs(pixels - np.asarray(PICTURE)).mean() < 4
    with pytest.raises(SampleError, match=r"decode: (broken|truncated) image"):
        decoded(heif[: len(heif) // 2])
    with pytest.raises(SampleError, match="more pixels than limits"):
        decoded(heif, max_pixels=100)


def test_a_turned_heic_is_turned_once(heif: bytes) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    frames = decoded(written(PICTURE, "HEIF", quality=90, exif=exif.tobytes()))
    turned = np.asarray(PICTURE.transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert np.abs(frames.pixels[0].astype(int) - turned).mean() < 4


def test_jpeg_xl(jxl: bytes) -> None:
    np.testing.assert_array_equal(decoded(jxl).pixels[0], np.asarray(PICTURE))
    for cut in (jxl[:-1], jxl[:40]):
        with pytest.raises(SampleError, match="decode: broken image"):
            decoded(cut)
    with pytest.raises(SampleError, match="more pixels than limits"):
        decoded(jxl, max_pixels=100)


def test_a_jpeg_packed_as_jpeg_xl_is_that_jpeg(
    jxl: bytes, tmp_path: pytest.TempPathFactory
) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    path = tmp_path / "a.jpg"
    path.write_bytes(written(PICTURE, "JPEG", exif=exif))
    with Image.open(path) as jpeg:
        packed = written(jpeg, "JXL", lossless_jpeg=True)
    assert b"jbrd" in packed
    np.testing.assert_array_equal(decoded(packed).pixels, decoded(path.read_bytes()).pixels)


@pytest.mark.parametrize(
    "size", [(8, 8), (48, 80), (256, 256), (3, 500), (1000, 1500), (720, 1280), (77, 99)]
)
def test_the_claimed_size_is_read_from_the_header(jxl: bytes, size: tuple[int, int]) -> None:
    assert jxl_size(written(Image.new("L", size[::-1]), "JXL")) == size


def test_a_claim_is_refused_before_memory_is_asked_for() -> None:
    pytest.importorskip("pillow_jxl")
    side = 2**30 - 1  # of 30 bits: not small, selector 3, height, ratio 1 (a square)
    bits = 0 | 3 << 1 | (side - 1) << 3 | 1 << 33
    with pytest.raises(SampleError, match=f"more pixels than limits.max_pixels .{side}x{side}"):
        decoded(b"\xff\x0a" + bits.to_bytes(30, "little"))
    with pytest.raises(SampleError, match="broken image"):
        decoded(b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40))
