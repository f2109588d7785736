"""What cannot become a dataset that Energon loads, told from names and sizes alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.indexing.meta import idx_path
from energon_prep.indexing.records import ledger_problems, num_unfinished
from energon_prep.indexing.tars import Listing
from energon_prep.layout import META_DIR
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.storage import dataset_folder, refuse_special

_UNUSABLE = set("{}\\")  #: Energon expands braces in the names of tars
_MOST_NAMED = 20  #: problems in one message


def open_folder(dest: str | Path) -> Path:
    """The dataset's folder. Raises PrepError where none can be indexed."""
    root = dataset_folder(dest)
    if not root.is_dir():
        raise PrepError(f"{dest} is not a folder: give the folder with the dataset's tars")
    if (root / META_DIR).is_symlink():  # of somebody else's making it could lead anywhere
        raise PrepError(
            f"{root / META_DIR} is a link: remove it, the index is made in the dataset's folder"
        )
    refuse_special(root)
    return root


def check_dataset(root: Path, listing: Listing, entries: Sequence[LedgerEntry] | None) -> list[str]:
    """Refuse what cannot become a dataset, from names and sizes alone; return warnings."""
    others = (
        f"{len(listing.compressed)} compressed tars, first {listing.compressed[:1]}"
        if listing.compressed
        else ""
    )
    if not listing.tars and entries is None:
        raise PrepError(
            f"{root} has no .tar files"
            + (
                f" but {others}: unpack them to .tar"
                if others
                else ": give the folder with the dataset's tars, or run encode first"
            )
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


def stop_at(root: Path, problems: Iterable[str]) -> None:
    """Raise PrepError if there are any."""
    named = list(problems)
    if named:
        rest = [f"and {len(named) - _MOST_NAMED} more"] if len(named) > _MOST_NAMED else []
        raise PrepError("\n  ".join([f"cannot index {root}:", *named[:_MOST_NAMED], *rest]))


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
