"""Sorts what tars hold into an account: samples, companions, passed over, damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from energon_prep.errors import PrepError
from energon_prep.formats import MEDIA_SUFFIXES, role_of, suffix_of
from energon_prep.samples import printable
from energon_prep.sources.account import Account
from energon_prep.sources.captions import CAPTION_SUFFIXES, TEXT_SUFFIXES
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tables.table_files import table_suffix
from energon_prep.sources.tars.groups import (
    Group,
    is_hidden,
    main_part,
    matches,
    media_parts,
    suffix_of_part,
    text_parts,
)
from energon_prep.sources.walk import HIDDEN
from energon_prep.tar_headers import NO_END_MARK, Damage, Member

CUT = "of samples that the end of a tar cuts"
NO_SUFFIX = "without suffix"

_KINDS = {
    "directory": "directories",
    "link": "links in a tar",
    "device": "devices in a tar",
    "sparse": "sparse files",
}
_MOST_NAMES = 100  # that are told apart
_MOST_TOLD = 5
_MARK_ADVICE = "if nothing is missing, head -c 1024 /dev/zero >> TAR adds one"


@dataclass
class TarAccount:
    """What was found in the tars of one source; ``begin`` and ``end`` enclose each."""

    account: Account
    options: SourceOptions
    _tar: str = ""
    _num_before: int = 0
    _empty: list[str] = field(default_factory=list)  #: tars without a sample
    #: parts that are asked for -> samples that have them
    _carried: Counter[str] = field(default_factory=Counter)
    #: further parts that are not asked for
    _left_out: Counter[str] = field(default_factory=Counter)
    #: By a sample's parts: what is to be counted of it.
    _notes: dict[tuple[str, ...], list[tuple[Counter[str], str]]] = field(default_factory=dict)
    #: what was taken where there were several -> samples
    _chosen: Counter[str] = field(default_factory=Counter)

    def begin(self, tar: str) -> None:
        self._tar, self._num_before = printable(tar), self.account.num_samples

    def end(self) -> None:
        if self.account.num_samples == self._num_before and self._tar not in self.account.damaged:
            self._empty.append(self._tar)

    def add_damage(self, damage: Damage) -> None:
        num_samples = self.account.num_samples - self._num_before
        advice = f" ({_MARK_ADVICE})" if damage.what == NO_END_MARK else ""
        known = (
            f"byte {damage.start}: {damage.what}{advice}; samples before it, which are read: "
            f"{num_samples}"
        )
        self.account.damaged[self._tar] = printable(known)

    def add_member(self, member: Member) -> None:
        """A member that is in no group."""
        self._pass_over(
            member, _KINDS.get(member.kind) or (HIDDEN if is_hidden(member.name) else NO_SUFFIX)
        )

    def add_group(self, group: Group) -> bool:
        """Returns whether it is a sample."""
        main = None if group.is_cut else main_part(tuple(group.parts), self.options.media_key)
        if main is None:
            for part, member in group.parts.items():
                self._pass_over(member, CUT if group.is_cut else self._kind(part, member))
            return False
        self.account.find(len(group.parts))
        self.account.add_companion(len(group.parts) - 1)
        self.account.add_sample()
        layout = tuple(group.parts)
        if layout not in self._notes:
            if len(self._notes) == _MOST_NAMES:  # which all differ
                self._notes.clear()
            self._notes[layout] = list(self._notes_of(layout, main))
        for counter, what in self._notes[layout]:
            counter[what if what in counter or len(counter) < _MOST_NAMES else "others"] += 1
        return True

    def tell(self) -> None:
        """Tell what was chosen and left out. Raises PrepError for parts that are asked for and that
        no sample has.
        """
        tell = self.account.tell
        for what, number in self._chosen.most_common(_MOST_TOLD):
            tell(f"samples with several {what}: {number}")
        self.account.tell_parts(self._left_out)
        if self._empty:
            tell(f"tars without samples: {len(self._empty)}, first {self._empty[0]}")
        for name in self.options.carry_parts:
            if not self._carried[name] and self.account.num_samples:
                there = f"; there are {_listed(self._left_out)}" if self._left_out else ""
                raise PrepError(f"--carry {name}: no sample has a part of that name{there}")

    def _pass_over(self, member: Member, kind: str) -> None:
        self.account.find()
        self.account.pass_over(kind, f"{self._tar}/{printable(member.name)}")

    def _kind(self, part: str, member: Member) -> str:
        if member.kind != "file":
            return _KINDS[member.kind]
        suffix = f".{suffix_of_part(part)}"
        if suffix in MEDIA_SUFFIXES:  # there is no main part, so another one was asked for
            return f"{suffix} (not the --image-key)"
        return _kind_of(suffix)

    def _notes_of(self, parts: tuple[str, ...], main: str) -> Iterator[tuple[Counter[str], str]]:
        """What was chosen where a sample has several of a kind, what is carried, and what is left
        out.
        """
        options = self.options
        kept = [part for name in options.carry_parts for part in matches(parts, name)]
        yield from ((self._carried, name) for name in options.carry_parts if matches(parts, name))
        several = [
            part for part in media_parts(parts) if "." not in part and options.media_key is None
        ]
        if len(several) > 1:
            yield (
                self._chosen,
                f"media ({' '.join(sorted(several))}), of which {main} is encoded (--image-key)",
            )
        for suffix in () if options.caption_keys else CAPTION_SUFFIXES:
            texts = text_parts(parts, suffix, main)
            if (
                len(texts) > 1
                and not any(text.startswith(main) for text in texts)
                and suffix not in texts
            ):
                yield (
                    self._chosen,
                    f"captions ({' '.join(texts)}), of which the first is taken (--caption-key)",
                )
        for part in parts:
            if part not in (main, *kept, *several) and suffix_of_part(part) not in TEXT_SUFFIXES:
                yield self._left_out, part


def kind_of_loose(path: str) -> str:
    """What a file beside tars is called in the account."""
    suffix = suffix_of(path)
    if table_suffix(path) not in ("", ".json"):
        return f"{suffix} (a table: give it as SRC)"
    return (
        f"{suffix} beside tars (--source-kind folder)"
        if suffix in MEDIA_SUFFIXES
        else _kind_of(suffix)
    )


def _kind_of(suffix: str) -> str:
    """What is no sample and belongs to none, by its suffix (".txt")."""
    role = role_of(suffix)
    if suffix.lstrip(".") in TEXT_SUFFIXES:
        return f"{suffix} without media"
    if role.remedy:
        return f"{suffix} ({role.remedy})"
    return printable(suffix) or NO_SUFFIX


def _listed(numbers: Counter[str]) -> str:
    return ", ".join(f"{number} x {printable(name)}" for name, number in numbers.most_common(5))
