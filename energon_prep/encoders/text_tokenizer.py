"""Loads a text encoder's tokenizer from whichever files it is published in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import transformers
from tokenizers import models

from energon_prep.encoders.checkpoint import (
    SENTENCEPIECE_FILES,
    T5_PIECES_FILE,
    Checkpoint,
    unusable,
)
from energon_prep.errors import PrepError


def load_tokenizer(checkpoint: Checkpoint, model: Any) -> Any:
    """The tokenizer of ``checkpoint``, whose ids are those of its format's own library.

    Raises PrepError if a library that reads its file is not installed, or if the file is damaged.
    """
    file = checkpoint.tokenizer or checkpoint.main
    if file.path.name in SENTENCEPIECE_FILES:
        _check_libraries(checkpoint, file.path)
    location, place = checkpoint.pretrained(file)
    if file.path.name != T5_PIECES_FILE:
        # With the model's config, which is not looked for in the tokenizer's own subfolder of a
        # repository then.
        return transformers.AutoTokenizer.from_pretrained(
            location, config=model.config, trust_remote_code=False, **place
        )
    byte_pieces = _has_byte_pieces(checkpoint, file.path)
    # By its class: transformers has none for UMT5, and would take it for a file of another kind.
    tokenizer = transformers.T5Tokenizer.from_pretrained(location, **place)
    if byte_pieces and tokenizer.is_fast:
        _use_byte_pieces(tokenizer)
    return tokenizer


def _check_libraries(checkpoint: Checkpoint, path: Path) -> None:
    """What transformers says without them names another library, which does not read such a
    file.
    """
    try:
        import google.protobuf  # noqa: F401
        import sentencepiece  # noqa: F401
    except ImportError as error:
        name = str(error.name).removeprefix("google.").partition(".")[0]
        package = "protobuf" if name == "google" else name
        raise PrepError(
            f"text encoder '{checkpoint.source.location}': its tokenizer is {path.name}, "
            f"which is read with {package}, and that is not installed: pip install {package}"
        ) from error


def _has_byte_pieces(checkpoint: Checkpoint, path: Path) -> bool:
    """Whether what has no piece of its own is spelled in bytes, as in UMT5, or is unknown, as in
    T5.
    """
    import sentencepiece

    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise unusable(
            checkpoint.source, f"{path.name} is no sentencepiece model, or is cut ({error})"
        ) from error
    return any(processor.is_byte(i) for i in range(processor.get_piece_size()))


def _use_byte_pieces(tokenizer: Any) -> None:
    """transformers makes them pieces like others, which no text contains."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    pieces = [(piece, score) for piece, score in state["vocab"]]
    tokenizer.backend_tokenizer.model = models.Unigram(
        pieces, unk_id=state["unk_id"], byte_fallback=True
    )
