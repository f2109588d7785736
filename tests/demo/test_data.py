from __future__ import annotations

import json
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from energon_prep.demo.data import _COLORS, make_raw_dataset, make_raw_videos
from energon_prep.errors import PrepError

MEDIA = (".jpg", ".png", ".webp")


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    start = time.perf_counter()
    make_raw_dataset(root)
    assert time.perf_counter() - start < 6  # about 0.5 s on an idle machine
    return root


def test_every_image_has_its_caption(root):
    images = [path for path in root.rglob("*") if path.suffix in MEDIA]
    assert len(images) == 48
    assert len({path.stem for path in images}) == 48
    assert {path.suffix for path in images} == set(MEDIA)
    assert {path.parent.name for path in images} == {"day", "dusk", "night"}
    num_words = []
    for path in images:
        num_words.append(len(path.with_suffix(".txt").read_text(encoding="utf-8").split()))
        with Image.open(path) as image:
            assert 200 <= min(image.size) <= max(image.size) <= 900
    assert min(num_words) >= 5 and max(num_words) <= 60
    assert max(num_words) > 40
    metadata = [json.loads(path.read_text(encoding="utf-8")) for path in root.rglob("*.json")]
    assert len(metadata) == 12
    assert all(set(entry) == {"aesthetic_score", "license"} for entry in metadata)


def test_captions_are_true(root):
    """Colors named are there, others are not, and "left of" is so."""
    for path in root.rglob("*.png"):
        caption = path.with_suffix(".txt").read_text(encoding="utf-8").lower()
        with Image.open(path) as image:
            pixels = np.asarray(image)
        things = caption.split(" over ")[0]
        columns = {}
        for name, color in _COLORS.items():
            found = np.argwhere((pixels == color).all(axis=-1))
            assert (len(found) > 20) == (name in things), (path, name, caption)
            if len(found):
                columns[name] = found[:, 1].mean()
        named = sorted(columns, key=things.index)
        assert named == sorted(columns, key=columns.__getitem__)
        if "percent" in caption:
            shape = "wider than tall" if pixels.shape[1] > pixels.shape[0] else "taller than wide"
            assert shape in caption


def test_same_seed_same_samples(tmp_path):
    make_raw_dataset(tmp_path / "a", num=6)
    make_raw_dataset(tmp_path / "b", num=9)
    make_raw_dataset(tmp_path / "c", num=6, seed=1)
    first, more, other = (files(tmp_path / name) for name in "abc")
    assert first == {name: data for name, data in more.items() if name in first}
    assert len(more) > len(first)
    assert first != other


def test_options(tmp_path):
    make_raw_dataset(tmp_path, num=5, min_side=40, max_side=40, formats=["png"])
    images = list(tmp_path.rglob("*.png"))
    assert len(images) == 5
    with Image.open(images[0]) as image:
        assert image.size == (40, 40)
    with pytest.raises(PrepError, match=r"\.docx"):
        make_raw_dataset(tmp_path, formats=["docx"])


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    make_raw_videos(root, num=6, side=128, seconds=1)
    return root


def test_every_video_has_its_caption_and_its_clip(videos):
    paths = sorted(path for path in videos.rglob("*") if path.suffix in (".mp4", ".webm"))
    assert [path.suffix for path in sorted(paths, key=lambda path: path.stem)] == [
        ".mp4",
        ".webm",
    ] * 3
    sizes = set()
    for path in paths:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            sizes.add((stream.height, stream.width))
            num, rate = sum(1 for _ in container.decode(stream)), stream.average_rate
        assert 0.75 <= num / rate <= 1.25 and rate in (16, 24, 30)
        metadata = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        start, end = metadata["clip"]
        assert 0 < start < end < num / rate
        assert 5 <= len(path.with_suffix(".txt").read_text(encoding="utf-8").split()) <= 30
    assert sizes == {(128, 128), (72, 128), (128, 72)}


def test_what_videos_show_moves_as_their_captions_say(videos):
    for path in videos.rglob("*.mp4"):
        caption = path.with_suffix(".txt").read_text(encoding="utf-8")
        color = next(name for name in _COLORS if name in caption.split(" mov")[0])
        with av.open(str(path)) as container:
            frames = [
                frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)
            ]
        sky = [frame[: len(frame) * 3 // 5] for frame in (frames[0], frames[-1])]
        found = [np.argwhere(np.abs(half - _COLORS[color]).max(axis=-1) < 40) for half in sky]
        assert min(map(len, found)) > 5, (path, caption)
        down, across = (found[1].mean(axis=0) - found[0].mean(axis=0)).tolist()
        direction = (
            ("left to right" if across > 0 else "right to left")
            if abs(across) > abs(down)
            else None
        )
        direction = direction or ("top to bottom" if down > 0 else "bottom to top")
        assert direction in caption, (path, caption, down, across)


def test_same_seed_same_videos(tmp_path):
    make_raw_videos(tmp_path / "a", num=2, side=64, seconds=0.5)
    make_raw_videos(tmp_path / "b", num=3, side=64, seconds=0.5)
    first, more = (files(tmp_path / name) for name in "ab")
    assert first == {name: data for name, data in more.items() if name in first}
    with pytest.raises(PrepError, match=r"\.mkv"):
        make_raw_videos(tmp_path, formats=["mkv"])
