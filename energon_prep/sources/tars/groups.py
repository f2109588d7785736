"""Which members of a tar are a sample: by their names alone, at the first dot or at the last."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from energon_prep.formats import MEDIA_SUFFIXES, role_of
from energon_prep.sources.captions import TEXT_SUFFIXES
from energon_prep.tar_headers import Damage, Member

MOST_DECIDING = 1000  #: members at a tar's beginning that decide where its names are cut

_MEDIA = tuple(suffix.lstrip(".") for suffix in MEDIA_SUFFIXES)
_MOST_PARTS = 1000  # of one sample: a tar of names that all begin alike must not be held in memory
# a part that begins with a dot, and is not "." or ".."
_HIDDEN = re.compile(r"(^|/)\.(?!\.?(/|$))")


class Group(NamedTuple):
    """Neighbouring members of one key."""

    key: str
    parts: dict[str, Member]  #: by part name in lower case, "jpg" or "mask.png", in the tar's order
    is_cut: bool = False  #: the tar ends, or is damaged, within this sample

    @property
    def start(self) -> int:
        """Byte offset of the first header."""
        return next(iter(self.parts.values())).start


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How the names in a tar are cut into key and part.

    Part names with a dot that were asked for, and doubled suffixes such as ``jpg.txt``, are cut off
    whole in any case.
    """

    first_dot: bool
    asked: tuple[str, ...] = ()  #: the longest first

    @staticmethod
    def of(names: Iterable[str], *, first_dot: bool) -> Naming:
        """``names``: parts that were asked for, as people write them."""
        parts = {part_name(name) for name in names}
        return Naming(
            first_dot=first_dot,
            asked=tuple(sorted((part for part in parts if "." in part), key=_longest)),
        )

    def split(self, name: str) -> tuple[str, str] | None:
        """``a/b.c.JPG`` -> ``("a/b.c", "jpg")``, at the first dot ``("a/b", "c.jpg")``.

        None for hidden names and for those without a suffix, such as ``__index__``.
        """
        folder, slash, base = name.removeprefix("./").rpartition("/")
        stem, _, suffix = base.rpartition(".")
        if not stem or not suffix or is_hidden(name):
            return None
        if "." in stem:
            stem = self._stem(base, stem, suffix.lower())
        return folder + slash + stem, base[len(stem) + 1 :].lower()

    def _stem(self, base: str, stem: str, suffix: str) -> str:
        lower = base.lower()
        for part in self.asked:
            if lower.endswith(f".{part}") and len(lower) > len(part) + 1:
                return base[: -len(part) - 1]
        if self.first_dot:
            return base.partition(".")[0]
        inner = stem.rpartition(".")
        return inner[0] if suffix in TEXT_SUFFIXES and inner[2].lower() in _MEDIA else stem


def naming_for(names: Iterable[str], *, asked: Iterable[str], media_key: str | None) -> Naming:
    """How to cut the names of a tar that begins with ``names``.

    At the first dot where more groups are one sample that way than are not: with one medium, or one
    whose part name has no dot, and with a caption, and not two samples that are whole at the last
    dot. ``asked``: names of parts, that of the media among them, if it is known.
    """
    first, last = Naming.of(asked, first_dot=True), Naming.of(asked, first_dot=False)
    named = ((split, name) for name in names if (split := first.split(name)) is not None)
    votes = 0
    for _, run in groupby(named, key=lambda item: item[0][0]):
        members = [(part, last.split(name)) for (_, part), name in run]
        votes += _vote(
            [(part, split[0]) for part, split in members if split is not None], media_key
        )
    return first if votes > 0 else last


def _vote(members: Sequence[tuple[str, str]], media_key: str | None) -> int:
    """1 for the first dot, -1 for the last, 0 if it is all the same. ``members``: part and key at
    the last dot.
    """
    wanted = "" if media_key is None else f".{part_name(media_key)}"
    media = [
        (part, key)
        for part, key in members
        if (f".{part}".endswith(wanted) if wanted else is_media(part))
    ]
    texts = [(part, key) for part, key in members if suffix_of_part(part) in TEXT_SUFFIXES]
    if not media or len({key for _, key in members}) < 2:
        return 0
    num_whole = len({key for _, key in media} & {key for _, key in texts})
    has_main = len(media) == 1 or any("." not in part for part, _ in media)
    shares_text = any("." not in part for part, _ in texts)
    return 1 if texts and num_whole < 2 and (has_main or shares_text) else -1


def group_members(
    items: Iterable[Member | Damage], naming: Naming
) -> Iterator[Group | Member | Damage]:
    """The groups of a tar's members, the members that belong to none, and the Damage, in the tar's
    order.
    """
    key, parts, usual = "", dict[str, Member](), frozenset[str]()
    for item in items:
        named = None if item.name is None else naming.split(item.name)
        if isinstance(item, Damage):
            if parts:
                is_cut = (named is not None and named[0] == key) or parts.keys() < usual
                yield Group(key, parts, is_cut)
            yield item
            return
        if named is None or item.kind == "directory":
            yield item
            continue
        if naming.asked and _extends(named, key, parts, naming):
            named = key, item.name.removeprefix("./")[len(key) + 1 :].lower()
        if parts and (named[0] != key or named[1] in parts or len(parts) == _MOST_PARTS):
            yield Group(key, parts)
            usual, parts = frozenset(parts), {}
        key = named[0]
        parts[named[1]] = item
    if parts:
        yield Group(key, parts)


def _extends(named: tuple[str, str], key: str, parts: Mapping[str, Member], naming: Naming) -> bool:
    """Whether a name goes on behind a key that is certain, as a part of that sample was asked
    for.
    """
    is_certain = any(part in parts for part in naming.asked)
    return is_certain and named[1] not in naming.asked and named[0].startswith(f"{key}.")


@lru_cache(maxsize=1024)  # samples have few layouts
def main_part(parts: tuple[str, ...], media_key: str | None) -> str | None:
    """The part that is the sample's medium; None if there is none that can be read.

    The one that ``media_key`` names; else of those without a dot in their part name the first of
    MEDIA_SUFFIXES; else the only one with a dot. Of several with a dot it is the first, and
    ``is_ambiguous``.
    """
    if media_key is not None:
        return next(iter(matches(parts, media_key)), None)
    media = media_parts(parts)
    plain = [part for part in media if "." not in part]
    if plain:
        return min(plain, key=_MEDIA.index)
    is_unread = any("." not in part and role_of(f".{part}").role != "unknown" for part in parts)
    return None if is_unread else next(iter(media), None)


def is_ambiguous(parts: Collection[str], main: str, media_key: str | None) -> bool:
    """Whether other media of the sample are as likely to be the one that is meant."""
    if media_key is not None:
        return len(matches(parts, media_key)) > 1
    return "." in main and len(media_parts(parts)) > 1


def media_parts(parts: Collection[str]) -> list[str]:
    return [part for part in parts if is_media(part)]


def matches(parts: Collection[str], name: str) -> list[str]:
    """The parts that ``name`` means: the one that is called so, or else those that end in it:
    "png", "mask.png".
    """
    name = part_name(name)
    return [name] if name in parts else [part for part in parts if part.endswith(f".{name}")]


def text_parts(parts: Collection[str], suffix: str, main: str) -> list[str]:
    """The parts that may hold the text called ``suffix`` of the medium ``main``, the likeliest
    first.

    "txt" itself; beside "input.jpg" also "input.jpg.txt" and "input.txt"; if there is none, all
    that end in it.
    """
    suffix = part_name(suffix)
    stem = main.rpartition(".")[0] or main
    likely = [part for part in (suffix, f"{main}.{suffix}", f"{stem}.{suffix}") if part in parts]
    return list(dict.fromkeys(likely)) or matches(parts, suffix)


def is_hidden(name: str) -> bool:
    return (name.startswith(".") or "/." in name) and _HIDDEN.search(name) is not None


def is_media(part: str) -> bool:
    return suffix_of_part(part) in _MEDIA


def suffix_of_part(part: str) -> str:
    return part.rpartition(".")[2]


def _longest(part: str) -> tuple[int, str]:
    return -len(part), part


def part_name(name: str) -> str:
    """A part's name as people write it, ".Mask.png", as parts are called here."""
    return name.lower().lstrip(".")
