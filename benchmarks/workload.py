"""What is measured on: photo-like images of mixed sizes and short clips, with captions; the same
each time.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

_WORDS = [
    "a",
    "the",
    "of",
    "in",
    "on",
    "with",
    "under",
    "over",
    "small",
    "large",
    "red",
    "green",
    "blue",
    "golden",
    "old",
    "wooden",
    "stone",
    "river",
    "mountain",
    "forest",
    "street",
    "market",
    "child",
    "dog",
    "cat",
    "bird",
    "horse",
    "boat",
    "bridge",
    "tower",
    "window",
    "lamp",
    "evening",
    "morning",
    "light",
    "rain",
    "snow",
    "cloud",
    "sky",
    "shadow",
    "running",
    "standing",
    "sitting",
    "holding",
    "looking",
    "beside",
    "behind",
    "between",
    "photograph",
    "painting",
    "detailed",
    "wide",
    "close",
    "bright",
    "dark",
]


def make_images(
    root: Path, *, num: int, seed: int = 0, smallest: int = 640, largest: int = 1920
) -> None:
    """``num`` JPEGs whose longer side is ``smallest`` to ``largest`` pixels, captions of 5 to 60
    words beside them.
    """
    if root.exists():
        return
    root.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(num):
        long = int(rng.integers(smallest, largest + 1))
        short = int(long / rng.uniform(1.0, 1.8))
        height, width = (short, long) if rng.random() < 0.6 else (long, short)
        (root / f"{i:06d}.jpg").write_bytes(_jpeg(_picture(rng, height, width)))
        words = rng.choice(_WORDS, int(rng.integers(5, 61)))
        (root / f"{i:06d}.txt").write_text(" ".join(words))


def make_clips(
    root: Path, *, num: int, frames: int = 33, height: int = 240, width: int = 416, seed: int = 0
) -> None:
    """``num`` H.264 clips of ``frames`` frames, captions beside them."""
    import av

    if root.exists():
        return
    root.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(num):
        scene = np.asarray(
            Image.fromarray(rng.integers(0, 255, (8, 16, 3), dtype=np.uint8)).resize(
                (2 * width, 2 * height)
            )
        )
        with av.open(str(root / f"{i:04d}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=16)
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            for t in range(frames):
                x, y = (t * (1 + i % 5)) % width, (t * (1 + i % 3)) % height
                pixels = np.ascontiguousarray(scene[y : y + height, x : x + width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
        (root / f"{i:04d}.txt").write_text(" ".join(rng.choice(_WORDS, int(rng.integers(5, 61)))))


def make_squares(
    root: Path,
    *,
    num: int,
    size: int,
    words: int = 12,
    distinct: int = 16,
    per_tar: int = 10_000,
    seed: int = 0,
) -> None:
    """WebDataset tars of ``num`` JPEGs of ``size`` x ``size``: a few over and over, each with a
    caption of its own.
    """
    if root.exists():
        return
    root.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    images = [_jpeg(_picture(rng, size, size)) for _ in range(distinct)]
    for first in range(0, num, per_tar):
        with (root / f"{first // per_tar:05d}.tar").open("wb") as file:
            for i in range(first, min(first + per_tar, num)):
                caption = " ".join([str(i), *rng.choice(_WORDS, words - 1)])
                for suffix, data in (("jpg", images[i % distinct]), ("txt", caption.encode())):
                    member = tarfile.TarInfo(f"{i:09d}.{suffix}")
                    member.size = len(data)
                    file.write(
                        member.tobuf(tarfile.USTAR_FORMAT)
                        + data
                        + bytes(-len(data) % tarfile.BLOCKSIZE)
                    )
            file.write(bytes(2 * tarfile.BLOCKSIZE))


def _picture(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """Structure at several scales, as a photograph has: JPEG's cost is in its detail."""
    layers = [
        rng.integers(0, 255, (height // s + 1, width // s + 1, 3), dtype=np.uint8)
        for s in (64, 16, 4)
    ]
    image = sum(
        np.asarray(Image.fromarray(layer).resize((width, height)), dtype=np.float32) * weight
        for layer, weight in zip(layers, (0.6, 0.3, 0.1), strict=True)
    )
    return Image.fromarray(np.asarray(image, dtype=np.uint8))


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
