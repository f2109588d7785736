"""Small tars for the tests of the index."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from energon_prep.samples import Reject
from energon_prep.shards.ledger import LedgerEntry, record
from energon_prep.shards.writer import ShardWriter, TarWriter
from energon_prep.storage import LocalStorage

PARTS = ("json", "pth")


def write_tar(path: Path, names: Iterable[str], *, size: int = 700) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = size
            tar.addfile(member, io.BytesIO(b"{}".ljust(size)))
    return path


def names(*keys: str) -> list[str]:
    return [f"{key}.{part}" for key in keys for part in PARTS]


def write_foreign(root: Path, shards: int = 3, samples: int = 2) -> Path:
    """Tars that this tool did not write."""
    for shard in range(shards):
        write_tar(
            root / f"part_{shard:03d}.tar", names(*(f"s/{shard}_{i}" for i in range(samples)))
        )
    return root


def write_ours(
    root: Path,
    shards: int = 3,
    samples: int = 2,
    *,
    start: int = 0,
    all_rejected: Iterable[int] = (),
) -> Path:
    """A dataset as ``encode`` leaves it, with one reject a shard and shards of ``all_rejected``
    without a tar.
    """
    rejected = set(all_rejected)
    for shard in range(start, shards):
        with ShardWriter(LocalStorage(root), index=shard, num_planned=samples + 1) as writer:
            for i in range(samples + 1):
                serial = shard * (samples + 1) + i
                if i == samples or shard in rejected:
                    writer.reject(
                        Reject(
                            serial=serial,
                            key=f"k{serial}",
                            source="s",
                            stage="decode",
                            reason="no image",
                        )
                    )
                else:
                    writer.write(serial, [(None, {"json": b'{"key": 1}', "pth": bytes(600)})])
            writer.finish()
    return write_run(root)


def write_keys(root: Path, shards: Sequence[Mapping[str, Mapping[str, bytes]]]) -> Path:
    """A dataset of ours with keys that ``encode`` does not give: of each shard its samples' parts
    by key.
    """
    storage = LocalStorage(root)
    for index, samples in enumerate(shards):
        name = f"shard_{index:06d}.tar"
        publication = storage.create(name)
        tar = TarWriter(publication.file)
        for key, parts in samples.items():
            tar.write(key, parts)
        sha256 = tar.finish()
        publication.publish()
        entry = LedgerEntry(
            index=index,
            shard=name,
            num_planned=len(samples),
            num_written=len(samples),
            num_samples=len(samples),
            num_rejected=0,
            num_parts=tar.rows.num_parts,
            bytes=tar.num_bytes,
            sha256=sha256,
            mtime_ns=None,
            rows_bytes=0,
            rejects={},
        )
        record(storage, entry, tar.rows, [])
    return write_run(root)


def write_run(root: Path) -> Path:
    run = {"schema": 1, "target": {"name": "dit", "subflavors": {"target": "dit"}}}
    (root / ".energon-prep" / "run.json").write_text(json.dumps(run))
    return root
