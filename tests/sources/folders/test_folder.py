from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from pathlib import Path

import pytest

from energon_prep.errors import PrepError, SampleError
from energon_prep.formats import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from energon_prep.plan.order import Listed
from energon_prep.plan.shards import join_entries
from energon_prep.samples import RawSample
from energon_prep.sources.folders.folder import FolderSource
from energon_prep.sources.options import SourceOptions
from tests.sources.reading import listed, load_all, only, only_pending, write


def test_media_with_text_and_json_beside_them(tmp_path: Path) -> None:
    write(tmp_path / "cats" / "1.jpg", b"media")
    write(tmp_path / "cats" / "1.txt", "a cat\n")
    write(tmp_path / "cats" / "1.json", '{"caption": "from the json", "score": 6.5}')
    (entry,) = listed(FolderSource(root=tmp_path))
    assert (entry.path, entry.start, entry.size) == ("cats/1.jpg", 0, 5)
    assert [(file.path, file.size) for file in entry.beside] == [
        ("cats/1.json", 42),
        ("cats/1.txt", 6),
    ]
    times = [(tmp_path / name).stat().st_mtime_ns for name in ("cats/1.jpg", "cats/1.json")]
    assert [entry.mtime_ns, entry.beside[0].mtime_ns] == times
    assert load_all(FolderSource(root=tmp_path)) == [
        RawSample(
            key="cats/1",
            source="cats/1.jpg",
            media_name="1.jpg",
            media=b"media",
            captions=("a cat",),
            metadata={"caption": "from the json", "score": 6.5},
        )
    ]


@pytest.mark.parametrize("suffix", [*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, ".JPG", ".Mp4"])
def test_every_media_suffix_in_any_case(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"1{suffix}")
    write(tmp_path / "1.TXT", "caption")
    sample = only(FolderSource(root=tmp_path))
    assert (sample.media_name, sample.caption) == (f"1{suffix}", "caption")


@pytest.mark.parametrize(
    "name",
    ["v1.5_a", "two words", "\u00fcber \u732b", "sub/dir.d/1", "a,b;c'd\"e", "-x", "new\nline"],
)
def test_keys_are_relative_paths_without_suffix(tmp_path: Path, name: str) -> None:
    write(tmp_path / f"{name}.jpg")
    write(tmp_path / f"{name}.caption", "caption")
    assert only(FolderSource(root=tmp_path)).key == name


@pytest.mark.skipif(sys.platform == "darwin", reason="file names are always UTF-8 there")
def test_names_that_are_not_utf8_are_read_and_have_printable_keys(tmp_path: Path) -> None:
    for name, content in ((b"caf\xe9.jpg", b"media"), (b"caf\xe9.txt", b"caption")):
        (tmp_path / os.fsdecode(name)).write_bytes(content)
    sample = only(FolderSource(root=tmp_path))
    assert (sample.key, sample.caption) == ("caf\\udce9", "caption")
    json.dumps([sample.key, sample.source, sample.media_name], ensure_ascii=False).encode("utf-8")


def test_media_of_one_stem_are_two_samples_with_one_caption(tmp_path: Path) -> None:
    for name, content in (("a.jpg", "jpg"), ("a.png", "png"), ("a.txt", "caption")):
        write(tmp_path / name, content)
    first, second = load_all(FolderSource(root=tmp_path))
    assert isinstance(first, RawSample) and isinstance(second, RawSample)
    assert (first.key, first.media, first.caption) == ("a", b"jpg", "caption")
    assert (second.key, second.media, second.caption) == ("a", b"png", "caption")
    assert only(FolderSource(root=tmp_path, options=SourceOptions(media_key="png"))).media == b"png"


def test_faults_of_media(tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("large", b"x" * 11), ("fine", b"x" * 10)):
        write(tmp_path / f"{name}.jpg", content)
        write(tmp_path / f"{name}.txt", "caption")
    empty, fine, large = load_all(FolderSource(root=tmp_path, options=SourceOptions(max_bytes=10)))
    assert isinstance(empty, SampleError) and (empty.stage, empty.reason) == ("read", "empty file")
    assert isinstance(fine, RawSample)
    assert isinstance(large, SampleError) and large.reason == "larger than limits.max_bytes"
    assert large.detail == "11 bytes, the limit is 10"


def test_links_are_read_within_the_folder_only(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.txt", "secret")
    root = tmp_path / "root"
    write(root / "deep" / "media.jpg", b"inside")
    write(root / "deep" / "media.txt", "caption")
    for name in ("inside", "outside", "broken", "loop"):
        write(root / f"{name}.txt", name)
    (root / "inside.jpg").symlink_to("deep/media.jpg")
    (root / "outside.jpg").symlink_to(secret)
    (root / "broken.jpg").symlink_to("nothing")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "caption.txt").symlink_to(secret)
    write(root / "caption.jpg")
    (tmp_path / "link to root").symlink_to(root)
    for path in (root, tmp_path / "link to root"):
        broken, caption, deep, inside, loop = load_all(FolderSource(root=path))
        assert isinstance(deep, RawSample)
        assert isinstance(inside, RawSample) and inside.media == b"inside"
        assert isinstance(caption, SampleError) and caption.stage == "caption"
        assert caption.reason == "a link leads out of the source (give --follow-links)"
        assert caption.detail == f"{path}/caption.txt leads to {secret}"
        assert (
            isinstance(broken, SampleError)
            and broken.reason == "cannot be read: No such file or directory"
        )
        assert (
            isinstance(loop, SampleError)
            and loop.reason == "cannot be read: Too many levels of symbolic links"
        )
    broken, caption, deep, inside, loop, outside = load_all(
        FolderSource(root=root, options=SourceOptions(follow_links=True))
    )
    assert isinstance(caption, RawSample) and caption.caption == "secret"
    assert isinstance(outside, RawSample) and outside.media == b"secret"


def test_a_snapshot_of_the_hub_is_read_through_its_links(tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshots" / "abc"
    for name in ("data/a.jpg", "data/a.txt"):
        blob = write(tmp_path / "blobs" / name.replace("/", "-"), name)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(f"../../../blobs/{blob.name}")
    write(tmp_path / "refs" / "b.jpg")
    (snapshot / "b.jpg").symlink_to("../../refs/b.jpg")
    for root in (snapshot, snapshot / "data"):
        assert only(FolderSource(root=root)).caption == "data/a.txt"


@pytest.mark.parametrize("gone", ["media", "root", "contents"])
@pytest.mark.parametrize("text", [None, "1.txt", "1.json", "1.mask.png"])
def test_what_was_listed_and_is_gone_is_no_fault_of_the_sample(
    tmp_path: Path, gone: str, text: str | None
) -> None:
    root = tmp_path / "in"
    media = write(root / "1.jpg")
    if text is not None:
        write(root / text, '{"caption": "cat"}')
    carried = ("mask.png",) if text == "1.mask.png" else ()
    options = SourceOptions(caption_text="fallback", carry_parts=carried)
    pending = only_pending(FolderSource(root=root, options=options))
    if gone == "media":
        media.unlink()
    else:
        root.rename(tmp_path / "away")
    if gone == "contents":
        root.mkdir()
    with pytest.raises(PrepError, match=r"1\.jpg: No such file.*no fault of the sample"):
        pending.load()


def test_samples_load_in_threads(tmp_path: Path) -> None:
    for i in range(100):
        write(tmp_path / f"{i:03d}.jpg", f"media {i}")
        write(tmp_path / f"{i:03d}.txt", f"caption {i}")
    source = FolderSource(root=tmp_path)
    pending = list(
        chain.from_iterable(
            source.read(piece) for piece in join_entries(map(Listed, count(), listed(source)))
        )
    )
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda sample: sample.load(), pending))
    assert [(raw.media.read(), raw.caption) for raw in loaded] == [
        (b"media %d" % i, f"caption {i}") for i in range(100)
    ]


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    for name in (f"{'x' * 251}.jpg", "cat.jpg", "cat.mask.png"):
        write(tmp_path / name, name[:3])
    options = SourceOptions(allow_empty_captions=True, carry_parts=("mask.png",))
    cat, long = load_all(FolderSource(root=tmp_path, options=options))
    assert isinstance(cat, RawSample) and cat.parts == {"mask.png": b"cat"}
    assert isinstance(long, RawSample) and (long.media, long.parts) == (b"xxx", {})
