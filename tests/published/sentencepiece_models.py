"""Real sentencepiece models with the special pieces and the normalisation of the published ones,
but few pieces.
"""

from __future__ import annotations

import functools
import io
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from energon_prep.demo.tiny.corpus import TEXT

#: Letters that English captions lack, as a vocabulary of many languages has them.
_OTHER_LANGUAGES = (
    "\u00fcber die Stra\u00dfe\n"
    "\u732b\u304c\u5ea7\u3063\u3066\u3044\u308b\n"
    "\u043a\u043e\u0448\u043a\u0430\n"
)


@functools.cache
def t5() -> bytes:
    """``spiece.model`` of T5: 0 pads, 1 ends, 2 is unknown; what it has no piece for is unknown."""
    return _train(
        TEXT,
        model_type="unigram",
        vocab_size=900,
        bos_id=-1,
        unk_id=2,
        normalization_rule_name="nmt_nfkc",
    )


@functools.cache
def umt5() -> bytes:
    """``spiece.model`` of UMT5, which has a piece for every byte besides."""
    options = {"byte_fallback": True, "normalization_rule_name": "nmt_nfkc"}
    return _train(
        TEXT + _OTHER_LANGUAGES,
        model_type="unigram",
        vocab_size=1200,
        bos_id=-1,
        unk_id=2,
        **options,
    )


@functools.cache
def gemma() -> bytes:
    """``tokenizer.model`` of Gemma 2: blanks stay as they are, digits stand alone, bytes have
    pieces.
    """
    return _train(
        TEXT,
        model_type="bpe",
        vocab_size=1200,
        bos_id=2,
        unk_id=3,
        bos_piece="<bos>",
        eos_piece="<eos>",
        control_symbols=["<mask>", "<start_of_turn>", "<end_of_turn>"],
        byte_fallback=True,
        split_digits=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
    )


def processor(model: bytes) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=model)


def pieces(model: bytes) -> list[tuple[str, float]]:
    """Each piece and its score, in the order of their ids."""
    return [(piece.piece, piece.score) for piece in _parsed(model).pieces]


def charsmap(model: bytes) -> bytes:
    """The compiled table of what characters are replaced before anything else."""
    table: bytes = _parsed(model).normalizer_spec.precompiled_charsmap
    return table


def _parsed(model: bytes) -> Any:
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    return proto


def _train(text: str, **options: Any) -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.strip().splitlines()),
        model_writer=written,
        pad_id=0,
        eos_id=1,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return written.getvalue()
