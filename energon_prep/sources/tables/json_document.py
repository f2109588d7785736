"""Tables that are one JSON value: a list of rows, captions by media path (kohya), COCO captions, or
a list in an object.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from energon_prep.errors import PrepError, SampleError
from energon_prep.formats import MEDIA_SUFFIXES, suffix_of
from energon_prep.sources.captions import (
    CAPTION_NAMES,
    decode_text,
    jsonable,
    names_in,
    require_object,
)
from energon_prep.sources.media import URL
from energon_prep.sources.tables.base import Row, open_text
from energon_prep.sources.tables.rows import MEDIA_NAMES
from energon_prep.sources.walk import exists

#: of text; of all documents that a process keeps, too. Their rows take some 4 times as much memory.
MAX_DOCUMENT_BYTES = 2**30
_NUM_LOOKED_AT = 100  # keys that show whether an object is keyed by media paths


@dataclass(frozen=True, kw_only=True)
class JsonDocument:
    """JSON of one of these forms; rows are known by number.

    Every process that reads rows parses the document once and keeps them.

    [{"file_name": "a.jpg", "caption": "a cat"}, ...]
    {"a.jpg": {"caption": "a cat", "tags": "cat, mat"}, "b": "a dog"}
    {"images": [{"id": 1, "file_name": "a.jpg"}],
     "annotations": [{"image_id": 1, "caption": "a cat"}, ...]}
    {"data": [{"file_name": "a.jpg", "caption": "a cat"}, ...]}
    {"file_name": "a.jpg", "caption": "a cat"}
    """

    path: Path
    encoding: str = "utf-8"
    #: where keys without a suffix are looked up; None: the file's folder
    media_root: Path | None = None
    #: the entry of a row that names its media; None: one with a usual name
    media_key: str | None = None

    def columns(self) -> None:
        return None

    def starts(self) -> Iterator[int]:
        yield from range(len(self._rows()))

    def rows(self, start: int, count: int) -> Iterator[tuple[int, Row]]:
        for place, row in enumerate(self._rows()[start : start + count], start):
            try:
                yield place, require_object(jsonable(row))
            except SampleError as error:
                yield place, error

    def place(self, start: int) -> str:
        return f"row {start} (from 0) of {self.path.name}"

    def _rows(self) -> list[Any]:
        try:
            info = self.path.stat()
        except OSError as error:
            raise PrepError(f"cannot read the table {self.path}: {error.strerror}") from error
        names = MEDIA_NAMES if self.media_key is None else (self.media_key.lower(),)
        media = _Media(self.media_root or self.path.parent, names)
        version = (self.path, self.encoding, media, info.st_size, info.st_mtime_ns)
        with _lock:
            if version in _kept:
                _kept[version] = _kept.pop(version)  # the last to be given up
            else:
                _kept[version] = _read(self.path, self.encoding, media)
                while (
                    len(_kept) > 1 and sum(size for _, size in _kept.values()) > MAX_DOCUMENT_BYTES
                ):
                    del _kept[next(iter(_kept))]
            return _kept[version][0]


class _Media(NamedTuple):
    """What shows that an object names media."""

    folder: Path  #: that paths start from
    names: tuple[str, ...]  #: of entries with a path, in lower case


#: What was read, the least lately used first: rows and bytes of text. More than one, because a
#: shuffled plan goes from document to document.
_kept: dict[tuple[Any, ...], tuple[list[Any], int]] = {}
_lock = threading.Lock()


def _read(path: Path, encoding: str, media: _Media) -> tuple[list[Any], int]:
    """The rows of the document, and the bytes of its text."""
    with open_text(path) as file:
        data = file.read(MAX_DOCUMENT_BYTES + 1)
    size = len(data)
    if size > MAX_DOCUMENT_BYTES:
        raise PrepError(
            f"{path} is one JSON value of more than {MAX_DOCUMENT_BYTES} bytes, which would have "
            "to be held in memory: write it as JSON lines or Parquet"
        )
    try:
        text = decode_text(data, encoding=encoding, stage="read")
        del data  # as large as the text
        document = json.loads(text)
    except (SampleError, ValueError, RecursionError) as error:
        raise PrepError(
            f"{path} is neither a JSON list of objects nor JSON lines nor one JSON object: {error}"
            ". Mend it, or use JSON lines"
        ) from error
    rows = next((rows for form in _FORMS if (rows := form(document, media)) is not None), None)
    if rows is None:
        what = (
            f"with {', '.join(islice(document, 8))}"
            if isinstance(document, dict)
            else "of another kind"
        )
        raise PrepError(
            f"{path} is no table that is known: a JSON value {what}. Its keys are no media "
            f"paths (from {media.folder}; see --media-root), and it has no list of objects: "
            "write one object a line"
        )
    return rows, size


def _list(document: Any, _: _Media) -> list[Any] | None:
    return document if isinstance(document, list) else None


def _coco(document: Any, _: _Media) -> list[dict[str, Any]] | None:
    if not isinstance(document, dict) or not _are_objects(document.get("images")):
        return None
    annotations = document.get("annotations")
    if not isinstance(annotations, list) or not _are_objects(annotations):
        return None
    captions: dict[Any, list[Any]] = {}
    for annotation in annotations:
        if "caption" in annotation:
            captions.setdefault(str(annotation.get("image_id")), []).append(annotation["caption"])
    return [
        {**image, "captions": captions.get(str(image.get("id")))} for image in document["images"]
    ]


def _one_row(document: Any, media: _Media) -> list[dict[str, Any]] | None:
    if not isinstance(document, dict):
        return None
    paths = [
        document[name]
        for name in names_in(document, media.names)
        if isinstance(document[name], str)
    ]
    has_captions = bool(names_in(document, CAPTION_NAMES))
    return (
        [document]
        if any(_is_media(path) or (has_captions and not URL.match(path)) for path in paths)
        else None
    )


def _keyed(document: Any, media: _Media) -> list[dict[str, Any]] | None:
    if not isinstance(document, dict) or not document:
        return None
    if not all(isinstance(value, (dict, str)) or _are_texts(value) for value in document.values()):
        return None
    if not any(
        _names_media(key, value, media) for key, value in islice(document.items(), _NUM_LOOKED_AT)
    ):
        return None
    return [_keyed_row(key, value, media) for key, value in document.items()]


def _keyed_row(key: str, value: Any, media: _Media) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {"file_name": key, "caption": value}
    return {"key": key, **value} if names_in(value, media.names) else {"file_name": key, **value}


def _names_media(key: str, value: Any, media: _Media) -> bool:
    if _is_media(key) or (isinstance(value, dict) and names_in(value, media.names)):
        return True
    return any(exists(media.folder / f"{key}{suffix}") for suffix in MEDIA_SUFFIXES)


def _list_in(document: Any, _: _Media) -> list[dict[str, Any]] | None:
    """The rows of an object that holds one list of objects, and perhaps other things."""
    lists = (
        [value for value in document.values() if _are_objects(value)]
        if isinstance(document, Mapping)
        else []
    )
    return lists[0] if len(lists) == 1 else None


_FORMS: tuple[Callable[[Any, _Media], list[Any] | None], ...] = (
    _list,
    _coco,
    _one_row,
    _keyed,
    _list_in,
)


def _is_media(path: str) -> bool:
    return suffix_of(path) in MEDIA_SUFFIXES


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
