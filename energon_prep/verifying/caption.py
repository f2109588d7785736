"""What a dataset of ours has of the empty caption: its embedding, and what trainers read of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cookers.safe import DecodeError
from cookers.strict import load_pickle
from energon_prep.layout import EMPTY_CAPTION
from energon_prep.targets import Target
from energon_prep.verifying.accounts import Broken


def caption_problems(root: Path, target: Target | None) -> Iterator[tuple[str, Broken | None]]:
    """What is missing or damaged, with what must be made again to mend it, if anything.

    Of an unknown ``target`` the embedding alone is checked.
    """
    try:
        text = load_pickle((root / EMPTY_CAPTION).read_bytes())
    except FileNotFoundError:
        yield _missing(EMPTY_CAPTION), None
        return
    except (OSError, DecodeError) as error:
        yield f"{EMPTY_CAPTION}: {error}", EMPTY_CAPTION
        return
    for name, make in {} if target is None else target.caption_files.items():
        try:
            expected = make(text)
        except Exception as error:  # noqa: BLE001 - odd values are a finding
            what = f"{type(error).__name__}: {error}"
            yield f"{EMPTY_CAPTION}: {name} cannot be made of it ({what})", EMPTY_CAPTION
            return
        try:
            if (root / name).read_bytes() != expected:
                yield f"{name}: it is not what {EMPTY_CAPTION} holds", name
        except FileNotFoundError:
            yield _missing(name), None
        except OSError as error:
            yield f"{name}: it cannot be read ({error.strerror or error})", name


def _missing(name: str) -> str:
    return f"{name}: it is missing: run the same encode again"
