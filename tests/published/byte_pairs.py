"""BPE tokenizers with the parts that the published tokenizer.json of their model has, but few
tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from energon_prep.demo.tiny.corpus import INSTRUCTIONS, TEXT
from energon_prep.demo.tiny.tokenizers import bpe_merges
from tests.published import sentencepiece_models

CLIP_START, CLIP_END = "<|startoftext|>", "<|endoftext|>"
QWEN_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|vision_start|>",
)
LLAMA_SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)
LLAVA_SPECIAL = ("<unk>", "<image>", "<pad>")  # what xtuner's LLaVA added to Llama 3
_CLIP_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@functools.cache
def clip_model() -> models.BPE:
    """Bytes, bytes at the end of a word, words; the start and the end token have the highest
    ids.
    """
    merges = bpe_merges(TEXT.split(), end="</w>")
    # As published: "!" comes first, which some pad with.
    letters = sorted(pre_tokenizers.ByteLevel.alphabet(), key=lambda letter: (letter > "~", letter))
    tokens = [
        *letters,
        *(letter + "</w>" for letter in letters),
        *("".join(pair) for pair in merges),
    ]
    return _bpe(
        [*tokens, CLIP_START, CLIP_END], merges, unk_token=CLIP_END, end_of_word_suffix="</w>"
    )


def clip_tokenizer(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(CLIP_START, normalized=True)])
    tokenizer.add_tokens([AddedToken(CLIP_END, normalized=False)])
    end, start = ((token, tokenizer.token_to_id(token)) for token in (CLIP_END, CLIP_START))
    tokenizer.post_processor = processors.RobertaProcessing(
        end, start, trim_offsets=False, add_prefix_space=False
    )
    return tokenizer


@functools.cache
def qwen_model() -> models.BPE:
    """What vocab.json has; the special tokens follow it."""
    return _bpe(*_byte_level_tokens(digits=1))


def qwen_tokenizer(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = _byte_level_words(digits=1)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens([*QWEN_SPECIAL])
    return tokenizer


@functools.cache
def llama_tokenizer() -> Tokenizer:
    tokens, merges = _byte_level_tokens(digits=3)
    tokenizer = Tokenizer(_bpe(tokens, merges, ignore_merges=True))
    tokenizer.pre_tokenizer = _byte_level_words(digits=3)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*LLAMA_SPECIAL, *LLAVA_SPECIAL])
    start = LLAMA_SPECIAL[0]
    template = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, tokenizer.token_to_id(start))]
    )
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), template]
    )
    return tokenizer


@functools.cache
def gemma_tokenizer() -> Tokenizer:
    """tokenizer.json of the sentencepiece model: a merge for each pair of pieces that make one."""
    pieces = sentencepiece_models.pieces(sentencepiece_models.gemma())
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    merges = []
    for piece, _ in pieces:  # the best first
        halves = ((piece[:at], piece[at:]) for at in range(1, len(piece)))
        merges += sorted(
            (pair for pair in halves if ids.keys() >= {*pair}),
            key=lambda pair: [ids[p] for p in pair],
        )
    tokenizer = Tokenizer(
        models.BPE(vocab=ids, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", ids["<bos>"])]
    )
    return tokenizer


def _byte_level_tokens(*, digits: int) -> tuple[list[str], list[tuple[str, str]]]:
    words = [
        word
        for word, _ in _byte_level_words(digits=digits).pre_tokenize_str(
            f"{TEXT}\n\n{INSTRUCTIONS}"
        )
    ]
    merges = bpe_merges(words)
    return [
        *sorted(pre_tokenizers.ByteLevel.alphabet()),
        *("".join(pair) for pair in merges),
    ], merges


def _byte_level_words(*, digits: int) -> pre_tokenizers.PreTokenizer:
    words = _WORDS.replace("DIGITS", "" if digits == 1 else f"{{1,{digits}}}")
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _bpe(tokens: Sequence[str], merges: list[tuple[str, str]], **options: object) -> models.BPE:
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return models.BPE(vocab=vocab, merges=merges, **options)
