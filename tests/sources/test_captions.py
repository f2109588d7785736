from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.errors import SampleError
from energon_prep.sources.captions import (
    caption_of_name,
    find_captions,
    jsonable,
    parse_json,
    parse_metadata,
    parse_object,
    pick,
)
from energon_prep.sources.options import SourceOptions


def captions(
    texts: Mapping[str, bytes] = MappingProxyType({}),
    metadata: Mapping[str, Any] = MappingProxyType({}),
    *,
    key: str = "1",
    **options: Any,
) -> tuple[str, ...]:
    found = find_captions(
        texts.get,
        metadata,
        options=SourceOptions(**options),
        key=key,
        media_name="a_cat-01.jpg",
        advice=lambda: "try it; ",
    )
    return found.texts


def fault(texts: Mapping[str, bytes], metadata: Mapping[str, Any], **options: Any) -> SampleError:
    with pytest.raises(SampleError) as error:
        captions(texts, metadata, **options)
    assert error.value.stage == "caption"
    return error.value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\xef\xbb\xbf  a cat\r\n", ("a cat",)),
        ("\ufeffa cat", ("a cat",)),
        ("line one\r\nline two\rline three", ("line one\nline two\nline three",)),
        ("  chat \u00e9l\u00e9gant\u3000", ("chat \u00e9l\u00e9gant",)),
        (["first", " ", "second", None], ("first", "second")),
        ([{"raw": "first"}, {"text": ["second", "third"]}], ("first", "second", "third")),
        ({"caption": "in an object"}, ("in an object",)),
        (memoryview(b"bytes"), ("bytes",)),
    ],
)
def test_captions_are_stripped_texts(value: object, expected: tuple[str, ...]) -> None:
    assert captions({}, {"caption": value}, captions="all") == expected


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (b"seventeen bytes: \xe9", "not UTF-8", "byte 17 is 0xe9; give --caption-encoding"),
        ("a cat".encode("utf-16-le"), "not UTF-8", "character 1 is 0x00; give --caption-encoding"),
    ],
)
def test_text_that_is_not_utf8_is_a_fault_even_where_captions_may_be_empty(
    data: bytes, reason: str, detail: str
) -> None:
    error = fault({"txt": data}, {}, allow_empty_captions=True)
    assert error.reason == reason and error.detail.startswith(detail)


def test_text_files_have_the_encoding_that_is_given() -> None:
    assert captions({"txt": b"caf\xe9"}, caption_encoding="cp1252") == ("caf\u00e9",)
    assert captions({"txt": "cat".encode("utf-16")}, caption_encoding="utf-16") == ("cat",)


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (3, "the caption is not text", "it is int: 3"),
        ([1, 2], "the caption is not text", "it is int: 1"),
        ([{"text": "a", "weight": -1}], "a caption's weight is no number from 0 on", "-1"),
    ],
)
def test_what_is_no_caption_is_a_fault(value: object, reason: str, detail: str) -> None:
    error = fault({}, {"caption": value}, allow_empty_captions=True)
    assert (error.reason, error.detail) == (reason, detail)


def test_what_is_no_caption_costs_nothing_behind_one_that_is() -> None:
    assert captions({"txt": b"text"}, {"caption": 3}) == ("text",)
    assert captions({}, {"caption": "text", "prompt": 3}) == ("text",)


@pytest.mark.parametrize(
    ("texts", "metadata", "keys", "expected"),
    [
        ({"txt": b"text file"}, {"caption": "json"}, (), "text file"),
        ({"caption": b"caption file"}, {}, (), "caption file"),
        ({"txt": b" \n", "caption": b"caption file"}, {}, (), "caption file"),
        ({"txt": b" "}, {"caption": "", "prompt": "falls through"}, (), "falls through"),
        ({}, {"TEXT": "laion", "url": "x"}, (), "laion"),
        ({}, {"prompt": "second", "text": "first"}, (), "first"),
        ({}, {"caption": None, "prompt": "not null"}, (), "not null"),
        ({"txt": b"text file"}, {"long": "asked for"}, ("long",), "asked for"),
        ({"txt": b"text file", "long": b"asked for"}, {"long": "json"}, ("long",), "asked for"),
        ({}, {"long": " ", "short": "falls through"}, ("long", "short"), "falls through"),
    ],
)
def test_where_a_caption_is_looked_for(
    texts: dict[str, bytes], metadata: dict[str, Any], keys: tuple[str, ...], expected: str
) -> None:
    assert captions(texts, metadata, caption_keys=keys) == (expected,)


def test_another_caption_never_stands_in_for_the_one_asked_for() -> None:
    error = fault({"txt": b"other"}, {"text": "other", "score": 1}, caption_keys=("long",))
    assert error.reason == "no caption (give --caption-key, --caption or --allow-empty-captions)"
    assert error.detail == "try it; looked for long; there are text score"
    error = fault({"txt": b" "}, {})
    assert error.reason.startswith("empty caption")
    assert error.detail.endswith("there are no columns or JSON keys")


def test_what_stands_in_for_a_caption_that_is_missing() -> None:
    for texts in ({}, {"txt": b" "}):
        assert captions(texts, allow_empty_captions=True) == ("",)
        assert captions(texts, caption_from_name=True, allow_empty_captions=True) == ("a cat 01",)
        assert captions(texts, caption_text="a photo", caption_from_name=True) == ("a photo",)
    assert captions({"txt": b"its own"}, caption_text="a photo") == ("its own",)


def test_several_captions_become_what_was_chosen() -> None:
    texts = {"txt": b"one\nthe longest\n\nthree\none"}
    assert captions(texts) == ("one\nthe longest\n\nthree\none",)
    lines: dict[str, Any] = {"caption_lines": True}
    assert captions(texts, **lines) == ("one",)
    assert captions(texts, captions="longest", **lines) == ("the longest",)
    assert captions(texts, captions="all", **lines) == ("one", "the longest", "three")
    assert captions(texts, captions="join", **lines) == ("one the longest three",)
    found = find_captions(
        texts.get, {}, options=SourceOptions(**lines), key="1", media_name="a.jpg"
    )
    assert found.num_left_out == 3


def test_captions_are_drawn_by_weight_and_seed() -> None:
    row = {
        "short": "short",
        "long": [{"text": "long", "weight": 0.5}, {"text": "never", "weight": 0}],
    }
    drawn = Counter(
        captions({}, row, key=str(i), captions="draw", caption_keys=("short:0.25", "long:1.5"))[0]
        for i in range(1000)
    )
    assert drawn.keys() == {"short", "long"} and 700 < drawn["long"] < 800  # 3 of 4
    seeds = [
        [
            captions(
                {}, row, key=str(i), captions="draw", caption_keys=("short", "long"), seed=seed
            )
            for i in range(50)
        ]
        for seed in (0, 0, 1)
    ]
    assert seeds[0] == seeds[1] != seeds[2]


@pytest.mark.parametrize(
    ("name", "caption"),
    [("red_car-01.jpg", "red car 01"), ("a  b.c.png", "a b.c"), ("__x__.jpg", "x")],
)
def test_a_name_as_a_caption(name: str, caption: str) -> None:
    assert caption_of_name(name) == caption


@pytest.mark.parametrize(
    ("data", "metadata"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'["one", "two"]', {"captions": ["one", "two"]}),
        (b"[1, 2]", {"json": [1, 2]}),
        (b'"text"', {"json": "text"}),
        (b"null", {"json": None}),
    ],
)
def test_json_beside_media_need_not_be_an_object(data: bytes, metadata: dict[str, Any]) -> None:
    assert parse_metadata(data) == metadata


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


@given(
    st.recursive(
        _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
    )
)
def test_parsed_json_can_be_written_strictly_as_utf8(value: Any) -> None:
    parsed = parse_json(json.dumps(value).encode())
    json.dumps(parsed, allow_nan=False, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    "text",
    [b"{", b"", b"{'a': 1}", b"[" * 100_000, b'{"n": ' + b"9" * 5000 + b"}", b'{"a": "\xff"}'],
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
