from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from energon_prep.errors import PrepError, SampleError
from energon_prep.samples import RawSample
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tables.json_document import JsonDocument
from energon_prep.sources.tables.manifest import ManifestSource
from tests.sources.reading import load_all, write

COCO = {
    "info": {"year": 2017},
    "images": [{"id": 2, "file_name": "b.jpg"}, {"id": 1, "file_name": "a.jpg"}],
    "annotations": [
        {"id": 10, "image_id": 1, "caption": "a cat"},
        {"id": 11, "image_id": 2, "caption": "a dog"},
        {"id": 12, "image_id": 1, "caption": "a cat on a mat"},
    ],
}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"a.jpg": {"caption": "a cat", "tags": "cat"}, "b.jpg": {"caption": "a dog"}},
            ["a.jpg a cat", "b.jpg a dog"],
        ),
        ({"a": "a cat", "b": {"caption": "a dog"}}, ["a.jpg a cat", "b.jpg a dog"]),
        ({"a.jpg": ["a cat", "another"]}, ["a.jpg a cat"]),
        ({"x1": {"image": "a.jpg", "caption": "a cat"}}, ["a.jpg a cat"]),
        (COCO, ["b.jpg a dog", "a.jpg a cat"]),
        ({"version": 1, "data": [{"image": "a.jpg", "text": "a cat"}]}, ["a.jpg a cat"]),
        (
            {"images": [{"filename": "a.jpg", "sentences": [{"raw": "a cat"}]}], "dataset": "x"},
            ["a.jpg a cat"],
        ),
        ({"image": "a.jpg", "text": "a cat"}, ["a.jpg a cat"]),
    ],
)
def test_the_forms_of_one_object(
    tmp_path: Path, document: Any, expected: list[str], indent: int | None
) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.jpg")
    manifest = write(tmp_path / "m.json", json.dumps(document, indent=indent))
    outcomes = load_all(ManifestSource(root=manifest), cut=1)
    assert [
        isinstance(raw, RawSample) and f"{raw.media_name} {raw.caption}" for raw in outcomes
    ] == expected


def test_the_media_key_shows_what_a_single_row_is(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    manifest = write(tmp_path / "m.json", json.dumps({"Picture": "a.jpg", "text": "a cat"}))
    (raw,) = load_all(ManifestSource(root=manifest, options=SourceOptions(media_key="Picture")))
    assert isinstance(raw, RawSample) and raw.caption == "a cat"


def test_several_captions_of_a_coco_image(tmp_path: Path) -> None:
    write(tmp_path / "train2017" / "a.jpg")
    manifest = write(
        tmp_path / "annotations" / "captions.json",
        json.dumps({**COCO, "images": [COCO["images"][1]]}),
    )
    options = SourceOptions(captions="all", media_root=str(tmp_path / "train2017"))
    (raw,) = load_all(ManifestSource(root=manifest, options=options))
    assert isinstance(raw, RawSample) and raw.captions == ("a cat", "a cat on a mat")
    assert (raw.key, raw.source) == ("1", "a.jpg")


@pytest.mark.parametrize(
    "document",
    [
        {"name": "a dataset card"},
        {"default": {"description": "x"}},
        {},
        {"a": 1},
        5,
        {"url": "https://x/", "name": "y"},
    ],
)
def test_other_json_stops_the_run_and_shows_its_keys(tmp_path: Path, document: Any) -> None:
    manifest = write(tmp_path / "m.json", json.dumps(document))
    keys = ", ".join(document) if isinstance(document, dict) else "of another kind"
    with pytest.raises(PrepError, match=f"is no table that is known: a JSON value .*{keys}"):
        load_all(ManifestSource(root=manifest))


def test_elements_of_a_list_that_are_no_objects_are_one_fault_each(tmp_path: Path) -> None:
    rows = [{"file_name": "a.jpg"}, 12345, "text", None, [1, {"a": 2}]]
    found = list(JsonDocument(path=write(tmp_path / "a.json", json.dumps(rows))).rows(0, 9))
    assert found[0] == (0, rows[0])
    assert [(place, row.reason) for place, row in found[1:] if isinstance(row, SampleError)] == [
        (place, "the JSON is not an object") for place in range(1, 5)
    ]


@pytest.mark.parametrize(
    "text",
    ['[{"a": 1}', '[{"a": 1}, {"a"', '[{"a": 1} {"a": 2}]', "[{,}]", "", '[{"a": 1},]', "[" * 9999],
)
def test_what_is_no_json_stops_the_run(tmp_path: Path, text: str) -> None:
    with pytest.raises(PrepError, match=r"a\.json is neither a JSON list .*Mend it"):
        list(JsonDocument(path=write(tmp_path / "a.json", text)).starts())


def test_documents_are_parsed_once_though_rows_are_read_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    parse = json.loads
    monkeypatch.setattr(
        "energon_prep.sources.tables.json_document.json.loads",
        lambda text: parsed.append(text) or parse(text),
    )
    texts = [json.dumps([{"n": n, "of": name} for n in range(20)]) for name in "abc"]
    tables = [
        JsonDocument(path=write(tmp_path / f"{number}.json", text))
        for number, text in enumerate(texts)
    ]

    def read_all() -> None:
        for place in reversed(range(20)):
            for table, name in zip(tables, "abc", strict=True):
                assert list(table.rows(place, 1)) == [(place, {"n": place, "of": name})]

    read_all()
    assert parsed == texts
    write(tables[1].path, "[]")  # what was kept of another version is not taken
    assert not list(tables[1].starts())
    write(tables[1].path, texts[1])
    monkeypatch.setattr(
        "energon_prep.sources.tables.json_document.MAX_DOCUMENT_BYTES", len(texts[0])
    )
    parsed.clear()
    read_all()
    assert len(parsed) > 50  # no more is kept than the text of one


def test_a_document_too_large_to_hold_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("energon_prep.sources.tables.json_document.MAX_DOCUMENT_BYTES", 20)
    manifest = write(tmp_path / "m.json", json.dumps({"a.jpg": "a caption that is longer"}))
    with pytest.raises(PrepError, match=r"more than 20 bytes.*: write it as JSON lines or Parquet"):
        load_all(ManifestSource(root=manifest))
