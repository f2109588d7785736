"""Tokenizers for tiny and random weights, their vocabularies counted from a fixed text.

The trainers of the ``tokenizers`` library give another vocabulary on every run, so the counting is
done here: the same files on every machine, and about 1.4 tokens for a word of an ordinary English
caption.
"""

from __future__ import annotations

import itertools
import math
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from energon_prep.demo.tiny.corpus import INSTRUCTIONS, TEXT
from energon_prep.encoders.model_info import Family

_SPACE = "\u2581"  # sentencepiece's mark for the start of a word
_CLIP_START, _CLIP_END = "<|startoftext|>", "<|endoftext|>"
_CLIP_MAX_TOKENS = 77
_CLIP_WORDS = (
    # of CLIP's own
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)

_LM_WORDS = (
    # of Llama's and Qwen's own
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,{}}}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def save_tokenizer(family: Family, folder: Path, pad_token: str | None = None) -> dict[str, int]:
    """Save the tokenizer of a text encoder's family in the layout of transformers.

    Returns what the model's configuration has to know of it: vocab_size and the ids of special
    tokens.
    """
    makers = {"clip": _clip, "llama": _llama, "gemma2": _gemma, "qwen2.5-vl": _qwen}
    tokenizer = makers.get(family, _t5)()
    if pad_token is not None:
        tokenizer.pad_token = pad_token
    tokenizer.save_pretrained(folder)
    ids = {
        name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")
    }
    return {
        "vocab_size": len(tokenizer),
        **{name: token for name, token in ids.items() if token is not None},
    }


def unigram_pieces(
    text: str, *, special: Sequence[str] = ("<pad>", "</s>", "<unk>"), num_parts: int = 400
) -> list[tuple[str, float]]:
    """Pieces and log probabilities of a Unigram model: words, the commonest parts of words, ASCII
    characters.

    The special pieces come first; by default with the ids of T5: 0 pads, 1 ends, 2 is unknown.
    """
    words = Counter(text.split())
    total = words.total()
    scores = {_SPACE + word: math.log(count / total) for word, count in words.items()}
    for line in text.strip().splitlines():
        for word in line.split()[:2]:  # what captions begin with
            scores.setdefault(_SPACE + word.capitalize(), scores[_SPACE + word] - 1)
    parts = Counter(part for word in words for part in _parts(_SPACE + word))
    common = sorted(parts.items(), key=lambda item: (-item[1] * (len(item[0]) - 1), item[0]))[
        :num_parts
    ]
    for part, count in common:
        scores.setdefault(part, math.log(count / total) - 3)  # rather one word than its parts
    for character in _SPACE + string.printable.strip():
        scores.setdefault(character, -12.0)
    return [*((piece, 0.0) for piece in special), *sorted(scores.items())]


def bpe_merges(words: Iterable[str], *, end: str = "") -> list[tuple[str, str]]:
    """Merges of a BPE model under which every one of ``words`` becomes one token, the commonest
    words first.

    ``end``: the mark of a word's last symbol.
    """
    ranks: dict[tuple[str, str], int] = {}
    for word, _ in sorted(Counter(words).items(), key=lambda item: (-item[1], item[0])):
        symbols = [*word[:-1], word[-1] + end]
        while len(symbols) > 1:
            pairs = list(itertools.pairwise(symbols))
            first = min(range(len(pairs)), key=lambda i: ranks.get(pairs[i], len(ranks)))
            ranks.setdefault(pairs[first], len(ranks))
            symbols[first : first + 2] = ["".join(pairs[first])]
    return list(ranks)


def _parts(word: str) -> list[str]:
    return [
        word[start : start + size] for size in range(2, 6) for start in range(len(word) - size + 1)
    ]


def _t5() -> Any:
    from transformers import T5TokenizerFast

    tokenizer = Tokenizer(models.Unigram(unigram_pieces(TEXT), unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="always", split=True),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return T5TokenizerFast(tokenizer_object=tokenizer, extra_ids=0, model_max_length=512)


def _clip() -> Any:
    """Byte level, so nothing is unknown; the end token has the highest id, by which older CLIP
    configs find it.
    """
    from transformers import CLIPTokenizerFast

    merges = bpe_merges(TEXT.split(), end="</w>")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [
        *letters,
        *(letter + "</w>" for letter in letters),
        *("".join(pair) for pair in merges),
    ]
    vocab = {token: i for i, token in enumerate([*tokens, _CLIP_START, _CLIP_END])}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocab, merges=merges, end_of_word_suffix="</w>", unk_token=_CLIP_END)
    )
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
    tokenizer.post_processor = processors.RobertaProcessing(
        end, start, trim_offsets=False, add_prefix_space=False
    )
    return CLIPTokenizerFast(tokenizer_object=tokenizer, model_max_length=_CLIP_MAX_TOKENS)


def _qwen() -> Any:
    """No start token; captions stand in a conversation."""
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    return _fast(_byte_level(special, num_digits=1), eos_token=special[2], pad_token=special[0])


def _llama() -> Any:
    """A start token; captions stand in a conversation."""
    start, end = "<|begin_of_text|>", "<|end_of_text|>"
    special = (start, end, "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<pad>")
    tokenizer = _byte_level(special, num_digits=3)
    _start_with(tokenizer, start)
    return _fast(tokenizer, bos_token=start, eos_token=end, pad_token="<pad>")


def _gemma() -> Any:
    """A start token; blanks and line breaks are tokens, or the beginnings of tokens, wherever they
    are.
    """
    special = ("<pad>", "<eos>", "<bos>", "<unk>")
    pieces = [*unigram_pieces(TEXT, special=special), ("\n", -12.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(_SPACE, behavior="merged_with_next")
    tokenizer.add_special_tokens([*special])
    _start_with(tokenizer, "<bos>")
    return _fast(
        tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )


def _byte_level(special: Sequence[str], *, num_digits: int) -> Tokenizer:
    """Byte level BPE that splits as Llama 3 and Qwen 2.5 do; ``num_digits``: of a number that stay
    together.
    """
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_LM_WORDS.format(num_digits)), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    capitals = " ".join(
        word.capitalize() for line in TEXT.strip().splitlines() for word in line.split()[:2]
    )
    words = [word for word, _ in split.pre_tokenize_str(f"{TEXT}\n{capitals}\n\n{INSTRUCTIONS}")]
    merges = bpe_merges(words)
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*special])
    return tokenizer


def _start_with(tokenizer: Tokenizer, token: str) -> None:
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{token} $A", special_tokens=[(token, tokenizer.token_to_id(token))]
    )


def _fast(tokenizer: Tokenizer, **special: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="right", **special)
