"""What a dataset of ours has of the empty caption: its embedding, and what trainers read of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cookers.safe import DecodeError
from cookers.strict import load_pickle
from energon_prep.indexing.tars import split_name
from energon_prep.layout import EMPTY_CAPTION
from energon_prep.tar_headers import whole_members
from energon_prep.targets import Target
from energon_prep.verifying.accounts import Broken
from energon_prep.verifying.shard import LOADERS, MOST_BYTES


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


def contract_problem(root: Path, target: Target, tars: Sequence[str]) -> str | None:
    """Whether the first sample of ``tars`` would still meet the contract with the empty caption in
    the place of its own, which caption dropout puts there. None where that cannot be told: what is
    damaged is told elsewhere.
    """
    try:
        text = load_pickle((root / EMPTY_CAPTION).read_bytes())
        parts = _first_sample(root / tars[0], target)
        target.check(parts)
    except Exception:  # noqa: BLE001 - damage of any kind, and of a user's contract
        return None
    try:
        target.check({**parts, **_text_parts(target, text, parts)})
    except Exception as error:  # noqa: BLE001 - odd values are a finding
        return f"{EMPTY_CAPTION}: in the place of a caption it breaks the contract: {error}"
    return None


def _text_parts(target: Target, text: Any, parts: dict[str, Any]) -> dict[str, Any]:
    """The parts that hold the text alone: one pickle, or one part for each text encoder; as a list
    of one where the sample's is a list.
    """
    for name in target.part_names:
        if name in ("pickle", ".pickle"):
            in_list = isinstance(parts[name], list) and not isinstance(text, list)
            return {name: [text] if in_list else text}
    by_encoder = text if isinstance(text, dict) else {}
    return {
        part: by_encoder[part.partition(".")[0]]
        for part in target.part_names
        if part.partition(".")[0] in by_encoder
    }


def _first_sample(tar: Path, target: Target) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    with tar.open("rb") as file:
        first = None
        for member in whole_members(file):
            key, part = split_name(member.name) or ("", "")
            first = first or key
            if key != first:
                break
            if part in target.part_names and member.size <= MOST_BYTES:
                file.seek(member.data)
                data = file.read(member.size)
                parts[part] = LOADERS.get(part.rpartition(".")[2], bytes)(data)
    return parts


def _missing(name: str) -> str:
    return f"{name}: it is missing: run the same encode again"
