from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from energon_prep.encoders.tiny_text import TEXT
from energon_prep.encoders.tiny_tokenizers import bpe_merges, save_tokenizer, unigram_pieces

CAPTIONS = [
    "A close-up of a fluffy orange kitten playing with a ball of yarn on a hardwood floor.",
    "a mountain biker descends a steep, rocky trail surrounded by pine trees, kicking up dust behind him",
    "A group of people sitting around a table eating dinner",
    "Portrait of a young woman with long hair smiling at the camera",
]


@pytest.fixture(scope="module", params=["t5", "clip"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp(request.param)
    save_tokenizer(request.param, folder)
    return AutoTokenizer.from_pretrained(folder)


def test_ordinary_captions_have_a_sensible_number_of_tokens(tokenizer) -> None:
    num_tokens = sum(len(ids) - 1 for ids in tokenizer(CAPTIONS)["input_ids"])
    assert 1.0 < num_tokens / sum(len(caption.split()) for caption in CAPTIONS) < 1.8


def test_the_empty_caption_is_an_end_token(tokenizer) -> None:
    ids = tokenizer("")["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id
    assert len(ids) == (2 if tokenizer.bos_token_id is not None else 1)


@settings(deadline=None)
@given(st.text(max_size=50))
def test_any_text_has_tokens_of_the_vocabulary_and_ends(tokenizer, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id
    assert all(0 <= token < len(tokenizer) for token in ids)


def test_the_same_files_every_time(tmp_path: Path) -> None:
    for family in ("t5", "clip"):
        folders = [tmp_path / family / name for name in "ab"]
        infos = [save_tokenizer(family, folder) for folder in folders]
        assert infos[0] == infos[1]
        contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
        assert contents[0] == contents[1]


def test_the_clip_end_token_has_the_highest_id(tmp_path: Path) -> None:
    info = save_tokenizer("clip", tmp_path)
    assert info["eos_token_id"] == info["vocab_size"] - 1


def test_words_of_the_text_are_single_tokens() -> None:
    pieces = dict(unigram_pieces(TEXT))
    merged = {"".join(pair) for pair in bpe_merges(TEXT.split(), end="</w>")}
    for word in TEXT.split():
        assert "\u2581" + word in pieces
        assert len(word) == 1 or word + "</w>" in merged
