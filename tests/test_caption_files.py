"""Files that a trainer reads beside the tars: written, verified, made again, taken away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import energon_prep
from energon_prep.demo.data import make_raw_dataset
from energon_prep.errors import PrepError
from energon_prep.layout import EMPTY_CAPTION
from energon_prep.shards.head import note_files
from energon_prep.storage import LocalStorage

T5 = "empty_encodings/t5_empty.npy"
CLIP = "empty_encodings/clip_empty.npy"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    make_raw_dataset(root, num=1, min_side=64, max_side=80)
    return root


def encode(raw: Path, dest: Path, recipe: str = "mlperf-flux", **options: Any) -> None:
    options |= {"recipe": recipe, "weights": "tiny", "torch_threads": 1}
    energon_prep.encode(raw, dest, resolution=32, **options)


def test_what_is_missing_or_damaged_is_told_and_made_again(raw: Path, tmp_path: Path) -> None:
    encode(raw, tmp_path)
    written = {name: (tmp_path / name).read_bytes() for name in (T5, CLIP)}
    assert energon_prep.verify(tmp_path).ok
    (tmp_path / CLIP).unlink()
    (tmp_path / T5).write_bytes(written[T5][:-1] + b"\0")
    report = energon_prep.verify(tmp_path, deep=False, mark_bad=True)
    assert report.problems == (
        f"{T5}: it is not the file that was written: its sha256 is another",
        f"{CLIP}: it is missing: run the same encode again",
    )
    assert report.marked == (T5,)
    encode(raw, tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in (T5, CLIP)} == written
    assert energon_prep.verify(tmp_path).ok


def test_an_empty_caption_that_makes_no_file_is_told(raw: Path, tmp_path: Path) -> None:
    encode(raw, tmp_path, "dit")
    other = (tmp_path / ".energon-prep/empty_caption.pickle").read_bytes()
    encode(raw, tmp_path, overwrite=True)
    (tmp_path / ".energon-prep/empty_caption.pickle").write_bytes(other)
    note_files(LocalStorage(tmp_path), [EMPTY_CAPTION], again=True)
    (problem,) = energon_prep.verify(tmp_path, deep=False).problems
    assert problem.startswith(f".energon-prep/empty_caption.pickle: {T5} cannot be made of it")


def test_overwriting_takes_them_away_and_files_of_others_stay(raw: Path, tmp_path: Path) -> None:
    mine = tmp_path / T5
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(PrepError, match=rf"holds a {T5} that is not of this run: move it away"):
        encode(raw, tmp_path)
    assert mine.read_bytes() == b"mine"
    mine.unlink()
    encode(raw, tmp_path)
    encode(raw, tmp_path, "dit", overwrite=True)
    assert not (tmp_path / T5).exists()
    assert not (tmp_path / CLIP).exists()
