"""Pillow's own resampling is the reference."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from energon_prep.decode import pixels as pixels_module
from energon_prep.decode.geometry import Cut
from energon_prep.decode.pixels import resize_image, resize_pixels
from tests.decode.files import decoded, lanczos, smooth, swapped_profile, written

FILTERS = ["lanczos", "bicubic", "bilinear", "box"]


def photo(height: int, width: int, seed: int = 0) -> Image.Image:
    """Structure at several scales, as a photograph has."""
    rng = np.random.default_rng(seed)
    layers = [
        rng.integers(0, 256, (height // s + 1, width // s + 1, 3), dtype=np.uint8)
        for s in (64, 16, 4)
    ]
    parts = [
        np.asarray(Image.fromarray(layer).resize((width, height))) * weight
        for layer, weight in zip(layers, (0.6, 0.3, 0.1), strict=True)
    ]
    return Image.fromarray(sum(parts).astype(np.uint8))


def cut(box: tuple[float, ...], size: tuple[int, int]) -> Cut:
    return Cut(box=box, size=size, crop=(0, 0, 1, 1))


def rows_first(image: Image.Image, size: tuple[int, int], name: str) -> NDArray[Any]:
    """Each row to its width, then each column to its height, as Pillow did up to 12 in any case."""
    method = Image.Resampling[name.upper()]
    return np.asarray(
        image.resize((size[1], image.height), method).resize((size[1], size[0]), method)
    ).astype(int)


@settings(deadline=None)
@given(
    before=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    after=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    name=st.sampled_from(FILTERS),
    hard=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_size(before, after, name, hard, seed):
    """Noise of full contrast, where overshoot is cut off twice, is the worst there is."""
    noise = np.random.default_rng(seed).integers(
        0, 2 if hard else 256, (*before, 3), dtype=np.uint8
    )
    pixels = noise * 255 if hard else noise
    image = Image.fromarray(pixels)
    whole = cut((0, 0, before[1], before[0]), after)
    resized = np.asarray(resize_image(image, whole, resample=name))
    assert resized.shape == (*after, 3)
    assert np.abs(resized - rows_first(image, after, name)).max() <= 2
    np.testing.assert_array_equal(resize_pixels(pixels, whole, resample=name), resized)


@given(
    before=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    after=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    name=st.sampled_from(FILTERS),
    color=st.tuples(*3 * [st.integers(0, 255)]),
)
def test_a_flat_color_stays_what_it_is(before, after, name, color):
    pixels = np.full((*before, 3), color, np.uint8)
    resized = resize_pixels(pixels, cut((0, 0, before[1], before[0]), after), resample=name)
    np.testing.assert_array_equal(resized, np.full((*after, 3), color, np.uint8))


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(
    "box", [(7, 3, 601, 450), (0, 5, 640, 333), (3, 0, 637, 480), (0, 0, 640, 480)]
)
def test_whole_boxes_are_cut_out_first(name, box):
    image = photo(480, 640)
    size = (208, 272)
    resized = resize_image(image, cut(box, size), resample=name)
    reference = np.asarray(
        image.crop(box).resize((272, 208), Image.Resampling[name.upper()])
    ).astype(int)
    difference = np.abs(np.asarray(resized) - reference)
    assert difference.max() <= 1
    assert difference.mean() < 0.02
    np.testing.assert_array_equal(
        resize_pixels(np.asarray(image), cut(box, size), resample=name), resized
    )


@pytest.mark.parametrize("name", FILTERS)
def test_other_boxes_are_pillows(name):
    image = photo(48, 64)
    box = (3.25, 0.0, 60.5, 47.75)
    reference = np.asarray(image.resize((160, 128), Image.Resampling[name.upper()], box))
    np.testing.assert_array_equal(
        np.asarray(resize_image(image, cut(box, (128, 160)), resample=name)), reference
    )
    np.testing.assert_array_equal(
        resize_pixels(np.asarray(image), cut(box, (128, 160)), resample=name), reference
    )


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_modes_are_pillows(mode):
    image = photo(480, 640).convert(mode)
    box = (10, 20, 630, 470)
    reference = image.crop(box).resize((272, 208), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(
        resize_image(image, cut(box, (208, 272)), resample="lanczos"), reference
    )


def test_pictures_too_large_for_torch_are_pillows(monkeypatch):
    monkeypatch.setattr(pixels_module, "_MOST_PIXELS", 480 * 640 - 1)
    image = photo(480, 640)
    reference = np.asarray(image.resize((272, 208), Image.Resampling.LANCZOS))
    whole = cut((0, 0, 640, 480), (208, 272))
    np.testing.assert_array_equal(resize_image(image, whole, resample="lanczos"), reference)
    np.testing.assert_array_equal(
        resize_pixels(np.asarray(image), whole, resample="lanczos"), reference
    )


def test_without_torchs_kernels_pillow_does_it_all(monkeypatch):
    image = photo(480, 640)
    whole = cut((0, 0, 640, 480), (208, 272))
    fast = np.asarray(resize_image(image, whole, resample="lanczos")).astype(int)
    monkeypatch.setattr(pixels_module, "_TORCH_FILTERS", frozenset())
    reference = image.resize((272, 208), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(resize_image(image, whole, resample="lanczos"), reference)
    assert np.abs(fast - np.asarray(reference)).max() <= 1


MODES = [
    ("crop", (700, 1100), 256),
    ("bucket", (700, 1100), 256),
    ("bucket", (853, 640), 256),
    ("fit", (700, 1100), 256),
    ("stretch", (700, 1100), 256),
    ("crop", (120, 90), 256),  # enlarged
    ("bucket", (97, 141), 256),
    ("none", (301, 402), 256),
]


@pytest.mark.parametrize(("mode", "size", "resolution"), MODES)
@pytest.mark.parametrize("options", [{}, {"icc_profile": swapped_profile()}])
def test_images_are_pillows_resize_of_the_crop_they_report(mode, size, resolution, options):
    image = photo(*size, seed=size[0])
    frames = decoded(
        written(image, "PNG", **options), mode=mode, resolution=resolution, multiple=16
    )
    reference = lanczos(image, frames)
    if options:  # red and green exchanged
        reference = reference[..., [1, 0, 2]]
    difference = np.abs(frames.pixels[0] - reference)
    if size[0] > 256:
        assert difference.max() <= (1 if not options else 10)
        assert difference.mean() < (0.02 if not options else 1)
    else:  # the box that is taken is not rounded, the reported one is
        assert difference.mean() < 3


@pytest.mark.parametrize("mode", ["crop", "bucket"])
def test_a_crop_of_the_reduced_jpeg(mode):
    image = photo(1333, 2001)
    data = written(image, "JPEG", quality=95)
    frames = decoded(data, mode=mode, resolution=256, multiple=16)
    whole = Image.fromarray(decoded(data).pixels[0])
    near = np.abs(frames.pixels[0] - lanczos(whole, frames)).mean()
    assert near < 0.8
    assert np.abs(frames.pixels[0] - lanczos(whole, frames, shift=2)).mean() > 2 * near


def test_no_threads_are_started():
    """Decoding runs beside the models, in several threads already; nor does the number of threads
    change a byte.
    """
    script = """
import os, sys, zlib, numpy as np, torch
torch.set_num_threads(int(sys.argv[1]))
from energon_prep.decode.geometry import Cut
from energon_prep.decode.pixels import resize_pixels
pixels = np.random.default_rng(0).integers(0, 256, (2000, 3000, 3), dtype=np.uint8)
before = len(os.listdir("/proc/self/task"))
cut = Cut(box=(5, 0, 2996, 1999), size=(512, 768), crop=(0, 0, 1, 1))
resized = resize_pixels(pixels, cut, resample="lanczos")
assert len(os.listdir("/proc/self/task")) == before
print(zlib.crc32(resized), torch.get_num_threads())
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("counts threads in /proc")
    outputs = []
    for num in ("1", "4"):
        run = subprocess.run(
            [sys.executable, "-c", script, num], capture_output=True, text=True, check=True
        )
        outputs.append(run.stdout.split())
    assert [threads for _, threads in outputs] == ["1", "4"]
    assert outputs[0][0] == outputs[1][0]


def test_threads_give_the_same():
    images = [photo(300, 500, seed) for seed in range(6)]
    whole = cut((1, 2, 499, 298), (128, 208))
    alone = [np.asarray(resize_image(image, whole, resample="lanczos")) for image in images]
    found: list[Any] = [None] * len(images)

    def work(index: int) -> None:
        found[index] = np.asarray(resize_image(images[index], whole, resample="lanczos"))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(found, alone)


def test_results_own_their_memory():
    pixels = np.asarray(smooth(64, 96))
    resized = resize_pixels(pixels, cut((0, 0, 96, 64), (64, 96)), resample="lanczos")
    assert (
        resized.flags.c_contiguous
        and resized.flags.writeable
        and not np.shares_memory(resized, pixels)
    )
