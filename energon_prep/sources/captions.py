"""Finds a sample's captions, chooses among them, and makes its metadata fit for strict JSON."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from energon_prep.errors import SampleError
from energon_prep.sources.options import SourceOptions

CAPTION_SUFFIXES = ("txt", "caption")  #: of files that are a caption
METADATA_SUFFIX = "json"  #: of files with metadata, which may hold captions
TEXT_SUFFIXES = (*CAPTION_SUFFIXES, METADATA_SUFFIX)
CAPTION_NAMES = (  #: columns and JSON keys
    *("caption", "text", "prompt", "description", "captions", "txt", "alt_text"),
    *("sentences", "prompts", "texts"),
)
_TEXT_NAMES = ("caption", "text", "raw", "prompt", "value")  #: of a caption that is an object
_WEIGHT_NAMES = ("weight", "score", "probability")
_MAX_DEPTH = 64
# left where JSON text was cut within an emoji; UTF-8 cannot hold it
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORD_BREAKS = re.compile(r"[\s_-]+")
CAPTION_ADVICE = "(give --caption-key, --caption or --allow-empty-captions)"


@dataclass(frozen=True, kw_only=True)
class Captions:
    """What was chosen of a sample's captions."""

    texts: tuple[str, ...]  #: one; several if each is to become a sample
    num_left_out: int = 0


@dataclass(frozen=True)
class _Candidate:
    text: str
    weight: float = 1.0


def find_captions(
    read_text: Callable[[str], bytes | None],
    metadata: Mapping[str, Any],
    *,
    options: SourceOptions,
    key: str,
    media_name: str,
    advice: Callable[[], str] = str,
) -> Captions:
    """The captions of media with text files and metadata beside them, chosen as ``options`` say.

    ``read_text`` gives the sample's text file of a suffix ("txt"), or None; ``metadata`` is its
    JSON or its row. With ``options.caption_keys`` nothing else serves: another text in their place
    would be a wrong caption. Without, the first text file or entry with a usual name that is not
    empty gives them all. ``key`` seeds what is drawn. Raises SampleError if there is none, with
    what ``advice`` gives before the keys tried and those present.
    """
    weights = options.caption_weights
    if weights:
        places = [
            [_Candidate(item.text, item.weight * weight) for item in found]
            for name, weight in weights.items()
            for found in (_in_file(read_text, name, options), _in_entry(metadata, name))
            if found is not None
        ]
        candidates = [item for found in places for item in found]
    else:
        places = list(_usual_places(read_text, metadata, options))
        candidates = places[-1] if places else []
    if candidates:
        return _choose(candidates, options, key)
    if options.caption_text is not None:
        return Captions(texts=(options.caption_text,))
    if options.caption_from_name:
        return Captions(texts=(caption_of_name(media_name),))
    if options.allow_empty_captions:
        return Captions(texts=("",))
    tried = [*weights] or [*(f".{suffix}" for suffix in CAPTION_SUFFIXES), *CAPTION_NAMES]
    raise SampleError(
        "caption",
        f"{'empty' if places else 'no'} caption {CAPTION_ADVICE}",
        f"{advice()}looked for {' '.join(tried)}; there are "
        f"{' '.join(metadata) or 'no columns or JSON keys'}",
    )


def _usual_places(
    read_text: Callable[[str], bytes | None], metadata: Mapping[str, Any], options: SourceOptions
) -> Iterator[list[_Candidate]]:
    """The captions of each place that is there, as far as the first that has some: later ones may
    be no captions.
    """
    files = (_in_file(read_text, suffix, options) for suffix in CAPTION_SUFFIXES)
    entries = (_in_entry(metadata, name) for name in names_in(metadata, CAPTION_NAMES))
    for found in chain(files, entries):
        if found is not None:
            yield found
        if found:
            return


def names_in(row: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The entries of ``row`` that are called one of ``names``, in any case, in the order of
    ``names``.
    """
    by_lower = {name.lower(): name for name in reversed(list(row)) if row[name] is not None}
    return [by_lower[name] for name in names if name in by_lower]


def pick(row: Mapping[str, Any], key: str | None, names: tuple[str, ...]) -> str | None:
    """The entry of ``row`` to take: ``key`` if given, else the first of ``names``, in any case,
    that is not None.
    """
    if key is not None:
        return key if key in row else None
    return next(iter(names_in(row, names)), None)


def caption_of_name(name: str) -> str:
    """A file's name as a caption: "red_car-01.jpg" -> "red car 01"."""
    return _WORD_BREAKS.sub(" ", PurePosixPath(name).stem).strip()


def clean_caption(text: str) -> str:
    """``text`` without byte order mark and outer white space, its line breaks those of Unix."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").strip()


def _in_file(
    read_text: Callable[[str], bytes | None], suffix: str, options: SourceOptions
) -> list[_Candidate] | None:
    data = read_text(suffix)
    if data is None:
        return None
    text = decode_text(data, encoding=options.caption_encoding)
    return list(_candidates(text.splitlines() if options.caption_lines else text))


def _in_entry(metadata: Mapping[str, Any], name: str) -> list[_Candidate] | None:
    value = metadata.get(name)
    return None if value is None else list(_candidates(value))


def _candidates(value: object) -> Iterator[_Candidate]:
    """The captions that are not empty in a text, bytes, a list of texts, or objects like {"text":
    ..., "weight": ...}.

    Raises SampleError for anything else.
    """
    if isinstance(value, (bytes, memoryview)):
        value = decode_text(bytes(value))
    if isinstance(value, str):
        if text := clean_caption(value):
            yield _Candidate(text)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _candidates(item)
    elif isinstance(value, Mapping) and (name := pick(value, None, _TEXT_NAMES)):
        weight_name = pick(value, None, _WEIGHT_NAMES)
        weight = 1.0 if weight_name is None else _number(value[weight_name])
        yield from (_Candidate(item.text, weight) for item in _candidates(value[name]))
    elif value is not None:
        detail = f"it is {type(value).__name__}: {value!r:.80}"
        raise SampleError("caption", "the caption is not text", detail)


def _number(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < math.inf:
        raise SampleError("caption", "a caption's weight is no number from 0 on", f"{value!r:.80}")
    return number


def _choose(candidates: list[_Candidate], options: SourceOptions, key: str) -> Captions:
    texts = [candidate.text for candidate in candidates]
    if options.captions == "join":
        return Captions(texts=(" ".join(dict.fromkeys(texts)),))
    if options.captions == "all":
        return Captions(texts=tuple(dict.fromkeys(texts)))
    if options.captions == "longest":
        chosen = max(texts, key=len)
    elif options.captions == "draw":
        chosen = _draw(candidates, f"{options.seed}\0{key}")
    else:
        chosen = texts[0]
    return Captions(texts=(chosen,), num_left_out=len(texts) - 1)


def _draw(candidates: list[_Candidate], seed: str) -> str:
    weights = [candidate.weight for candidate in candidates]
    if not any(weights):
        raise SampleError("caption", "all weights of the captions are 0")
    texts = [candidate.text for candidate in candidates]
    return random.Random(seed).choices(texts, weights)[0]


def decode_text(data: bytes, *, encoding: str = "utf-8", stage: str = "caption") -> str:
    """Bytes as text. Raises SampleError that says where they are not in the ``encoding``."""
    remedy = "give --caption-encoding (such as cp1252), or convert the file to UTF-8"
    name = "UTF-8" if encoding == "utf-8" else encoding
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        where = f"byte {error.start} is 0x{data[error.start]:02x}; {remedy}"
        raise SampleError(stage, f"not {name}", where) from error
    if "\0" in text:  # UTF-16 of English text is valid UTF-8, but no text
        raise SampleError(stage, f"not {name}", f"character {text.index(chr(0))} is 0x00; {remedy}")
    return text


def parse_json(data: bytes) -> Any:
    """A JSON value, made of what strict JSON can hold. Raises SampleError."""
    text = decode_text(data, stage="read").removeprefix("\ufeff")
    try:
        return jsonable(json.loads(text))
    except (ValueError, RecursionError) as error:
        # ValueError: JSONDecodeError, and numbers of too many digits
        raise SampleError("read", "broken JSON", str(error)) from error


def parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises SampleError."""
    return require_object(parse_json(data))


def require_object(value: Any) -> dict[str, Any]:
    """Raises SampleError."""
    if not isinstance(value, dict):
        raise SampleError(
            "read", "the JSON is not an object", f"it is {type(value).__name__}: {value!r:.80}"
        )
    return value


def parse_metadata(data: bytes) -> dict[str, Any]:
    """The JSON beside media. A list of texts is their captions; what else is no object is kept
    under "json".

    Raises SampleError for broken JSON.
    """
    value = parse_json(data)
    if isinstance(value, dict):
        return value
    is_texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return {"captions" if is_texts else "json": value}


def jsonable(value: Any, depth: int = 0) -> Any:
    """``value`` as strict JSON can write it: bytes are dropped, NaN and infinities become None,
    dates ISO 8601.
    """
    if depth > _MAX_DEPTH:
        raise SampleError("read", f"metadata nested deeper than {_MAX_DEPTH}")
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return _well_formed(value)
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        items = (
            (_well_formed(str(key)), item) for key, item in value.items() if not _is_bytes(item)
        )
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
