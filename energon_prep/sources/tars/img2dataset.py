"""What img2dataset leaves beside its tars: the table of a tar's rows, and how many of them failed
to download.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from energon_prep.errors import SampleError
from energon_prep.sources.account import Account
from energon_prep.sources.captions import parse_object
from energon_prep.sources.media import read_text_file

_STATS = "_stats.json"
#: behind the name of a tar without ".tar"
_BESIDE = (_STATS, ".parquet", ".tar.idx", ".idx", ".json")
_MOST_REASONS = 3


def tar_beside(file: Path) -> Path | None:
    """The tar that a file such as ``00000_stats.json``, ``00000.parquet`` or ``00000.tar.idx`` goes
    with, if any.
    """
    for ending in _BESIDE:
        if file.name.endswith(ending):
            tar = file.with_name(f"{file.name.removesuffix(ending)}.tar")
            if tar.is_file():
                return tar
    return None


@dataclass
class FailedRows:
    """Sums up the ``NNNNN_stats.json`` of tars."""

    num_rows: int = 0
    num_failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, tar: Path, account: Account) -> None:
        """Add what lies beside ``tar``, if there is anything."""
        file = tar.with_name(tar.name.rpartition(".")[0] + _STATS)
        try:
            data = read_text_file(file, stage="read")
            if data is not None:
                self._add(parse_object(data))
        except SampleError as error:
            account.tell(
                f"{file.name} cannot be read, so the rows that failed are not known: {error}"
            )

    def _add(self, stats: dict[str, Any]) -> None:
        failed = {name: stats.get(f"failed_to_{name}") for name in ("download", "resize")}
        numbers = [stats.get("count"), stats.get("successes"), *failed.values()]
        statuses = stats.get("status_dict", {})
        if not isinstance(statuses, dict) or not all(
            _is_number(number) for number in (*numbers, *statuses.values())
        ):
            raise SampleError(
                "read", "not what img2dataset writes", "it lacks count, successes or failed_to_*"
            )
        self.num_rows += stats["count"]
        self.num_failed += stats["count"] - stats["successes"]
        reasons = Counter(
            {str(reason): number for reason, number in statuses.items() if reason != "success"}
        )
        self.reasons += reasons or Counter(
            {f"failed to {name}": number for name, number in failed.items()}
        )

    def tell(self, account: Account) -> None:
        if not self.num_failed:
            return
        ranked = sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))
        words = [f"{number} x {reason:.80}" for reason, number in ranked[:_MOST_REASONS]]
        more = ", ..." if len(ranked) > _MOST_REASONS else ""
        account.tell(
            f"{self.num_failed} of {self.num_rows} rows failed before, when img2dataset made "
            f"these tars, and are not in them: {', '.join(words)}{more}"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
