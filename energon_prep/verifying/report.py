"""What was found, for programs and for eyes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What was found."""

    ok: bool  #: nothing is wrong
    shards: int  #: tars opened; at a quick look those that there are
    samples: int  #: in them
    parts: int  #: of these, as far as they were opened
    problems: tuple[str, ...]  #: the first 100, then how many more there are
    num_problems: int  #: all of them
    notes: tuple[str, ...]  #: what was not checked, and why
    #: samples planned, written and rejected; empty for a dataset of others
    accounted: dict[str, int]
    deep: bool  #: whether the tars were opened
    marked: tuple[str, ...] = ()  #: what was set aside, for the next encode to make again
    repairable: bool = False  #: whether marking it and encoding again would mend some of it
    #: Samples that are the same in the source, changed, missing there, and extra, which are not in
    #: the dataset; empty if the source was not asked for.
    source: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
