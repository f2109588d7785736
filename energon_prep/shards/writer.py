"""A shard on its way to the disk, whole with its ledger entry or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType

from energon_prep.layout import sample_key, tar_name
from energon_prep.samples import Reject
from energon_prep.shards.ledger import LedgerEntry, count_rejects, record, retract
from energon_prep.shards.tar import TarWriter
from energon_prep.storage import Publication, Storage


class ShardWriter:
    """Takes a shard's samples and rejects; ``finish`` publishes the tar, its index rows, then the
    ledger entry.

    Left without ``finish`` (an error, a kill) nothing of the shard carries a final name. A shard
    whose samples were all rejected has a ledger entry and no tar: Megatron-Energon cannot index an
    empty one.
    """

    def __init__(self, storage: Storage, *, index: int, num_planned: int) -> None:
        self._storage = storage
        self._index = index
        self._num_planned = num_planned
        self._name = tar_name(index)
        self._publication: Publication | None = None
        self._tar: TarWriter | None = None
        self._num_written = 0
        self._num_samples = 0
        self._notes: Counter[str] = Counter()
        self._rejects: list[Reject] = []

    def write(
        self,
        serial: int,
        samples: Sequence[tuple[int | None, Mapping[str, bytes]]],
        *,
        notes: Mapping[str, int] | None = None,
    ) -> None:
        """Append what one raw sample became: its clips' numbers (None for a single one) and
        parts.
        """
        if self._tar is None:
            self._publication = self._storage.create(self._name)
            self._tar = TarWriter(self._publication.file)
        for clip, parts in samples:
            self._tar.write(sample_key(serial, clip), parts)
        self._num_samples += len(samples)
        self._num_written += 1
        self._notes.update(notes or {})

    def reject(self, reject: Reject) -> None:
        self._rejects.append(reject)

    def finish(self, *, halved: Mapping[str, int] | None = None) -> LedgerEntry:
        """Publish. Raises PrepError unless every planned sample was written or rejected.

        ``halved``: batch sizes that the ledger is to record, see ``LedgerEntry``.
        """
        sha256 = self._tar.finish() if self._tar is not None else ""
        rows = self._tar.rows if self._tar is not None else None
        entry = LedgerEntry(
            index=self._index,
            shard=self._name if self._tar is not None else "",
            num_planned=self._num_planned,
            num_written=self._num_written,
            num_samples=self._num_samples,
            num_rejected=len(self._rejects),
            num_parts=rows.num_parts if rows is not None else 0,
            bytes=self._tar.num_bytes if self._tar is not None else 0,
            sha256=sha256,
            mtime_ns=None,
            rows_bytes=0,
            rejects=count_rejects(self._rejects),
            halved=dict(halved or {}),
            notes=dict(sorted(self._notes.items())),
        )
        retract(self._storage, self._index)
        if self._publication is not None:
            self._publication.publish()
        return record(self._storage, entry, rows, self._rejects)

    def discard(self) -> None:
        """Forget the shard; nothing of it carries a final name. Does nothing after ``finish``."""
        if self._publication is not None:
            self._publication.discard()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.discard()
