from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from energon_prep.decode import pixels as pixels_module
from energon_prep.errors import SampleError
from tests.decode.files import (
    GRAY,
    GRAY_ALPHA,
    RGB,
    RGB_ALPHA,
    chunk,
    decoded,
    gray_tiff,
    linear_gray_profile,
    midgray_cmyk_profile,
    png,
    smooth,
    swapped_profile,
    written,
)

WHITE = (255, 255, 255)


def first_pixel(data: bytes) -> tuple[int, ...]:
    return tuple(int(value) for value in decoded(data).pixels[0, 0, 0])


def flat(mode: str, color: float | tuple[int, ...]) -> Image.Image:
    return Image.new(mode, (16, 16), color)


def test_one_bit():
    image = Image.fromarray(np.eye(16, dtype=bool))
    np.testing.assert_array_equal(
        decoded(written(image, "PNG")).pixels[0, :, :, 1], np.eye(16) * 255
    )


def test_palette():
    image = smooth(16, 16).quantize(32)
    np.testing.assert_array_equal(
        decoded(written(image, "PNG")).pixels[0], np.asarray(image.convert("RGB"))
    )


@pytest.mark.parametrize("transparency", [0, b"\0\xff"])
def test_transparent_palette_entry_is_white(transparency):
    image = flat("P", 1)
    image.putpalette([9, 9, 9, 200, 100, 50])
    image.putpixel((0, 0), 0)
    pixels = decoded(written(image, "PNG", transparency=transparency)).pixels[0]
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 1].tolist() == [200, 100, 50]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (flat("LA", (0, 0)), WHITE),
        (flat("LA", (100, 255)), (100, 100, 100)),
        (flat("RGBA", (0, 0, 0, 0)), WHITE),
        (flat("RGBA", (0, 100, 255, 51)), (204, 224, 255)),  # 20% of the color, 80% white
    ],
)
@pytest.mark.parametrize("suffix", ["PNG", "TIFF"])
def test_alpha_is_laid_over_white(image, expected, suffix):
    assert first_pixel(written(image, suffix)) == expected


def test_colors_under_full_transparency_do_not_bleed():
    pixels = np.zeros((64, 64, 4), np.uint8)  # transparent black ...
    pixels[:, :31] = (255, 0, 0, 255)  # ... beside red
    frames = decoded(
        written(Image.fromarray(pixels), "PNG"), mode="stretch", resolution=16, filter="bilinear"
    )
    assert frames.pixels[..., 0].min() == 255


@pytest.mark.parametrize("value", [0, 257, 32768, 65535])
def test_16_bit_gray_is_scaled(value):
    expected = (round(value * 255 / 65535),) * 3
    samples = np.full((16, 16), value, np.uint16)
    assert first_pixel(png(samples[..., None], GRAY)) == expected
    assert first_pixel(written(Image.fromarray(samples), "TIFF")) == expected
    assert (
        first_pixel(written(Image.fromarray(samples), "TIFF", compression="tiff_deflate"))
        == expected
    )
    assert first_pixel(written(Image.fromarray(samples.astype(">u2")), "TIFF")) == expected


@pytest.mark.parametrize(("color", "channels"), [(RGB, 3), (RGB_ALPHA, 4), (GRAY_ALPHA, 2)])
def test_other_16_bit_png(color, channels):
    samples = np.full((16, 16, channels), 65535, np.uint16)
    samples[..., 0] = 0x8040
    assert first_pixel(png(samples, color))[0] == 0x80


def test_16_bit_transparent_color():
    gray = np.full((16, 16, 1), 0x1234, np.uint16)
    gray[0, 0] = 0x1235
    pixels = decoded(png(gray, GRAY, before=chunk(b"tRNS", struct.pack(">H", 0x1235)))).pixels[0]
    assert pixels[0, 0, 0] == 255
    assert pixels[1, 1, 0] == 18
    color = np.full((16, 16, 3), 0x8000, np.uint16)
    assert (
        first_pixel(png(color, RGB, before=chunk(b"tRNS", struct.pack(">3H", *[0x8000] * 3))))
        == WHITE
    )


def test_12_bit_and_white_is_zero_tiff():
    packed = b"\xff\xf0\x00" * 2  # 4095, 0 twice
    pixels = decoded(gray_tiff(1, 4, bits=12, white_is_zero=False, data=packed)).pixels[0, 0, :, 0]
    assert pixels.tolist() == [255, 0, 255, 0]
    inverted = struct.pack("<2H", 65535, 0)
    pixels = decoded(gray_tiff(1, 2, bits=16, white_is_zero=True, data=inverted)).pixels[0, 0, :, 0]
    assert pixels.tolist() == [0, 255]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_of_unknown_range_are_refused(mode):
    with pytest.raises(SampleError, match="decode: floating-point, signed or 32-bit pixels"):
        decoded(written(flat(mode, 1), "TIFF"))


@pytest.mark.parametrize("mode", ["YCbCr", "LAB", "CMYK"])
def test_other_color_spaces(mode):
    reference = smooth(16, 16)
    if mode == "LAB":
        lab = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        image = lab.apply(reference)
    else:
        image = reference.convert(mode)
    difference = decoded(written(image, "TIFF")).pixels[0].astype(int) - np.asarray(reference)
    assert np.abs(difference).mean() < 1.5  # LAB of 8 bits is coarse


def test_cmyk_jpeg_as_adobe_writes_it():
    red = flat("CMYK", (0, 255, 255, 0))
    data = written(red, "JPEG", quality=95)
    assert b"Adobe" in data
    assert np.abs(np.array(first_pixel(data)) - (255, 0, 0)).max() <= 3


def test_ycck_jpeg():
    # YCbCr of cyan's complement and no black, stored inverted as Adobe does; then marked as YCCK.
    data = written(flat("CMYK", (255 - 76, 255 - 85, 255 - 255, 0)), "JPEG", quality=95)
    transform = data.index(b"Adobe") + 11
    data = data[:transform] + b"\x02" + data[transform + 1 :]
    assert np.abs(np.array(first_pixel(data)) - (0, 255, 255)).max() <= 5


def test_profile_is_converted_to_srgb():
    red = flat("RGB", (255, 0, 0))
    assert first_pixel(written(red, "PNG")) == (255, 0, 0)
    for suffix in ("PNG", "TIFF"):
        converted = first_pixel(written(red, suffix, icc_profile=swapped_profile()))
        assert np.abs(np.array(converted) - (0, 255, 0)).max() <= 2
    alpha = flat("RGBA", (255, 0, 0, 255))
    assert first_pixel(written(alpha, "PNG", icc_profile=swapped_profile()))[0] <= 2


def test_profile_of_jpeg_and_webp():
    photo = smooth(64, 48)
    for suffix, options in (("JPEG", {}), ("WEBP", {"lossless": True})):
        plain = decoded(written(photo, suffix, **options)).pixels[0].astype(int)
        tagged = decoded(written(photo, suffix, icc_profile=swapped_profile(), **options)).pixels[0]
        assert np.abs(tagged[..., [1, 0, 2]] - plain).max() <= 3


def test_srgb_profile_changes_nothing():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = smooth(64, 48)
    np.testing.assert_array_equal(
        decoded(written(photo, "PNG", icc_profile=profile)).pixels[0], np.asarray(photo)
    )


def test_gray_profile():
    linear = first_pixel(written(flat("L", 55), "PNG", icc_profile=linear_gray_profile()))
    assert linear == pytest.approx((128, 128, 128), abs=1)  # sRGB of 0.2157
    with_alpha = first_pixel(
        written(flat("LA", (55, 255)), "PNG", icc_profile=linear_gray_profile())
    )
    assert with_alpha == linear


def test_gray_image_with_rgb_profile():
    assert first_pixel(written(flat("L", 99), "PNG", icc_profile=swapped_profile())) != (0, 0, 0)


def test_cmyk_profile():
    ink = flat("CMYK", (0, 255, 255, 0))
    for suffix in ("JPEG", "TIFF"):
        assert first_pixel(
            written(ink, suffix, icc_profile=midgray_cmyk_profile())
        ) == pytest.approx((119,) * 3, abs=2)


@pytest.mark.parametrize(
    "profile",
    [b"no profile", swapped_profile()[:300], linear_gray_profile(), midgray_cmyk_profile()],
)
def test_broken_or_foreign_profile_is_ignored(profile):
    assert first_pixel(written(flat("RGB", (255, 0, 0)), "PNG", icc_profile=profile)) == (255, 0, 0)
    ink = written(flat("CMYK", (0, 255, 255, 0)), "TIFF", icc_profile=swapped_profile())
    assert first_pixel(ink) == pytest.approx((255, 0, 0), abs=2)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_is_laid_over_white_strip_by_strip(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    image = smooth(37, 50).convert("RGBA")
    image.putalpha(smooth(37, 50, seed=1).convert("L"))
    whole = pixels_module.opaque(image.convert(mode))
    for num in (1, 150, 37 * 50 - 1):
        monkeypatch.setattr(pixels_module, "_STRIP_PIXELS", num)
        assert pixels_module.opaque(image.convert(mode)).tobytes() == whole.tobytes()
