from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energon_prep.errors import PrepError, SampleError
from energon_prep.samples import RawSample
from energon_prep.sources.account import Account
from energon_prep.sources.base import Piece
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tables.manifest import ManifestSource
from tests.sources.reading import fault, listed, load_all, only, write

NO_MEDIA = "no media in the row (give --image-key)"
NO_CAPTION = "no caption (give --caption-key, --caption or --allow-empty-captions)"
OUT = "the media path leaves the media root (give --media-root)"


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows in the format that the suffix asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        return write(path, json.dumps(rows, indent=1))
    if path.suffix == ".parquet":
        pq = pytest.importorskip("pyarrow.parquet")
        pq.write_table(pytest.importorskip("pyarrow").Table.from_pylist(rows), path)
        return path
    if path.suffix == ".arrow":
        pa = pytest.importorskip("pyarrow")
        table = pa.Table.from_pylist(rows)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
        return path
    if ".csv" in path.suffixes:
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
        return write(path, packed(path, text.getvalue()))
    if ".tsv" in path.suffixes:
        lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
        return write(path, packed(path, "\r\n".join(lines)))
    return write(path, packed(path, "".join(json.dumps(row) + "\n" for row in rows)))


def packed(path: Path, text: str) -> bytes:
    return gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode()


@pytest.mark.parametrize(
    "suffix",
    [
        ".jsonl",
        ".ndjson",
        ".json",
        ".csv",
        ".tsv",
        ".parquet",
        ".arrow",
        ".JSONL",
        ".jsonl.gz",
        ".csv.gz",
        ".tsv.gz",
    ],
)
def test_rows_of_every_format(tmp_path: Path, suffix: str) -> None:
    captions = ["a cat", 'two\nlines, "quoted"\tand more', "\u00fcber \u732b"]
    if ".tsv" in suffix:
        captions[1] = '"not closed, and more'
    rows = [
        {"file_name": f"img/{n}.jpg", "caption": text, "note": f"n{n}"}
        for n, text in enumerate(captions)
    ]
    for n in range(3):
        write(tmp_path / "img" / f"{n}.jpg", f"media {n}")
    manifest = write_rows(tmp_path / f"m{suffix}", rows)
    for cut in (1, 2, 3):
        outcomes = load_all(ManifestSource(root=manifest), cut=cut)
        assert outcomes == [
            RawSample(
                key=f"img/{n}.jpg",
                source=f"img/{n}.jpg",
                media_name=f"{n}.jpg",
                media=b"media %d" % n,
                captions=(captions[n],),
                metadata={"caption": captions[n], "note": f"n{n}"},
            )
            for n in range(3)
        ]
    assert {(entry.path, entry.size) for entry in listed(ManifestSource(root=manifest))} == {
        (f"m{suffix}", manifest.stat().st_size)
    }


@settings(max_examples=30, deadline=None)
@given(
    keys=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1),
        min_size=1,
        max_size=12,
    ),
    suffix=st.sampled_from([".jsonl", ".json", ".csv", ".parquet"]),
    cut=st.integers(1, 12),
)
def test_as_many_samples_come_out_as_entries_went_in(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str], suffix: str, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    rows = [{"path": "1.jpg", "caption": key, "id": key} for key in keys]
    write(folder / "1.jpg")
    outcomes = load_all(
        ManifestSource(
            root=write_rows(folder / f"m{suffix}", rows),
            options=SourceOptions(allow_empty_captions=True),
        ),
        cut=cut,
    )
    assert [isinstance(outcome, RawSample) and outcome.key for outcome in outcomes] == keys


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ({"id": "v1.5 a/b \u732b"}, "v1.5 a/b \u732b"),
        ({"key": 12}, "12"),
        ({"sample_id": "s", "id": None}, "s"),
        ({"id": ""}, "1.jpg"),
        ({"id": True}, "1.jpg"),
        ({"id": ["x"]}, "1.jpg"),
        ({}, "1.jpg"),
    ],
)
def test_rows_are_called_by_their_key_or_by_their_media(
    tmp_path: Path, row: dict[str, Any], key: str
) -> None:
    write(tmp_path / "1.jpg")
    manifest = write_rows(tmp_path / "m.jsonl", [{"path": "1.jpg", "caption": "cat", **row}])
    assert only(ManifestSource(root=manifest)).key == key


def test_duplicate_keys_are_samples_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "1.jpg")
    manifest = write_rows(
        tmp_path / "m.jsonl", [{"path": "1.jpg", "caption": str(n), "id": "same"} for n in range(3)]
    )
    outcomes = load_all(ManifestSource(root=manifest), cut=2)
    assert [isinstance(o, RawSample) and (o.key, o.caption) for o in outcomes] == [
        ("same", "0"),
        ("same", "1"),
        ("same", "2"),
    ]


@pytest.mark.parametrize(
    ("path", "stage", "reason"),
    [
        ("https://example.com/a.jpg", "read", "remote media are not read here"),
        ("s3://bucket/a.jpg", "read", "remote media are not read here"),
        ("../secret.jpg", "read", OUT),
        ("img/../../secret.jpg", "read", OUT),
        ("..", "read", OUT),
        ("gone.jpg", "read", "cannot be read: No such file or directory"),
        ("img", "read", "not a regular file"),
        ("a\0b.jpg", "read", "the media path holds a NUL"),
        ("\u00e9" * 200, "read", "cannot be read: File name too long"),
        ("", "read", NO_MEDIA),
        (None, "read", NO_MEDIA),
        (7, "read", "the media column holds neither a path nor bytes"),
        ("large.jpg", "read", "larger than limits.max_bytes"),
    ],
)
def test_faults_of_media_paths(tmp_path: Path, path: object, stage: str, reason: str) -> None:
    write(tmp_path / "secret.jpg")
    write(tmp_path / "in" / "img" / "1.jpg")
    write(tmp_path / "in" / "large.jpg", b"x" * 11)
    manifest = write_rows(tmp_path / "in" / "m.jsonl", [{"path": path, "caption": "cat"}])
    error = fault(ManifestSource(root=manifest, options=SourceOptions(max_bytes=10)))
    assert (error.stage, error.reason) == (stage, reason)


def test_paths_may_be_absolute_or_turn_back_within_the_folder(tmp_path: Path) -> None:
    outside = write(tmp_path / "out" / "1.jpg", "outside")
    write(tmp_path / "in" / "1.jpg", "inside")
    rows = [{"path": str(outside), "caption": "cat"}, {"path": "img/../1.jpg", "caption": "cat"}]
    rows += [{"path": {"path": "1.jpg"}, "caption": "cat"}]
    outcomes = load_all(ManifestSource(root=write_rows(tmp_path / "in" / "m.jsonl", rows)))
    assert [isinstance(o, RawSample) and o.media for o in outcomes] == [
        b"outside",
        b"inside",
        b"inside",
    ]


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        ({"caption": " cat "}, "cat"),
        ({"TEXT": "cat"}, "cat"),
        ({"caption": None, "prompt": "cat"}, "cat"),
        ({"caption": ["cat", "dog"]}, "cat"),
        ({"caption": "", "prompt": "cat"}, "cat"),
        ({"caption": "one\r\ntwo"}, "one\ntwo"),
        ({"caption": ""}, f"empty{NO_CAPTION.removeprefix('no')}"),
        (
            {
                "conversations": [
                    {"from": "human", "value": "<image>?"},
                    {"from": "gpt", "value": "cat"},
                ]
            },
            "cat",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "text", "text": "cat"}]}]},
            "cat",
        ),
        ({"messages": [{"role": "user", "content": "cat"}]}, NO_CAPTION),
        ({"caption": 1.5}, "the caption is not text"),
        ({}, NO_CAPTION),
    ],
)
def test_captions(tmp_path: Path, row: dict[str, Any], outcome: str) -> None:
    write(tmp_path / "1.jpg")
    (found,) = load_all(
        ManifestSource(root=write_rows(tmp_path / "m.jsonl", [{"path": "1.jpg", **row}]))
    )
    assert (found.caption if isinstance(found, RawSample) else found.reason) == outcome


def test_columns_that_were_asked_for_are_taken_and_no_others(tmp_path: Path) -> None:
    write(tmp_path / "1.jpg", "one")
    write(tmp_path / "2.jpg", "two")
    row = {"file_name": "1.jpg", "second": "2.jpg", "caption": "short", "long": "long caption"}
    manifest = write_rows(tmp_path / "m.jsonl", [row])
    sample = only(
        ManifestSource(
            root=manifest, options=SourceOptions(media_key="second", caption_keys=("long",))
        )
    )
    assert (sample.media, sample.caption) == (b"two", "long caption")
    assert sample.metadata == {"file_name": "1.jpg", "caption": "short", "long": "long caption"}
    assert (
        fault(ManifestSource(root=manifest, options=SourceOptions(caption_keys=("other",)))).reason
        == NO_CAPTION
    )
    assert (
        fault(ManifestSource(root=manifest, options=SourceOptions(media_key="other"))).reason
        == NO_MEDIA
    )


def test_several_columns_are_drawn_from_by_weight(tmp_path: Path) -> None:
    for n in range(200):
        write(tmp_path / f"{n}.jpg")
    rows = [{"path": f"{n}.jpg", "long": f"long {n}", "short": f"short {n}"} for n in range(200)]
    options = SourceOptions(caption_keys=("long:0.8", "short:0.2"), captions="draw", seed=1)
    outcomes = load_all(ManifestSource(root=write_rows(tmp_path / "m.csv", rows), options=options))
    drawn = [isinstance(raw, RawSample) and raw.caption.split()[0] for raw in outcomes]
    assert 140 <= drawn.count("long") <= 180 and drawn.count("short") == 200 - drawn.count("long")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_that_a_table_lacks_stop_the_run_at_once(tmp_path: Path, suffix: str) -> None:
    manifest = write_rows(tmp_path / f"m{suffix}", [{"x": "1.jpg", "y": "cat"}])
    with pytest.raises(PrepError, match=r"no media column \(give --image-key\); its columns: x, y"):
        listed(ManifestSource(root=manifest))
    with pytest.raises(PrepError, match=r"no media column other; its columns: x, y"):
        listed(ManifestSource(root=manifest, options=SourceOptions(media_key="other")))
    with pytest.raises(
        PrepError, match=r"no caption column \(give --caption-key, --caption or --allow-empty"
    ):
        listed(ManifestSource(root=manifest, options=SourceOptions(media_key="x")))
    assert (
        len(
            listed(
                ManifestSource(
                    root=manifest, options=SourceOptions(media_key="x", allow_empty_captions=True)
                )
            )
        )
        == 1
    )


def test_metadata_is_strict_json(tmp_path: Path) -> None:
    write(tmp_path / "1.jpg")
    line = (
        '{"path": "1.jpg", "caption": "cat", "nan": NaN, "deep": [{"inf": -Infinity}], '
        '"half": "\\ud83d"}'
    )
    sample = only(ManifestSource(root=write(tmp_path / "m.jsonl", line)))
    assert sample.metadata == {
        "caption": "cat",
        "nan": None,
        "deep": [{"inf": None}],
        "half": "\ufffd",
    }


def test_a_malformed_line_is_one_reject_with_its_place(tmp_path: Path) -> None:
    write(tmp_path / "1.jpg")
    good = json.dumps({"path": "1.jpg", "caption": "cat"})
    source = ManifestSource(root=write(tmp_path / "m.jsonl", f"{good}\nbroken\n\n{good}\n"))
    first, broken, last = load_all(source, cut=2)
    assert isinstance(first, RawSample) and isinstance(last, RawSample)
    assert isinstance(broken, SampleError) and (broken.stage, broken.reason) == (
        "read",
        "broken JSON",
    )
    (pending,) = source.read(Piece("m.jsonl", len(good) + 1, 1))
    assert (pending.key, pending.source) == (f"m.jsonl:{len(good) + 1}", "m.jsonl")
    assert (
        "the row that begins with b'broken" in broken.detail
        and f"byte {len(good) + 1} of m.jsonl" in broken.detail
    )


@pytest.mark.parametrize(
    ("name", "text", "num_rows"),
    [
        ("m.json", '{"path": "1.jpg", "caption": "a"}\n{"path": "1.jpg", "caption": "b"}\n', 2),
        ("m.json", '\n\n  [{"path": "1.jpg", "caption": "a"}]', 1),
        ("m.jsonl", '[{"path": "1.jpg", "caption": "a"},\n {"path": "1.jpg", "caption": "b"}]', 2),
    ],
)
def test_json_is_told_by_what_it_holds(tmp_path: Path, name: str, text: str, num_rows: int) -> None:
    write(tmp_path / "1.jpg")
    outcomes = load_all(ManifestSource(root=write(tmp_path / name, text)))
    assert [type(outcome) for outcome in outcomes] == [RawSample] * num_rows


@pytest.mark.parametrize("text", ["", "caption", "{"])
def test_json_that_is_no_table_stops_the_run(tmp_path: Path, text: str) -> None:
    with pytest.raises(PrepError, match="neither a JSON list of objects nor JSON lines"):
        listed(ManifestSource(root=write(tmp_path / "m.json", text)))


@pytest.mark.parametrize(
    ("name", "text"), [("m.jsonl", "\n"), ("m.json", "[]"), ("m.csv", "path,caption\n")]
)
def test_a_manifest_without_rows_stops_the_run(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(PrepError, match="no rows in"):
        listed(ManifestSource(root=write(tmp_path / name, text)))


def test_a_manifest_that_shrank_since_the_listing_stops_the_run(tmp_path: Path) -> None:
    manifest = write_rows(tmp_path / "m.jsonl", [{"path": "1.jpg", "caption": "cat"}])
    with pytest.raises(PrepError, match="fewer rows than when it was listed"):
        list(ManifestSource(root=manifest).read(Piece("m.jsonl", 0, 2)))


def test_samples_load_in_threads(tmp_path: Path) -> None:
    for n in range(100):
        write(tmp_path / f"{n}.jpg", f"media {n}")
    manifest = write_rows(
        tmp_path / "m.csv", [{"path": f"{n}.jpg", "caption": f"c{n}"} for n in range(100)]
    )
    source = ManifestSource(root=manifest)
    first = listed(source)[0]
    with ThreadPoolExecutor(8) as pool:
        loaded = list(
            pool.map(lambda sample: sample.load(), source.read(Piece("m.csv", first.start, 100)))
        )
    assert [(raw.media.read(), raw.caption) for raw in loaded] == [
        (b"media %d" % n, f"c{n}") for n in range(100)
    ]


def test_listing_does_not_hold_the_rows(tmp_path: Path) -> None:
    row = {"file_name": "images/000000.jpg", "caption": "a photo of a cat on a mat, " * 3}
    manifest = tmp_path / "m.jsonl"
    line = json.dumps(row) + "\n"
    manifest.write_text(line * 50_000)
    tracemalloc.start()
    num_rows = sum(1 for _ in ManifestSource(root=manifest).list(Account()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num_rows == 50_000
    assert peak < 2**20, f"{peak} bytes at the peak"
