from __future__ import annotations

import sys
from pathlib import Path

import pytest

from energon_prep.encoders.base import TextEncoder
from energon_prep.errors import PrepError
from tests.encoders.loading import load_texts
from tests.encoders.recipes import recipe
from tests.published import clip, sentencepiece_models, t5, tokenizer_files

CAPTIONS = ["a photo of a cat", "", " caf\u00e9  \u732b \U0001f600 "]


def load(folder: Path) -> TextEncoder:
    return load_texts(recipe("sdxl", {"model": str(folder)}), weights=None, device="cpu")[0]


@pytest.fixture
def t5_folder(tmp_path: Path) -> Path:
    t5.whole(tmp_path, "t5-small", tokenizer_files.t5(tmp_path))
    return tmp_path


def test_a_sentencepiece_file_is_enough(t5_folder: Path) -> None:
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        (t5_folder / name).unlink()
    processor = sentencepiece_models.processor(sentencepiece_models.t5())
    assert load(t5_folder).tokenize(CAPTIONS) == [
        [*processor.encode(caption), 1] for caption in CAPTIONS
    ]


def test_a_sentencepiece_file_of_umt5_spells_in_bytes_what_it_has_no_piece_for(
    tmp_path: Path,
) -> None:
    t5.whole(tmp_path, "umt5-xxl", tokenizer_files.umt5(tmp_path))
    (tmp_path / "tokenizer.json").unlink()
    processor = sentencepiece_models.processor(sentencepiece_models.umt5())
    expected = [[*processor.encode(caption), 1] for caption in CAPTIONS]
    assert load(tmp_path).tokenize(CAPTIONS) == expected
    assert any(processor.is_byte(i) for i in expected[2])


@pytest.mark.parametrize(
    ("module", "package"),
    [("google.protobuf", "protobuf"), ("google", "protobuf"), ("sentencepiece", "sentencepiece")],
)
def test_a_missing_library_is_named(
    module: str, package: str, t5_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    if module == "google":
        monkeypatch.delitem(sys.modules, "google.protobuf", raising=False)
    with pytest.raises(
        PrepError, match=rf"spiece\.model, which is read with {package}, .*: pip install {package}$"
    ):
        load(t5_folder)


def test_a_file_that_is_no_sentencepiece_model_is_named(t5_folder: Path) -> None:
    pointer = (
        "version https://git-lfs.github.com/spec/v1\noid "
        "sha256:d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7\n"
    )
    (t5_folder / "spiece.model").write_text(pointer)
    with pytest.raises(
        PrepError, match=r"spiece\.model is no sentencepiece model, or is cut .*folder is whole"
    ):
        load(t5_folder)


def test_a_vocabulary_without_its_merges_is_refused(tmp_path: Path) -> None:
    clip.whole(tmp_path, "clip-l", tokenizer_files.clip(tmp_path))
    load(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(PrepError, match=r"has vocab\.json and lacks merges\.txt"):
        load(tmp_path)
