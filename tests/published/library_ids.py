"""Token ids as the library of a tokenizer's own format gives them: sentencepiece or tokenizers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, models

from tests.published import byte_pairs, sentencepiece_models

_T5_END = 1


def library_ids(folder: Path) -> Callable[[str], list[int]]:
    """What gives the ids of a caption, special tokens included, by the files in ``folder``
    alone.
    """
    if (folder / "tokenizer.json").is_file():
        return _ids_of(Tokenizer.from_file(str(folder / "tokenizer.json")))
    if (folder / "spiece.model").is_file():
        processor = sentencepiece_models.processor((folder / "spiece.model").read_bytes())
        return lambda caption: [*processor.encode(caption), _T5_END]
    return _ids_of(_of_pairs(folder))


def _of_pairs(folder: Path) -> Tokenizer:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    files = str(folder / "vocab.json"), str(folder / "merges.txt")
    if config["tokenizer_class"] == "Qwen2Tokenizer":
        return byte_pairs.qwen_tokenizer(models.BPE.from_file(*files))
    end = byte_pairs.CLIP_END
    tokenizer = byte_pairs.clip_tokenizer(
        models.BPE.from_file(*files, unk_token=end, end_of_word_suffix="</w>")
    )
    for token in config.get("added_tokens_decoder", {}).values():
        tokenizer.add_tokens([_added_token(token)])
    return tokenizer


def _added_token(about: dict[str, Any]) -> AddedToken:
    return AddedToken(**about)


def _ids_of(tokenizer: Tokenizer) -> Callable[[str], list[int]]:
    def ids(caption: str) -> list[int]:
        found: list[int] = tokenizer.encode(caption).ids
        return found

    return ids
