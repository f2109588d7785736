from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from energon_prep.demo.tiny.tokenizers import save_tokenizer
from energon_prep.encoders.model_info import Family
from energon_prep.encoders.text_tokens import CaptionTokenizer, common_start, cut
from energon_prep.errors import PrepError

CHAT = "<|im_start|>user\n{}<|im_end|>\n"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Family, Path]:
    families: tuple[Family, ...] = ("t5", "clip", "llama", "gemma2", "qwen2.5-vl")
    found = {family: tmp_path_factory.mktemp(family) for family in families}
    for family, folder in found.items():
        save_tokenizer(family, folder)
    return found


def captions(folder: Path, **options: Any) -> CaptionTokenizer:
    return CaptionTokenizer(
        tokenizer=AutoTokenizer.from_pretrained(folder),
        **{"clean": str, "max_tokens": 6, **options},
    )


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 20))
def test_cutting_keeps_the_start_and_the_end_token(ids: list[int], max_tokens: int) -> None:
    kept = cut(ids, max_tokens)
    assert len(kept) == min(len(ids), max_tokens)
    assert kept[-1] == ids[-1]
    assert kept[:-1] == ids[: len(kept) - 1]
    assert cut(ids, max_tokens, end=False) == ids[:max_tokens]


@given(st.lists(st.integers(0, 3)), st.lists(st.lists(st.integers(0, 3)), min_size=1, max_size=4))
def test_the_common_start_is_common_and_no_longer(start: list[int], ends: list[list[int]]) -> None:
    rows = [start + end for end in ends]
    num = common_start(rows)
    assert num >= len(start)
    assert all(row[:num] == rows[0][:num] for row in rows)
    assert any(len(row) == num for row in rows) or len({row[num] for row in rows}) > 1


def test_cutting_is_that_of_the_tokenizers_themselves(folders: dict[Family, Path]) -> None:
    for folder in folders.values():
        ours = captions(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        for caption in ("a red cat", "", "many red cats and big dogs walk in the old park"):
            (ids,) = ours.tokenize([caption])
            assert ours.cut(ids) == tokenizer(caption, truncation=True, max_length=6).input_ids


def test_which_tokenizers_end_captions(folders: dict[Family, Path]) -> None:
    ending = [family for family, folder in folders.items() if captions(folder).has_end_token]
    assert ending == ["t5", "clip"]


def test_outputs_of_the_template_before_the_caption_are_not_stored(
    folders: dict[Family, Path],
) -> None:
    chat = captions(folders["qwen2.5-vl"], template=CHAT)
    (ids,) = chat.tokenize(["a cat"])
    outputs = torch.arange(len(ids))[:, None]
    assert chat.describe()["drop_tokens"] == 3  # <|im_start|>, user, line break
    assert chat.stored(outputs).flatten().tolist() == [3, 4, 5, 6]  # a, cat, <|im_end|>, line break
    assert (chat.num_stored(len(ids)), chat.width) == (4, 9)
    stored = captions(folders["qwen2.5-vl"], template=CHAT, keep_start_token=True).stored(outputs)
    assert stored.flatten().tolist() == [0, 3, 4, 5, 6]
    assert (
        captions(folders["qwen2.5-vl"], template=CHAT, drop_tokens=1).stored(outputs).shape[0] == 6
    )


def test_braces_in_a_caption_are_no_place_for_anything(folders: dict[Family, Path]) -> None:
    chat = captions(folders["qwen2.5-vl"], template=CHAT)
    plain = captions(folders["qwen2.5-vl"])
    assert chat.tokenize(["a {} {0} {cat}"])[0][3:-2] == plain.tokenize(["a {} {0} {cat}"])[0]


def test_a_number_of_dropped_tokens_that_does_not_fit_the_template_is_told(
    folders: dict[Family, Path], caplog: pytest.LogCaptureFixture
) -> None:
    for drop, told in (
        (3, None),
        (2, "parts of the template are stored"),
        (4, "parts of captions are dropped"),
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            captions(folders["qwen2.5-vl"], template=CHAT, drop_tokens=drop).warn_of_template(
                "qwen"
            )
        assert [told in record.getMessage() for record in caplog.records if told] == (
            [True] if told else []
        )
        assert told or not caplog.records


def test_the_pad_token_is_the_tokenizers_own_or_the_recipes(folders: dict[Family, Path]) -> None:
    assert captions(folders["clip"]).describe()["pad_token"] == "<|endoftext|>"
    assert captions(folders["clip"], pad_token="!").pad_id == 0
    with pytest.raises(PrepError, match="pad_token 'nonsense' is no token"):
        captions(folders["clip"], pad_token="nonsense")


def test_of_an_endless_caption_the_beginning_is_tokenized(folders: dict[Family, Path]) -> None:
    given: list[int] = []

    def clean(caption: str) -> str:
        given.append(len(caption))
        return caption

    tokens = captions(folders["t5"], clean=clean)
    long = "a photo of a cat " * 40_000
    short, whole = tokens.tokenize([long[:100_000], long])
    assert given == [100_000, 2**17]
    assert tokens.cut(whole) == tokens.cut(short) and len(whole) > len(tokens.cut(whole))
    wide = captions(folders["t5"], clean=clean, max_tokens=3000)
    wide.tokenize([long])
    assert given[-1] == 3000 * 64
