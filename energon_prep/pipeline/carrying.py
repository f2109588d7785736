"""Originals that are kept in the tar beside the encodings: media, caption, and further parts by
name.
"""

from __future__ import annotations

from collections.abc import Sequence

from energon_prep.errors import UsageError
from energon_prep.formats import HEAD_BYTES, MEDIA_SUFFIXES, kind_of, suffix_for
from energon_prep.samples import RawSample
from energon_prep.targets.base import Target

MEDIA, CAPTION = "media", "caption"
CAPTION_PART = "txt"

#: Suffixes of parts that readers of datasets unpickle, or take for ours.
_NEVER = {"pth", "pt", "pickle", "pkl", "pyd", "json"}


def further_parts(carry: Sequence[str]) -> tuple[str, ...]:
    """Of a recipe's ``carry`` the parts that samples may have besides media and caption."""
    return tuple(name for name in carry if name not in (MEDIA, CAPTION))


def check_carry(carry: Sequence[str], target: Target) -> None:
    """Raise PrepError for a part that could take the place of another, or that readers would
    unpickle.
    """
    taken = set(target.part_names)
    taken |= {CAPTION_PART} if CAPTION in carry else set()
    taken |= (
        {suffix.lstrip(".") for suffix in MEDIA_SUFFIXES} | {MEDIA} if MEDIA in carry else set()
    )
    for name in further_parts(carry):
        if name.rpartition(".")[2] in _NEVER:
            raise UsageError(
                f"--carry {name}: readers of the dataset would run or mistake it: store it as "
                "another format"
            )
        if name in taken:
            raise UsageError(
                f"--carry {name}: another part of the samples has that name: rename it in the "
                "source"
            )


def carried_media(raw: RawSample, carry: Sequence[str]) -> dict[str, bytes]:
    """The media and further parts that are kept, by part name. Raises SampleError.

    The media's name is that of their content: a file's own may be anything.
    """
    kept = {name: raw.parts[name] for name in further_parts(carry) if name in raw.parts}
    if MEDIA in carry:
        suffix = suffix_for(kind_of(raw.media.head(HEAD_BYTES))).lstrip(".")
        kept[suffix or MEDIA] = raw.media.read()
    return kept


def carried_caption(caption: str, carry: Sequence[str]) -> dict[str, bytes]:
    return {CAPTION_PART: caption.encode()} if CAPTION in carry else {}


def missing_parts(raw: RawSample, carry: Sequence[str]) -> tuple[str, ...]:
    """A note for each part that is asked for and that the sample does not have."""
    return tuple(
        f"without the part {name} (--carry)"
        for name in further_parts(carry)
        if name not in raw.parts
    )
