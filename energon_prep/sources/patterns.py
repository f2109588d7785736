"""Which paths of a source are taken, by shell patterns."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

from braceexpand import braceexpand

from energon_prep.errors import PrepError

#: what paths that are not chosen are called in an account
LEFT_OUT = "left out by --include/--exclude"


def is_chosen(path: str, *, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether ``path``, relative to the source, fits one of ``include``, if there are any, and none
    of ``exclude``.

    ``*`` stands for any characters, ``/`` too; a pattern without ``/`` may also fit the name alone.
    Braces are expanded: "train-{00000..00009}-of-*.parquet".
    """
    return (not include or _fits(path, include)) and not _fits(path, exclude)


def _fits(path: str, patterns: Sequence[str]) -> bool:
    name = path.rpartition("/")[2]
    return any(
        fnmatchcase(path, pattern) or ("/" not in pattern and fnmatchcase(name, pattern))
        for braced in patterns
        for pattern in expanded(braced)
    )


@lru_cache(maxsize=256)
def expanded(pattern: str) -> tuple[str, ...]:
    """The patterns that one with braces stands for. Raises PrepError for braces that are not
    closed.
    """
    try:
        return tuple(braceexpand(pattern))
    except ValueError as error:
        raise PrepError(
            f"--include or --exclude {pattern!r}: {error}; close them, or write \\{{ and \\}} "
            "for braces in a name"
        ) from error
