"""The fixed texts that the vocabularies of tiny and random weights are counted from."""

from __future__ import annotations

from pathlib import Path


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_bytes().decode("ascii")


TEXT = _read("captions.txt")
#: What the prompt templates of language models say, so that a word of them is one token, as with
#: the real tokenizers.
INSTRUCTIONS = _read("instructions.txt")
