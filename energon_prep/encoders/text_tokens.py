"""Captions -> token ids, cleaned and in their template; and which outputs are stored."""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from energon_prep.errors import PrepError

logger = logging.getLogger(__name__)

#: Of a caption that are tokenized; and of a token, of which no vocabulary has many so long.
_MOST_CHARACTERS, _CHARACTERS_OF_TOKEN = 2**17, 64
_FIRST_WORDS = ("a", "Red", "1", "(")  # of captions, to see which tokens are the template's


def cut(ids: Sequence[int], max_tokens: int, *, end: bool = True) -> list[int]:
    """The first ``max_tokens`` of ``ids``; with ``end``, the last of them is still the end
    token.
    """
    if len(ids) <= max_tokens:
        return [*ids]
    return [*ids[: max_tokens - 1], ids[-1]] if end else [*ids[:max_tokens]]


def common_start(rows: Sequence[Sequence[int]]) -> int:
    """How many items all ``rows`` begin with."""
    columns = zip(*rows, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))


class CaptionTokenizer:
    """A tokenizer of transformers, with what is done to captions before it and to its tokens after
    it.

    ``template`` has the caption's place ``{}``. The outputs of its first ``drop_tokens`` tokens are
    not stored, by default of all that precede the caption; ``keep_start_token`` keeps the very
    first, which then is not counted. ``max_tokens`` counts what is stored. A caption that is empty
    once it is cleaned becomes ``empty_caption``, which stands in the template only if
    ``empty_template``.
    """

    def __init__(
        self,
        *,
        tokenizer: Any,
        clean: Callable[[str], str],
        max_tokens: int,
        template: str | None = None,
        drop_tokens: int | None = None,
        keep_start_token: bool = False,
        empty_caption: str = "",
        empty_template: bool = True,
        pad_token: str | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        # we cut, and need no warning per long caption
        self._tokenizer.model_max_length = sys.maxsize
        self._clean = clean
        self._template = template
        self._empty_caption = empty_caption
        self._empty_template = empty_template
        self._start = 1 if keep_start_token else 0
        self._drop = self._measure() if drop_tokens is None else drop_tokens
        self.max_tokens = max_tokens
        #: what the model sees of a caption that fills max_tokens
        self.width = max_tokens + self._drop
        self.pad_id = self._find_pad_id(pad_token)
        empty = self._ids([""])[0]
        self.has_end_token = bool(empty) and empty[-1] == tokenizer.eos_token_id

    def tokenize(self, captions: Sequence[str]) -> list[list[int]]:
        """Token ids of each caption in its template, special tokens included, not yet cut.

        Of a caption that is longer than any ``max_tokens`` can hold, those of its beginning alone:
        tokenizing 16 MB takes a minute.
        """
        most = max(_MOST_CHARACTERS, _CHARACTERS_OF_TOKEN * self.width)
        return self._ids([self._prompt(self._clean(caption[:most])) for caption in captions])

    def cut(self, ids: Sequence[int]) -> list[int]:
        """What the model is to see of a caption: ``max_tokens`` besides those that are dropped, at
        most.
        """
        return cut(ids, self.width, end=self.has_end_token)

    def num_stored(self, num_tokens: int) -> int:
        """Of so many tokens that the model saw."""
        return min(num_tokens, self._start) + max(num_tokens - self._start - self._drop, 0)

    def stored(self, outputs: torch.Tensor) -> torch.Tensor:
        """The outputs [S, D] that are stored [S', D], a tensor of its own."""
        return torch.cat([outputs[: self._start], outputs[self._start + self._drop :]])

    def describe(self) -> dict[str, Any]:
        return {
            "max_tokens": self.max_tokens,
            "template": self._template,
            "drop_tokens": self._drop,
            "keep_start_token": bool(self._start),
            "empty_caption": self._empty_caption,
            "empty_template": self._empty_template,
            "pad_token": self._tokenizer.convert_ids_to_tokens(self.pad_id),
        }

    def warn_of_template(self, name: str) -> None:
        """Say so if what is dropped is not what precedes the caption."""
        measured = self._measure()
        if measured != self._drop:
            logger.warning(
                "text encoder %s: drop_tokens is %d, and its tokenizer makes %d tokens of the "
                "template before the caption: parts of %s; leave drop_tokens out to drop what "
                "precedes the caption",
                name,
                self._drop,
                measured,
                "the template are stored" if self._drop < measured else "captions are dropped",
            )

    def _prompt(self, caption: str) -> str:
        if self._template is None or not (caption or self._empty_template):
            return caption or self._empty_caption
        return self._template.replace("{}", caption or self._empty_caption)

    def _measure(self) -> int:
        """Tokens of the template before the caption, less the start token if that is kept."""
        if self._template is None:
            return 0
        return (
            common_start(self._ids([self._template.replace("{}", word) for word in _FIRST_WORDS]))
            - self._start
        )

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self._tokenizer(list(texts), return_attention_mask=False)[
            "input_ids"
        ]
        return ids

    def _find_pad_id(self, pad_token: str | None) -> int:
        if pad_token is not None:
            found = self._tokenizer.convert_tokens_to_ids(pad_token)
            if found is None or self._tokenizer.convert_ids_to_tokens(found) != pad_token:
                raise PrepError(
                    f"pad_token {pad_token!r} is no token of {type(self._tokenizer).__name__}"
                )
            return int(found)
        pad_id = self._tokenizer.pad_token_id
        return int(self._tokenizer.eos_token_id if pad_id is None else pad_id)
