"""Station 1, sources: finds a sample's caption and makes its metadata fit for strict JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from energon_prep.errors import SampleError

CAPTION_SUFFIXES = ("txt", "caption")  #: of files that are a caption
CAPTION_NAMES = ("caption", "text", "prompt", "description", "captions", "txt", "alt_text")  #: columns and JSON keys
_MAX_DEPTH = 64
_SURROGATE = re.compile("[\ud800-\udfff]")  # left where JSON text was cut within an emoji; UTF-8 cannot hold it
_ADVICE = "(give --caption-key, or --allow-empty-captions)"


def caption_of_files(
    read_text: Callable[[str], bytes | None],
    metadata: Mapping[str, Any],
    *,
    caption_key: str | None,
    allow_empty: bool,
) -> str:
    """The caption of media with files beside them: a text file, else an entry of the JSON.

    ``read_text`` gives the sample's text file of a suffix ("txt"), or None. A ``caption_key`` is the suffix or the
    JSON key, and then nothing else serves: another text in its place would be a wrong caption. Raises SampleError.
    """
    for suffix in CAPTION_SUFFIXES if caption_key is None else (caption_key,):
        data = read_text(suffix)
        if data is not None:
            return clean_caption(data, allow_empty=allow_empty)
    name = pick(metadata, caption_key, CAPTION_NAMES)
    return clean_caption(None if name is None else metadata[name], allow_empty=allow_empty)


def pick(row: Mapping[str, Any], key: str | None, names: tuple[str, ...]) -> str | None:
    """The entry of ``row`` to take: ``key`` if given, else the first of ``names``, in any case, that is not None."""
    if key is not None:
        return key if key in row else None
    by_lower = {name.lower(): name for name in reversed(list(row)) if row[name] is not None}
    return next((by_lower[name] for name in names if name in by_lower), None)


def clean_caption(value: object, *, allow_empty: bool) -> str:
    """The caption in ``value``: UTF-8 bytes, text or a list of texts (the first is taken), stripped.

    Raises SampleError if it is something else, or if there is none and ``allow_empty`` is False.
    """
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        value = value[0] if value else None
    if value is None:
        if allow_empty:
            return ""
        raise SampleError("caption", f"no caption {_ADVICE}")
    text = decode_text(bytes(value)) if isinstance(value, (bytes, memoryview)) else value
    if not isinstance(text, str):
        raise SampleError("caption", "the caption is not text", f"it is {type(value).__name__}: {value!r:.80}")
    text = text.removeprefix("\ufeff").strip()
    if not text and not allow_empty:
        raise SampleError("caption", f"empty caption {_ADVICE}")
    return text


def decode_text(data: bytes, *, stage: str = "caption") -> str:
    """UTF-8 bytes as text. Raises SampleError that says where they are not UTF-8."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"byte {error.start} is 0x{data[error.start]:02x}; convert the file to UTF-8"
        raise SampleError(stage, "not UTF-8", where) from error
    if "\0" in text:  # UTF-16 of English text is valid UTF-8, but no text
        raise SampleError(stage, "not UTF-8", f"byte {data.index(0)} is 0x00; convert the file to UTF-8")
    return text


def parse_json(data: bytes) -> Any:
    """A JSON value, made of what strict JSON can hold. Raises SampleError."""
    text = decode_text(data, stage="read").removeprefix("\ufeff")
    try:
        return jsonable(json.loads(text))
    except (ValueError, RecursionError) as error:  # ValueError: JSONDecodeError, and numbers of too many digits
        raise SampleError("read", "broken JSON", str(error)) from error


def parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises SampleError."""
    value = parse_json(data)
    if not isinstance(value, dict):
        raise SampleError("read", "the JSON is not an object", f"it is {type(value).__name__}: {value!r:.80}")
    return value


def jsonable(value: Any, depth: int = 0) -> Any:
    """``value`` as strict JSON can write it: bytes are dropped, NaN and infinities become None, dates ISO 8601."""
    if depth > _MAX_DEPTH:
        raise SampleError("read", f"metadata nested deeper than {_MAX_DEPTH}")
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return _well_formed(value)
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        items = ((_well_formed(str(key)), item) for key, item in value.items() if not _is_bytes(item))
        return {key: jsonable(item, depth + 1) for key, item in items}
    if isinstance(value, (list, tuple, set)):
        return [jsonable(item, depth + 1) for item in value if not _is_bytes(item)]
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if hasattr(value, "tolist"):  # numpy arrays and scalars, without importing numpy
        return jsonable(value.tolist(), depth + 1)
    return _well_formed(str(value))


def _well_formed(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text)


def _is_bytes(value: object) -> bool:
    return isinstance(value, (bytes, bytearray, memoryview))
