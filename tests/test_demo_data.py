from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from energon_prep.demo_data import _COLORS, make_raw_dataset
from energon_prep.errors import PrepError

MEDIA = (".jpg", ".png", ".webp")


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


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
