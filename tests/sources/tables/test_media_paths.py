from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from energon_prep.errors import PrepError, SampleError
from energon_prep.samples import RawSample
from energon_prep.sources.detect import open_source
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tables.manifest import ManifestSource
from tests.sources.reading import fault, load_all, only, write

OUT = "the media path leaves the media root (give --media-root)"


def manifest(path: Path, media: str) -> Path:
    return write(path, json.dumps({"image": media, "text": "x"}))


@pytest.mark.parametrize(
    ("media", "source"),
    [
        ("images/a.jpg", "images/a.jpg"),
        (".\\images\\a.jpg", "images/a.jpg"),
        ("../images/a.jpg", "images/a.jpg"),
        ("./images//a.jpg", "images/a.jpg"),
        ("images/a", "images/a"),
    ],
)
def test_paths_start_from_the_media_root(
    tmp_path: Path, media: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "images" / "a.jpg", b"right")
    write(tmp_path.parent / "images" / "a.jpg", b"outside")
    table = manifest(tmp_path / "lists" / "train.jsonl", media)
    monkeypatch.chdir(tmp_path / "lists")
    opened = open_source(table, options=SourceOptions(media_root=".."))
    raw = only(opened)
    assert (raw.key, raw.source, raw.media_name, raw.media) == (source, source, "a.jpg", b"right")
    assert opened.describe()["media_root"] == str(tmp_path)


def test_a_path_out_of_the_media_root_names_the_remedy(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.jpg")
    table = manifest(tmp_path / "lists" / "train.jsonl", "../images/a.jpg")
    error = fault(ManifestSource(root=table))
    assert error.reason == OUT and f"and not {tmp_path};" in error.detail
    assert (
        only(ManifestSource(root=table, options=SourceOptions(media_root=str(tmp_path)))).source
        == "images/a.jpg"
    )
    inner = SourceOptions(media_root=str(tmp_path / "lists"))
    assert fault(ManifestSource(root=table, options=inner)).reason == OUT
    gone = SourceOptions(media_root=str(tmp_path / "gone"))
    with pytest.raises(PrepError, match=r"--media-root .*gone is no folder"):
        load_all(ManifestSource(root=table, options=gone))


def test_links_out_of_the_source_are_followed_only_when_asked(tmp_path: Path) -> None:
    write(tmp_path / "store" / "a.jpg", b"stored")
    write(tmp_path / "set" / "real.jpg")
    (tmp_path / "set" / "a.jpg").symlink_to("../store/a.jpg")
    (tmp_path / "set" / "b.jpg").symlink_to("real.jpg")
    (tmp_path / "set" / "folder").symlink_to("../store")
    for media in ("a.jpg", "folder/a.jpg"):
        table = manifest(tmp_path / "set" / "m.jsonl", media)
        assert (
            fault(ManifestSource(root=table)).reason
            == "a link leads out of the source (give --follow-links)"
        )
        assert (
            only(ManifestSource(root=table, options=SourceOptions(follow_links=True))).media
            == b"stored"
        )
    assert (
        only(ManifestSource(root=manifest(tmp_path / "set" / "m.jsonl", "b.jpg"))).media == b"media"
    )


def test_a_hub_snapshot_is_read_through_its_links(tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for name, data in (
        ("a.jpg", b"blob"),
        ("metadata.jsonl", b'{"file_name": "a.jpg", "text": "x"}'),
    ):
        write(tmp_path / "blobs" / name[:3], data)
        (snapshot / name).symlink_to(f"../../blobs/{name[:3]}")
    assert only(ManifestSource(root=snapshot / "metadata.jsonl")).media == b"blob"


def test_a_linked_table_has_its_media_beside_the_link(tmp_path: Path) -> None:
    manifest(tmp_path / "store" / "m.jsonl", "a.jpg")
    write(tmp_path / "store" / "a.jpg", b"wrong")
    write(tmp_path / "set" / "a.jpg", b"right")
    (tmp_path / "set" / "m.jsonl").symlink_to("../store/m.jsonl")
    source = ManifestSource(root=tmp_path / "set" / "m.jsonl")
    assert only(source).media == b"right" and source.describe()["root"] == str(
        tmp_path / "set" / "m.jsonl"
    )


def test_accents_and_backslashes_as_the_files_have_them(tmp_path: Path) -> None:
    name = "caf\u00e9"
    write(tmp_path / f"{unicodedata.normalize('NFD', name)}.jpg", b"composed otherwise")
    write(tmp_path / "back\\slash.jpg", b"in the name")
    for media, content in (
        (f"{name}.jpg", b"composed otherwise"),
        ("back\\slash.jpg", b"in the name"),
    ):
        assert only(ManifestSource(root=manifest(tmp_path / "m.jsonl", media))).media == content


def test_a_windows_path_is_told(tmp_path: Path) -> None:
    error = fault(ManifestSource(root=manifest(tmp_path / "m.jsonl", "C:\\data\\a.jpg")))
    assert error.reason == "the media path is one of Windows" and "--media-root" in error.detail


@pytest.mark.parametrize(
    "path", ["x" * 5000, "\u00e9" * 300 + ".jpg", "a\\" + "x" * 300, "\ud83d.jpg"]
)
def test_a_path_that_no_file_can_have_is_a_fault_of_its_row(tmp_path: Path, path: str) -> None:
    assert fault(ManifestSource(root=manifest(tmp_path / "m.jsonl", path))).reason.startswith(
        "cannot be read"
    )


@pytest.mark.parametrize(
    ("images", "media", "left_out", "kept"),
    [
        (["a.jpg"], b"a", 0, {}),
        ([{"path": "a.jpg"}], b"a", 0, {}),
        (["b.jpg", "a.jpg"], b"b", 1, {"images": ["b.jpg", "a.jpg"]}),
    ],
)
def test_of_several_images_in_a_row_the_first_is_taken(
    tmp_path: Path, images: list[object], media: bytes, left_out: int, kept: dict[str, object]
) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.jpg", name)
    table = write(tmp_path / "m.jsonl", json.dumps({"images": images, "text": "x"}))
    raw = only(ManifestSource(root=table))
    assert (raw.media, raw.num_media_left_out, raw.metadata) == (
        media,
        left_out,
        {"text": "x", **kept},
    )


def test_an_empty_media_column_leaves_it_to_the_next(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", b"film")
    table = write(tmp_path / "m.csv", "image,video,text\n,a.mp4,x\n,,y\n")
    first, second = load_all(ManifestSource(root=table))
    assert isinstance(first, RawSample) and first.media == b"film"
    assert (
        isinstance(second, SampleError)
        and second.reason == "no media in the row (give --image-key)"
    )
