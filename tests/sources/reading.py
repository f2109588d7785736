"""What the tests of all sources share: writing small sources, and reading one whole the way a
worker does.
"""

from __future__ import annotations

import dataclasses
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from energon_prep.errors import SampleError
from energon_prep.plan.order import Listed
from energon_prep.plan.shards import join_entries
from energon_prep.samples import PendingSample, RawSample
from energon_prep.sources.account import Account
from energon_prep.sources.base import Entry, Source


def listed(source: Source) -> list[Entry]:
    """The whole listing; checks that everything found is accounted for."""
    account = Account()
    entries = list(source.list(account))
    account.check()
    assert account.num_samples == len(entries)
    return entries


def account_of(source: Source) -> Account:
    """What a whole listing finds."""
    account = Account()
    num = len(list(source.list(account)))
    account.check()
    assert account.num_samples == num
    return account


def load_all(source: Source, *, cut: int = 1000) -> list[RawSample | SampleError]:
    """Every sample or its fault, in order, read in shards of ``cut``; checks that read() joins with
    list().
    """
    entries = [Listed(*item) for item in enumerate(listed(source))]
    outcomes: list[RawSample | SampleError] = []
    for first in range(0, len(entries), cut):
        for piece in join_entries(entries[first : first + cut]):
            pending = list(source.read(piece))
            assert len(pending) == piece.count
            for sample in pending:
                try:
                    raw = sample.load()
                    assert (raw.key, raw.source) == (sample.key, sample.source)
                    # which compares
                    outcomes.append(dataclasses.replace(raw, media=raw.media.read()))
                except SampleError as error:
                    outcomes.append(error)
    assert len(outcomes) == len(entries)
    return outcomes


def only(source: Source) -> RawSample:
    """The source's single sample."""
    (outcome,) = load_all(source)
    assert isinstance(outcome, RawSample), outcome
    return outcome


def fault(source: Source) -> SampleError:
    """What is wrong with the source's single sample."""
    (outcome,) = load_all(source)
    assert isinstance(outcome, SampleError), outcome
    return outcome


def write(path: Path, content: bytes | str = b"media") -> Path:
    """A file, and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_tar(
    path: Path,
    members: Iterable[tuple[str, bytes]],
    *,
    tar_format: int = tarfile.USTAR_FORMAT,
    end_mark: bool = True,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tar_format) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        end = tar.offset
    if not end_mark:
        path.write_bytes(path.read_bytes()[:end])
    return path


def samples(*keys: str) -> list[tuple[str, bytes]]:
    """Members of samples whose caption is their key."""
    return [
        (f"{key}.{suffix}", content)
        for key in keys
        for suffix, content in (
            ("jpg", b"media of " + key.encode()),
            ("txt", key.encode()),
            ("json", b'{"n": 1}'),
        )
    ]


def keys_of(outcomes: list[RawSample | SampleError]) -> list[str]:
    """Of each sample its key, or what is wrong with it."""
    return [
        outcome.key if isinstance(outcome, RawSample) else outcome.reason for outcome in outcomes
    ]


def only_pending(source: Source) -> PendingSample:
    """The source's single sample, listed and not yet loaded."""
    (piece,) = join_entries([Listed(*item) for item in enumerate(listed(source))])
    (pending,) = source.read(piece)
    return pending
