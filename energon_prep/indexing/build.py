"""Tars -> .nv-meta, which Megatron-Energon trains from; whole or not at all.

DST/shard_000000.tar.idx                           where each sample begins; ours came with the tar
DST/.nv-meta/{.info.json,index.sqlite,index.uuid}  as Energon prepares them: ours from the ledger
DST/.nv-meta/{.info.yaml,dataset.yaml,split.yaml}  ours; split.yaml comes last
DST/.nv-meta/.energon-prep/                        the lock, and what is being written
"""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from energon_prep.errors import PrepError
from energon_prep.indexing.foreign import Tell, prepare_foreign, stop_at
from energon_prep.indexing.meta import (
    SQLITE,
    Outcome,
    complete_subflavors,
    idx_path,
    read_shard_counts,
    render_dataset,
    write_configs,
)
from energon_prep.indexing.ours import Progress, check_tars, write_index
from energon_prep.indexing.records import (
    ledger_counts,
    ledger_problems,
    num_unfinished,
    read_target,
)
from energon_prep.indexing.refresh import choose_splits, read_chosen
from energon_prep.indexing.tars import Listing, list_tars
from energon_prep.layout import META_DIR
from energon_prep.options import nearest_named
from energon_prep.progress import counted
from energon_prep.shards.ledger import LedgerEntry, read_ledger
from energon_prep.splits import parse_split
from energon_prep.storage import LocalStorage, dataset_folder, refuse_special

_MOST_WORKERS = 16  #: by default; they read, and one process writes what they find
_UNUSABLE = set("{}\\")  #: Energon expands braces in the names of tars


@dataclass(frozen=True, kw_only=True)
class IndexReport:
    """What ``index`` did."""

    shards: int  #: in all splits
    samples: int  #: in them
    split: dict[str, tuple[int, int]]  #: train, val, test -> (shards, samples)
    prepared: bool  #: False: the index was current already
    sqlite: bool  #: whether there is an index.sqlite, which random access needs
    dataset_yaml: Outcome  #: "kept": somebody edited it; ``force`` overwrites it
    warnings: tuple[str, ...]  #: what is odd and was passed over

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@nearest_named
def index(
    dest: str | Path = ".",
    *,
    split: str | Sequence[float] | None = "1,0,0",
    sqlite: bool = True,
    subflavor: Mapping[str, Any] | None = None,
    workers: int | None = None,
    force: bool = False,
    timeout: float | None = None,
    progress: bool | Progress | None = None,
    tell: Tell | None = None,
) -> IndexReport:
    """Make ``dest`` a dataset that Energon loads as CrudeWebdataset, whoever wrote its tars.

    A current index is left as it is, only split.yaml and dataset.yaml are refreshed; ``force``
    prepares again and overwrites a dataset.yaml that was edited. ``split``: the shares of train,
    val and test; None: each shard stays in the split that it is in, new ones are added by the
    shares that there are, and samples that are excluded and subflavors stay too. ``sqlite``: with
    the table for random access, which sequential training does not
    need. ``subflavor``: what dataset.yaml says of every sample, besides what the target of a
    dataset of ours needs. ``workers``: processes that read tars, by default one a processor.
    ``timeout``: seconds for Energon's own preparation, which tars of others need. ``progress``:
    shown on stderr, or called with (shards done, shards in all); by default shown in a notebook.
    ``tell`` gets what is odd about tars of others before anything is written; it is among the
    report's warnings too.

    Returns an IndexReport. Raises PrepError; then no half-made index carries a final name.
    """
    ratio = None if split is None else parse_split(split)
    if workers is not None and workers < 1:
        raise PrepError(f"workers {workers}: give 1 or more")
    root = _local_folder(dest)
    with _failures_named(root), counted("index", progress) as on_change:
        listing = list_tars(root)
        # after the tars: of those that a running encode finishes meanwhile it knows more
        entries = read_ledger(root)
        warnings = _check(root, listing, entries)
        target = None if entries is None else read_target(root)
        needed = {} if target is None else target.subflavors
        warnings += [target.made_up] if target is not None and target.made_up else []
        chosen = read_chosen(root, len(listing.tars)) if ratio is None else None
        given = {
            **(chosen.subflavors if chosen is not None else {}),
            **(subflavor or {}),
        }
        dataset = render_dataset(complete_subflavors(given, needed))
        options = _Options(
            sqlite=sqlite,
            force=force,
            workers=workers or min(os.cpu_count() or 1, _MOST_WORKERS, len(listing.tars)),
            timeout=timeout,
            progress=on_change,
            tell=tell,
        )
        with LocalStorage(root / META_DIR).locked():
            prepared, more = _prepare(root, listing.tars, entries, options)
            counts = read_shard_counts(root / META_DIR) or {}
            of_tars = {tar: counts[tar] for tar in listing.tars}
            splits = choose_splits(root, of_tars, ratio, chosen, is_ours=entries is not None)
            outcome, dropped = write_configs(
                root,
                counts,
                splits,
                dataset,
                force=force,
                exclude=None if chosen is None else chosen.exclude,
            )
    sizes = {name: (len(tars), sum(counts[tar] for tar in tars)) for name, tars in splits.items()}
    return IndexReport(
        shards=len(counts),
        samples=sum(counts.values()),
        split=sizes,
        prepared=prepared,
        sqlite=(root / META_DIR / SQLITE).exists(),
        dataset_yaml=outcome,
        warnings=(
            *warnings,
            *more,
            *dropped,
            *_empty_splits(splits, ratio or (0, 0, 0), len(listing.tars)),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Options:
    sqlite: bool
    force: bool
    workers: int
    timeout: float | None
    progress: Progress | None
    tell: Tell | None


def _prepare(
    root: Path, tars: Sequence[str], entries: Sequence[LedgerEntry] | None, options: _Options
) -> tuple[bool, list[str]]:
    """Write all but the configuration, unless it is current; return whether it was not, and
    warnings.
    """
    warnings: list[str] = []
    version = _energon_version()
    if entries is not None and is_known(version):
        by_tar = {entry.shard: entry for entry in entries}
        shards = [by_tar[tar] for tar in tars]
        warnings += check_tars(root, shards, threads=options.workers)
        done = write_index(
            root,
            shards,
            version,
            sqlite=options.sqlite,
            force=options.force,
            progress=options.progress,
        )
        return done, warnings
    if entries is not None:
        warnings.append(
            f"megatron-energon {version} is none that this tool knows (>= 7.3, < 8): "
            "its own preparation was used, which is slow"
        )
    prepared, more = prepare_foreign(
        root,
        tars,
        None if entries is None else ledger_counts(entries),
        sqlite=options.sqlite,
        force=options.force,
        workers=options.workers,
        timeout=options.timeout,
        tell=options.tell,
    )
    return prepared, [*warnings, *more]


def _energon_version() -> str:
    try:
        return importlib.metadata.version("megatron-energon")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def is_known(version: str) -> bool:
    """Whether that Energon's preparation writes what we write; 7.3.0 to 7.4.1 were seen to."""
    return re.match(r"7\.([3-9]|[1-9][0-9])", version) is not None


def _local_folder(dest: str | Path) -> Path:
    root = dataset_folder(dest)
    if not root.is_dir():
        raise PrepError(f"{dest} is not a folder: give the folder with the dataset's tars")
    if (root / META_DIR).is_symlink():  # of somebody else's making it could lead anywhere
        raise PrepError(
            f"{root / META_DIR} is a link: remove it, the index is made in the dataset's folder"
        )
    refuse_special(root)
    return root


@contextmanager
def _failures_named(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PrepError(
            f"cannot index {root}: {error}: mend that and run the same command again"
        ) from error


def _check(root: Path, listing: Listing, entries: Sequence[LedgerEntry] | None) -> list[str]:
    """Refuse what cannot become a dataset, from names and sizes alone; return warnings."""
    others = (
        f"{len(listing.compressed)} compressed tars, first {listing.compressed[:1]}"
        if listing.compressed
        else ""
    )
    if not listing.tars and entries is None:
        raise PrepError(
            f"{root} has no .tar files" + (f" but {others}: unpack them to .tar" if others else "")
        )
    problems = [
        f"{tar!a}: braces, backslashes and other than UTF-8 in a tar's name mislead Energon: "
        "rename it"
        for tar in listing.tars
        if _UNUSABLE & set(tar) or not _is_utf8(tar)
    ]
    problems += _link_problems(root, listing.tars)
    problems += [] if entries is None else ledger_problems(root, entries, listing)
    stop_at(root, problems)
    if not listing.tars:
        raise PrepError(
            f"{root} has no finished shard with a sample in it: see its rejects, or run "
            "encode first"
        )
    warnings = (
        [f"{others}, are passed over: Energon cannot load them; unpack them to .tar"]
        if others
        else []
    )
    unfinished = 0 if entries is None else num_unfinished(root, entries)
    if unfinished:
        warnings.append(
            f"{unfinished} shards of the plan are not encoded yet: run encode again, then index"
        )
    return warnings


def _link_problems(root: Path, tars: Sequence[str]) -> Iterator[str]:
    """An .idx is written beside each tar, which must not lead out of the dataset's folder."""
    linked = {folder for tar in tars if (folder := _first_link(root, tar)) is not None}
    for folder in sorted(linked):
        yield f"{folder}: it is a link to a folder, and nothing is written outside: link its tars"
    for tar in tars:
        if idx_path(root / tar).is_symlink():
            yield f"{idx_path(Path(tar)).as_posix()}: it is a link, and is to be written: remove it"


def _first_link(root: Path, tar: str) -> str | None:
    """The first folder above a tar that is a link."""
    above = [*Path(tar).parents][-2::-1]
    return next((folder.as_posix() for folder in above if (root / folder).is_symlink()), None)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _empty_splits(
    splits: Mapping[str, Sequence[str]], ratio: Sequence[float], num_tars: int
) -> list[str]:
    return [
        f"split {name!r} is empty: {num_tars} shards are too few for its share; use a smaller "
        "samples_per_shard"
        for (name, tars), share in zip(splits.items(), ratio, strict=True)
        if share and not tars
    ]
