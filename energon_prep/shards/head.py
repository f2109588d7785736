"""The ledger's head: checksums of the files that a dataset has once, and of the ledger's entries.

    DST/.energon-prep/ledger.json    one Head

A file's checksum is in the head before the file is there. While a file is replaced the head has
the checksums of both, so that a kill at any moment leaves one that fits. Entries come in when a run
ends; of an entry that is not in it the head says nothing, which is so while a run goes on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from energon_prep.errors import PrepError
from energon_prep.layout import LEDGER_HEAD
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.storage import Storage, publish_bytes

_PIECE = 2**20  #: bytes read at once


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a dataset's files were when they were written."""

    #: name of run.json, the plan and the empty caption's files -> sha256; two while it is replaced
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    entries: Mapping[int, str] = field(default_factory=dict)  #: of shards, by index

    def fits(self, storage: Storage, name: str) -> bool:
        """Whether a file is the one that was written; of an unknown one that is not told."""
        return name not in self.files or file_sha256(storage, name) in self.files[name]

    def fits_entry(self, entry: LedgerEntry) -> bool:
        """Whether an entry is the one that was written; of an unknown one that is not told."""
        known = self.entries.get(entry.index)
        return known is None or known == entry_digest(entry)


def file_sha256(storage: Storage, name: str) -> str:
    """Read in pieces: a damaged file may have any size. Raises OSError."""
    digest = hashlib.sha256()
    with storage.open(name) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def entry_digest(entry: LedgerEntry) -> str:
    """Without times, which are entered anew after a dataset or its media were copied."""
    fields = {**dataclasses.asdict(entry), "mtime_ns": None, "media": None}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:32]


def read_head(storage: Storage) -> Head | None:
    """None if there is none. Raises PrepError if it is damaged."""
    if not storage.exists(LEDGER_HEAD):
        return None
    try:
        fields = json.loads(storage.read(LEDGER_HEAD))
        files = {str(name): tuple(map(str, sums)) for name, sums in fields["files"].items()}
        entries = {int(index): str(digest) for index, digest in fields["entries"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PrepError(
            f"{LEDGER_HEAD} is damaged ({type(error).__name__}: {error}): run energon-prep "
            "verify --mark-bad, then the same encode again"
        ) from error
    return Head(files=files, entries=entries)


def begin_head(storage: Storage, names: Iterable[str]) -> None:
    """The head of a new dataset, of whose files ``names`` are there already."""
    _write(storage, Head(files={name: (file_sha256(storage, name),) for name in names}))


def note_files(storage: Storage, names: Collection[str], *, again: bool = False) -> None:
    """Enter files that are there: those that the head does not know, or ``again`` all of them."""
    head = read_head(storage) or Head()
    files = dict(head.files)
    for name in names:
        if again or name not in files:
            files[name] = (file_sha256(storage, name),)
    if files != head.files:
        _write(storage, replace(head, files=files))


def publish_noted(storage: Storage, name: str, data: bytes) -> None:
    """Write a small file whole, with its checksum in the head."""
    head = read_head(storage) or Head()
    new, old = hashlib.sha256(data).hexdigest(), head.files.get(name, ())
    _write(storage, replace(head, files={**head.files, name: (*old, new)}))
    publish_bytes(storage, name, data)
    if old:
        _write(storage, replace(head, files={**head.files, name: (new,)}))


def expect_file(storage: Storage, name: str, sha256: str) -> None:
    """A file is about to be replaced by one of that checksum."""
    head = read_head(storage) or Head()
    sums = head.files.get(name, ())
    if sums and sha256 not in sums:
        _write(storage, replace(head, files={**head.files, name: (*sums, sha256)}))


def forget_entries(storage: Storage, keep: Collection[int]) -> None:
    """Shards other than ``keep`` are about to be made (again)."""
    head = read_head(storage) or Head()
    entries = {index: digest for index, digest in head.entries.items() if index in keep}
    if entries != head.entries:
        _write(storage, replace(head, entries=entries))


def seal(storage: Storage, entries: Iterable[LedgerEntry]) -> None:
    """Enter the entries that the head does not know yet: the shards are all made."""
    head = read_head(storage) or Head()
    new = {entry.index: entry_digest(entry) for entry in entries if entry.index not in head.entries}
    if new:
        _write(storage, replace(head, entries={**head.entries, **new}))


def _write(storage: Storage, head: Head) -> None:
    fields = {
        "files": {name: list(sums) for name, sums in sorted(head.files.items())},
        "entries": {str(index): digest for index, digest in sorted(head.entries.items())},
    }
    publish_bytes(storage, LEDGER_HEAD, (json.dumps(fields, indent=0) + "\n").encode())
