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
from energon_prep.indexing.checks import check_dataset, open_folder
from energon_prep.indexing.foreign import Tell, prepare_foreign
from energon_prep.indexing.meta import (
    SQLITE,
    Outcome,
    complete_subflavors,
    read_shard_counts,
    render_dataset,
    write_configs,
)
from energon_prep.indexing.ours import Progress, check_tars, write_index
from energon_prep.indexing.records import (
    RunTarget,
    ledger_counts,
    read_planned_splits,
    read_target,
)
from energon_prep.indexing.refresh import Chosen, choose_splits, read_chosen
from energon_prep.indexing.tars import list_tars
from energon_prep.layout import META_DIR
from energon_prep.options import nearest_named
from energon_prep.progress import counted
from energon_prep.shards.ledger import LedgerEntry, read_ledger
from energon_prep.splits import Ratio, parse_split
from energon_prep.storage import LocalStorage

_MOST_WORKERS = 16  #: by default; they read, and one process writes what they find


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
    the table for random access, which sequential training does not need. ``subflavor``: what
    dataset.yaml says of every sample, besides what the target of a dataset of ours needs.
    ``workers``: processes that read tars, by default one a processor. ``timeout``: seconds for
    Energon's own preparation, which tars of others need. ``progress``: shown on stderr, or called
    with (shards done, shards in all); by default shown in a notebook. ``tell`` gets what is odd
    about tars of others before anything is written; it is among the report's warnings too.

    Returns an IndexReport. Raises PrepError; then no half-made index carries a final name.
    """
    ratio = None if split is None else parse_split(split)
    if workers is not None and workers < 1:
        raise PrepError(f"workers {workers}: give 1 or more")
    root = open_folder(dest)
    with _failures_named(root), counted("index", progress) as on_change:
        listing = list_tars(root)
        # after the tars: of those that a running encode finishes meanwhile it knows more
        entries = read_ledger(root)
        warnings = check_dataset(root, listing, entries)
        target = None if entries is None else read_target(root)
        chosen = Chosen() if ratio is not None else read_chosen(root, len(listing.tars))
        dataset = _render(target, {**chosen.subflavors, **(subflavor or {})})
        with LocalStorage(root / META_DIR).locked():
            prepared, more = _prepare(
                root,
                listing.tars,
                entries,
                sqlite=sqlite,
                force=force,
                workers=workers or min(os.cpu_count() or 1, _MOST_WORKERS, len(listing.tars)),
                timeout=timeout,
                progress=on_change,
                tell=tell,
            )
            counts = read_shard_counts(root / META_DIR) or {}
            of_tars = {tar: counts[tar] for tar in listing.tars}
            planned = None if entries is None else read_planned_splits(root, ratio)
            splits = choose_splits(of_tars, ratio, planned, chosen.splits)
            outcome, dropped = write_configs(
                root, counts, splits, dataset, force=force, exclude=chosen.exclude
            )
    made_up = [target.made_up] if target is not None and target.made_up else []
    empty = _empty_splits(splits, ratio, len(listing.tars))
    return IndexReport(
        shards=len(counts),
        samples=sum(counts.values()),
        split={
            name: (len(tars), sum(of_tars[tar] for tar in tars)) for name, tars in splits.items()
        },
        prepared=prepared,
        sqlite=(root / META_DIR / SQLITE).exists(),
        dataset_yaml=outcome,
        warnings=(*warnings, *made_up, *more, *dropped, *empty),
    )


def _render(target: RunTarget | None, subflavors: Mapping[str, Any]) -> str:
    """The content of dataset.yaml."""
    needed = {} if target is None else target.subflavors
    return render_dataset(complete_subflavors(subflavors, needed))


def _prepare(
    root: Path,
    tars: Sequence[str],
    entries: Sequence[LedgerEntry] | None,
    *,
    sqlite: bool,
    force: bool,
    workers: int,
    timeout: float | None,
    progress: Progress | None,
    tell: Tell | None,
) -> tuple[bool, list[str]]:
    """Write all but the configuration, unless it is current; return whether it was not, and
    warnings.
    """
    warnings: list[str] = []
    version = _energon_version()
    if entries is not None and is_known(version):
        by_tar = {entry.shard: entry for entry in entries}
        shards = [by_tar[tar] for tar in tars]
        warnings += check_tars(root, shards, threads=workers)
        done = write_index(root, shards, version, sqlite=sqlite, force=force, progress=progress)
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
        sqlite=sqlite,
        force=force,
        workers=workers,
        timeout=timeout,
        tell=tell,
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


@contextmanager
def _failures_named(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PrepError(
            f"cannot index {root}: {error}: mend that and run the same command again"
        ) from error


def _empty_splits(
    splits: Mapping[str, Sequence[str]], ratio: Ratio | None, num_tars: int
) -> Iterator[str]:
    for (name, tars), share in zip(splits.items(), ratio or (0, 0, 0), strict=True):
        if share and not tars:
            yield (
                f"split {name!r} is empty: {num_tars} shards are too few for its share; use a "
                "smaller samples_per_shard"
            )
