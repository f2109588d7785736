"""Station 3, encoders: tokenizers for tiny and random weights, their vocabularies counted from a fixed text.

The trainers of the ``tokenizers`` library give another vocabulary on every run, so the counting is done here: the
same files on every machine, and about 1.4 tokens for a word of an ordinary English caption.
"""

from __future__ import annotations

import itertools
import math
import string
from collections import Counter
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from energon_prep.encoders.tiny_text import TEXT

_SPACE = "\u2581"  # sentencepiece's mark for the start of a word
_CLIP_START, _CLIP_END = "<|startoftext|>", "<|endoftext|>"
_CLIP_MAX_TOKENS = 77
_CLIP_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # of CLIP's own
)


def save_tokenizer(family: str, folder: Path) -> dict[str, int]:
    """Save the tokenizer of a text encoder's family in the layout of transformers.

    Returns what the model's configuration has to know of it: vocab_size and the ids of special tokens.
    """
    tokenizer = _clip() if family == "clip" else _t5()
    tokenizer.save_pretrained(folder)
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    return {"vocab_size": len(tokenizer), **{name: token for name, token in ids.items() if token is not None}}


def unigram_pieces(text: str, *, num_parts: int = 400) -> list[tuple[str, float]]:
    """Pieces and log probabilities of a Unigram model: words, the commonest parts of words, ASCII characters.

    Ids follow T5: 0 pads, 1 ends, 2 is unknown.
    """
    words = Counter(text.split())
    total = words.total()
    scores = {_SPACE + word: math.log(count / total) for word, count in words.items()}
    for line in text.strip().splitlines():
        for word in line.split()[:2]:  # what captions begin with
            scores.setdefault(_SPACE + word.capitalize(), scores[_SPACE + word] - 1)
    parts = Counter(part for word in words for part in _parts(_SPACE + word))
    common = sorted(parts.items(), key=lambda item: (-item[1] * (len(item[0]) - 1), item[0]))[:num_parts]
    for part, count in common:
        scores.setdefault(part, math.log(count / total) - 3)  # rather one word than its parts
    for character in _SPACE + string.printable.strip():
        scores.setdefault(character, -12.0)
    return [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *sorted(scores.items())]


def bpe_merges(text: str) -> list[tuple[str, str]]:
    """Merges of a BPE model under which every word of ``text`` becomes one token, the commonest words first."""
    ranks: dict[tuple[str, str], int] = {}
    for word, _ in sorted(Counter(text.split()).items(), key=lambda item: (-item[1], item[0])):
        symbols = [*word[:-1], word[-1] + "</w>"]
        while len(symbols) > 1:
            pairs = list(itertools.pairwise(symbols))
            first = min(range(len(pairs)), key=lambda i: ranks.get(pairs[i], len(ranks)))
            ranks.setdefault(pairs[first], len(ranks))
            symbols[first : first + 2] = ["".join(pairs[first])]
    return list(ranks)


def _parts(word: str) -> list[str]:
    return [word[start : start + size] for size in range(2, 6) for start in range(len(word) - size + 1)]


def _t5() -> Any:
    from transformers import T5TokenizerFast

    tokenizer = Tokenizer(models.Unigram(unigram_pieces(TEXT), unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="always", split=True),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return T5TokenizerFast(tokenizer_object=tokenizer, extra_ids=0, model_max_length=512)


def _clip() -> Any:
    """Byte level, so nothing is unknown; the end token has the highest id, by which older CLIP configs find it."""
    from transformers import CLIPTokenizerFast

    merges = bpe_merges(TEXT)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
    vocab = {token: i for i, token in enumerate([*tokens, _CLIP_START, _CLIP_END])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, end_of_word_suffix="</w>", unk_token=_CLIP_END))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    end, start = (_CLIP_END, vocab[_CLIP_END]), (_CLIP_START, vocab[_CLIP_START])
    tokenizer.post_processor = processors.RobertaProcessing(end, start, trim_offsets=False, add_prefix_space=False)
    return CLIPTokenizerFast(tokenizer_object=tokenizer, model_max_length=_CLIP_MAX_TOKENS)
