from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from energon_prep.decode import image as image_module
from energon_prep.decode.image import decode_image
from energon_prep.decode.video import decode_video
from energon_prep.formats import HEAD_BYTES, kind_of
from energon_prep.recipes.model import Filters, Limits, Resize
from energon_prep.recipes.model import Frames as FramesSection
from energon_prep.samples import Media
from tests.decode.files import smooth, written
from tests.media_files import make_animation, make_video

TRANSPARENT = Image.new("RGBA", (96, 48), (200, 0, 0, 100))
PIXELS = 96 * 48


def image_shares(data: bytes, resolution: int = 48) -> list[int]:
    """Bytes that are taken before the image is decoded, its own apart."""
    shares: list[int] = []
    resize = Resize(mode="crop", resolution=resolution)
    options: Any = {"resize": resize, "multiple": 16, "max_pixels": 10**6, "filters": Filters()}
    decode_image(data, **options, take=shares.append)
    return [share - len(data) for share in shares]


@pytest.mark.parametrize(
    ("data", "bytes_a_pixel"),
    [
        (written(smooth(48, 96), "PNG"), 12),
        (written(smooth(48, 96), "JPEG"), 12),
        (written(smooth(48, 96), "JPEG", progressive=True), 12 + 6),
        (written(smooth(48, 96), "WEBP"), 24),
        (written(smooth(48, 96), "WEBP", lossless=True), 24),
        (written(TRANSPARENT, "WEBP"), 24),
    ],
)
def test_images_are_weighed_by_declared_pixels_and_copies(data: bytes, bytes_a_pixel: int) -> None:
    assert set(image_shares(data)) == {bytes_a_pixel * PIXELS}


def test_a_jpeg_that_is_decoded_reduced_takes_less() -> None:
    (share,) = image_shares(written(smooth(512, 512), "JPEG"), resolution=16)
    assert 0 < share < 12 * 512 * 512 / 4


def test_webp_is_weighed_before_pillow_asks_for_its_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoneLeftError(Exception):
        pass

    def take(num_bytes: int) -> None:
        raise NoneLeftError

    monkeypatch.setattr(image_module, "_open", None)
    for options in ({}, {"lossless": True}):
        for image in (smooth(48, 96), TRANSPARENT):
            with pytest.raises(NoneLeftError):
                image_module.open_image(written(image, "WEBP", **options), 10**6, take)


@pytest.mark.parametrize(
    ("data", "bytes_a_pixel"),
    [
        (make_video("mp4-h264", num=5, height=64, width=128), 17 * 1.5 + 9),
        (make_animation("GIF", [40] * 5), 40),
    ],
)
def test_videos_are_weighed_by_frames_that_are_held(data: bytes, bytes_a_pixel: float) -> None:
    shares: list[int] = []
    decode_video(
        Media.of(data),
        kind_of(data[:HEAD_BYTES]),
        resizes={"32": Resize(mode="crop", resolution=32)},
        multiple=16,
        frames=FramesSection(num_frames=5),
        frame_step=4,
        filters=Filters(),
        limits=Limits(),
        metadata={},
        take=shares.append,
    )
    clip = 2 * 5 * 32 * 32 * 3
    own = 0 if kind_of(data[:HEAD_BYTES]) == "mp4" else len(data)
    pixels = 64 * 128 if kind_of(data[:HEAD_BYTES]) == "mp4" else PIXELS
    assert shares == [bytes_a_pixel * pixels + clip + own]
