from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.errors import SampleError
from energon_prep.sources.captions import caption_of_files, clean_caption, jsonable, parse_json, parse_object, pick


@pytest.mark.parametrize(
    ("value", "caption"),
    [
        (b"\xef\xbb\xbf  a cat\r\n", "a cat"),
        ("\ufeffa cat", "a cat"),
        ("  chat \u00e9l\u00e9gant\u3000", "chat \u00e9l\u00e9gant"),
        (["first", "second"], "first"),
        (memoryview(b"bytes"), "bytes"),
    ],
)
def test_captions_are_stripped_text(value: object, caption: str) -> None:
    assert clean_caption(value, allow_empty=False) == caption


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (b"seventeen bytes: \xe9", "not UTF-8", "byte 17 is 0xe9; convert the file to UTF-8"),
        ("a cat".encode("utf-16-le"), "not UTF-8", "byte 1 is 0x00; convert the file to UTF-8"),
        (3, "the caption is not text", "it is int: 3"),
        ([1, 2], "the caption is not text", "it is list: [1, 2]"),
        ({"en": "a"}, "the caption is not text", "it is dict: {'en': 'a'}"),
    ],
)
def test_what_is_no_caption_is_a_fault_even_where_empty_ones_are_allowed(
    value: object, reason: str, detail: str
) -> None:
    for allow_empty in (False, True):
        with pytest.raises(SampleError) as error:
            clean_caption(value, allow_empty=allow_empty)
        assert (error.value.stage, error.value.reason, error.value.detail) == ("caption", reason, detail)


@pytest.mark.parametrize(
    ("value", "reason"), [(None, "no caption"), ([], "no caption"), (b" \n", "empty caption"), ("", "empty caption")]
)
def test_an_empty_caption_is_a_fault_unless_allowed(value: object, reason: str) -> None:
    assert clean_caption(value, allow_empty=True) == ""
    with pytest.raises(SampleError) as error:
        clean_caption(value, allow_empty=False)
    assert error.value.reason == f"{reason} (give --caption-key, or --allow-empty-captions)"


@pytest.mark.parametrize(
    ("texts", "metadata", "key", "caption"),
    [
        ({"txt": b"text file"}, {"caption": "json"}, None, "text file"),
        ({"caption": b"caption file"}, {}, None, "caption file"),
        ({}, {"TEXT": "laion", "url": "x"}, None, "laion"),
        ({}, {"prompt": "second", "text": "first"}, None, "first"),
        ({}, {"caption": None, "prompt": "not null"}, None, "not null"),
        ({"txt": b"text file"}, {"long": "asked for"}, "long", "asked for"),
        ({"txt": b"text file", "long": b"asked for"}, {"long": "json"}, "long", "asked for"),
    ],
)
def test_where_a_caption_is_looked_for(
    texts: dict[str, bytes], metadata: dict[str, Any], key: str | None, caption: str
) -> None:
    assert caption_of_files(texts.get, metadata, caption_key=key, allow_empty=False) == caption


def test_another_caption_never_stands_in_for_the_one_asked_for() -> None:
    with pytest.raises(SampleError, match="no caption"):
        caption_of_files({"txt": b"other"}.get, {"text": "other"}, caption_key="long", allow_empty=False)


def test_pick_takes_a_given_key_as_it_is_and_usual_names_in_any_case() -> None:
    assert pick({"Caption": 1, "caption": 2}, "caption", ()) == "caption"
    assert pick({"Caption": 1}, "caption", ()) is None
    assert pick({"Caption": 1}, None, ("text", "caption")) == "Caption"


def test_metadata_becomes_strict_json() -> None:
    metadata = {
        "nan": float("nan"),
        "inf": [1.5, float("-inf"), np.float32(2)],
        "array": np.array([[1, 2]]),
        "when": datetime(2024, 1, 2, 3, 4),
        "day": date(2024, 1, 2),
        "took": timedelta(seconds=90),
        "price": Decimal("1.25"),
        "raw": b"dropped",
        "view": {"bytes": memoryview(b"dropped"), "path": "kept"},
        3: "key",
        "half": "cut \ud83d",
    }
    assert json.loads(json.dumps(jsonable(metadata), allow_nan=False)) == {
        "nan": None,
        "inf": [1.5, None, 2.0],
        "array": [[1, 2]],
        "when": "2024-01-02T03:04:00",
        "day": "2024-01-02",
        "took": 90.0,
        "price": 1.25,
        "view": {"path": "kept"},
        "3": "key",
        "half": "cut \ufffd",
    }


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10))
def test_parsed_json_can_be_written_strictly_as_utf8(value: Any) -> None:
    parsed = parse_json(json.dumps(value).encode())
    json.dumps(parsed, allow_nan=False, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    "text", [b"{", b"", b"{'a': 1}", b"[" * 100_000, b'{"n": ' + b"9" * 5000 + b"}", b'{"a": "\xff"}']
)
def test_broken_json_is_a_fault_of_the_sample(text: bytes) -> None:
    with pytest.raises(SampleError) as error:
        parse_json(text)
    assert error.value.reason in ("broken JSON", "not UTF-8")


def test_json_that_is_too_deep_or_no_object_is_a_fault() -> None:
    with pytest.raises(SampleError, match="nested deeper than 64"):
        parse_json(b"[" * 70 + b"]" * 70)
    with pytest.raises(SampleError, match=r"not an object \(it is list: \[1\]\)"):
        parse_object(b"[1]")
    assert parse_object(b'\xef\xbb\xbf{"a": NaN, "b": 1e999}') == {"a": None, "b": None}
