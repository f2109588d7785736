from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from energon_prep.demo.tiny.corpus import TEXT
from energon_prep.demo.tiny.tokenizers import bpe_merges, save_tokenizer, unigram_pieces
from energon_prep.encoders.model_info import Family

CAPTIONS = [
    "A close-up of a fluffy orange kitten playing with a ball of yarn on a hardwood floor.",
    "a mountain biker descends a steep, rocky trail surrounded by pine trees, kicking up dust "
    "behind him",
    "A group of people sitting around a table eating dinner",
    "Portrait of a young woman with long hair smiling at the camera",
]


FAMILIES: tuple[Family, ...] = ("t5", "clip", "llama", "gemma2", "qwen2.5-vl")
STARTING, ENDING = ("clip", "llama", "gemma2"), ("t5", "clip")


@pytest.fixture(scope="module", params=FAMILIES)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp(request.param)
    save_tokenizer(request.param, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.starts, tokenizer.ends = request.param in STARTING, request.param in ENDING
    return tokenizer


def test_ordinary_captions_have_a_sensible_number_of_tokens(tokenizer) -> None:
    num_tokens = sum(len(ids) - 1 for ids in tokenizer(CAPTIONS)["input_ids"])
    assert 1.0 < num_tokens / sum(len(caption.split()) for caption in CAPTIONS) < 1.8


def test_the_empty_caption_is_the_start_and_the_end_token_if_there_are_any(tokenizer) -> None:
    start = [tokenizer.bos_token_id] if tokenizer.starts else []
    assert tokenizer("")["input_ids"] == start + (
        [tokenizer.eos_token_id] if tokenizer.ends else []
    )


@settings(deadline=None)
@given(st.text(max_size=50))
def test_any_text_has_tokens_of_the_vocabulary_and_ends(tokenizer, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert not tokenizer.ends or ids[-1] == tokenizer.eos_token_id
    assert not tokenizer.starts or ids[0] == tokenizer.bos_token_id
    assert all(0 <= token < len(tokenizer) for token in ids)


@settings(deadline=None)
@given(st.text(max_size=50))
def test_byte_level_tokenizers_lose_nothing(byte_level, text: str) -> None:
    assert byte_level.decode(byte_level(text)["input_ids"]) == unicodedata.normalize("NFC", text)


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("qwen")
    save_tokenizer("qwen2.5-vl", folder)
    return AutoTokenizer.from_pretrained(folder, clean_up_tokenization_spaces=False)


def test_the_same_files_every_time(tmp_path: Path) -> None:
    for family in FAMILIES:
        folders = [tmp_path / family / name for name in "ab"]
        infos = [save_tokenizer(family, folder) for folder in folders]
        assert infos[0] == infos[1]
        contents = [
            {path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders
        ]
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


def test_a_pad_token_can_be_named(tmp_path: Path) -> None:
    assert save_tokenizer("clip", tmp_path / "own")["pad_token_id"] != 0
    assert save_tokenizer("clip", tmp_path / "named", pad_token="!")["pad_token_id"] == 0
    assert AutoTokenizer.from_pretrained(tmp_path / "named").pad_token == "!"
