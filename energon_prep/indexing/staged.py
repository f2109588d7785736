"""Station 7, indexing: prepares in a folder of links and takes the result over only when it is whole.

    .nv-meta/.energon-prep/staging/data/shard_000000.tar -> DST/shard_000000.tar
    .nv-meta/.energon-prep/staging/data/shard_000000.tar.idx, .nv-meta/...         until they are taken over

``energon prepare`` does not look into hidden folders, so what a lost node leaves here is in nobody's way.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.indexing import process
from energon_prep.indexing.meta import (
    INFO_JSON,
    INFO_YAML,
    META_DIR,
    SPLIT_YAML,
    SQLITE,
    UUID,
    idx_path,
    read_shard_counts,
)
from energon_prep.layout import PRIVATE_DIR


def prepare_staged(
    root: Path, expected: Mapping[str, int], *, workers: int, timeout: float | None, sqlite: bool = True
) -> None:
    """Have Energon index the tars of ``expected`` (tar -> samples, in order), and publish .idx, sqlite and .info.json.

    Without ``sqlite`` that table is left out. From here until the caller writes split.yaml the dataset does not load.
    Raises PrepError if the preparation fails or counts other samples; then nothing was published.
    """
    with _empty_folder(root / META_DIR / PRIVATE_DIR / "staging") as staging:
        data = staging / "data"
        (data / META_DIR).mkdir(parents=True)
        for tar in expected:
            (data / tar).parent.mkdir(parents=True, exist_ok=True)
            (data / tar).symlink_to(root / tar)
        process.prepare(data, list(expected), workers=workers, timeout=timeout, scratch=staging)
        _require_counts(read_shard_counts(data / META_DIR) or {}, expected)
        for name in (SPLIT_YAML, SQLITE):
            (root / META_DIR / name).unlink(missing_ok=True)
        for tar in expected:
            take_over(idx_path(data / tar), idx_path(root / tar))
        for name in (INFO_JSON, UUID, *([SQLITE] if sqlite else [])):  # sqlite alone: another kind of dataset
            take_over(data / META_DIR / name, root / META_DIR / name)


def retire(root: Path) -> None:
    """Remove an index that does not fit its tars."""
    for name in (SPLIT_YAML, SQLITE, UUID, INFO_JSON, INFO_YAML):
        (root / META_DIR / name).unlink(missing_ok=True)


@contextmanager
def _empty_folder(path: Path) -> Iterator[Path]:
    shutil.rmtree(path, ignore_errors=True)  # of a process that died: the lock is ours
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _require_counts(counts: Mapping[str, int], expected: Mapping[str, int]) -> None:
    for tar, samples in expected.items():
        if counts.get(tar) != samples:
            raise PrepError(
                f"{tar}: Energon counts {counts.get(tar, 0)} samples in it, not {samples}: the tar was changed or is "
                "damaged. Restore it (for a dataset of energon-prep: run the same encode again)"
            )


def take_over(staged: Path, final: Path) -> None:
    with staged.open("rb") as file:
        os.fsync(file.fileno())
    try:
        staged.replace(final)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        near = final.with_name(f".{final.name}.tmp")  # the tar's folder is a link to another file system
        shutil.copy2(staged, near)
        near.replace(final)
