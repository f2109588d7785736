"""How a source is read: which columns and files, which captions, and what may be left out."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from energon_prep.errors import UsageError
from energon_prep.sources.patterns import expanded, is_chosen

CaptionChoice = Literal["first", "longest", "all", "join", "draw"]

MAX_BYTES = 256 * 2**20  #: of one media file that is read into memory, unless told otherwise


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Choices of the user that decide what is read; all but ``allow_damaged`` are part of a run's
    identity.

    Raises PrepError for a value that can mean nothing.
    """

    #: Columns, JSON keys or suffixes of caption files, each perhaps with a weight ("long:0.7"), in
    #: order of preference.
    caption_keys: tuple[str, ...] = ()
    media_key: str | None = None  #: column, member suffix ("input.jpg") or file suffix of the media
    captions: CaptionChoice = "first"  #: what becomes of several captions; "all": a sample for each
    caption_lines: bool = False  #: every line of a text file is a caption of its own
    caption_encoding: str = "utf-8"  #: of text files and tables
    caption_text: str | None = None  #: for samples that have no caption
    #: the file's name for samples that have none: "red_car-01.jpg" -> "red car 01"
    caption_from_name: bool = False
    #: a folder with the media's tree of caption files, relative to the source
    captions_dir: str | None = None
    allow_empty_captions: bool = False
    #: what the relative paths of a manifest start from; None: its own folder
    media_root: str | None = None
    #: further parts of samples that are kept, by name: "mask.png"
    carry_parts: tuple[str, ...] = ()
    #: patterns of paths, relative to the source; only these are taken
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow_links: bool = False  #: also out of the source
    #: folders named "10_cats" are taken ten times, as kohya's trainers do
    folder_repeats: bool = False
    allow_damaged: bool = False  #: tars that end early are told and not an error
    seed: int = 0  #: of captions that are drawn
    max_bytes: int = MAX_BYTES  #: of one media file that is read into memory

    def __post_init__(self) -> None:
        if self.captions not in get_args(CaptionChoice):
            raise UsageError(
                f"--captions {self.captions!r}: give one of {', '.join(get_args(CaptionChoice))}"
            )
        try:
            codecs.lookup(self.caption_encoding)
        except LookupError as error:
            raise UsageError(
                f"--caption-encoding {self.caption_encoding!r} is no encoding that Python knows: "
                "give one such as utf-8, cp1252, gb18030 or shift_jis"
            ) from error
        for key in self.caption_keys:
            _weighted(key)
        for pattern in (*self.include, *self.exclude):
            expanded(pattern)

    @cached_property
    def caption_weights(self) -> dict[str, float]:
        """The caption keys without their weights -> the weights."""
        return dict(_weighted(key) for key in self.caption_keys)

    @property
    def has_fallback(self) -> bool:
        """Whether a sample without a caption of its own is encoded all the same."""
        named = self.caption_text is not None or self.caption_from_name
        return named or self.allow_empty_captions

    def takes(self, path: str) -> bool:
        """Whether what lies at ``path``, relative to the source, is to be taken."""
        return is_chosen(path, include=self.include, exclude=self.exclude)

    def describe(self) -> dict[str, Any]:
        """JSON-able; ``parse`` reads it back, but for what decides of the exit code alone."""
        values = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
        del values["allow_damaged"]
        return values

    @staticmethod
    def parse(description: Mapping[str, Any]) -> SourceOptions:
        """Raises PrepError for what ``describe`` does not give."""
        if description.keys() != SourceOptions().describe().keys():
            raise UsageError(f"not the options of a source that this version knows: {description}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in description.items()
        }
        return SourceOptions(**values)


def _weighted(key: str) -> tuple[str, float]:
    """``"long:0.7"`` -> ``("long", 0.7)``; a key without a number behind its last colon weighs
    1.
    """
    name, colon, weight = key.rpartition(":")
    try:
        number = float(weight) if colon and name else None
    except ValueError:
        number = None
    if number is None:
        return key, 1.0
    if not 0 < number < float("inf"):
        raise UsageError(f"--caption-key {key!r}: the weight must be above 0")
    return name, number
