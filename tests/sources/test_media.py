from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from energon_prep.errors import PrepError, SampleError
from energon_prep.sources.media import (
    MAX_TEXT_BYTES,
    faults_of,
    is_missing,
    read_media,
    read_text_file,
    sniffed_suffix,
    try_again,
)
from tests.sources.reading import write


def test_reads_what_is_within_the_limit(tmp_path: Path) -> None:
    assert read_media(write(tmp_path / "a.jpg", b"12345"), max_bytes=5).read() == b"12345"


def test_a_video_stays_in_its_file_and_is_not_limited(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", b"\0\0\0\x08free" + bytes(50_000))
    media = read_media(path, max_bytes=100)
    with media.open() as one, media.open() as other:
        assert (one.seek(-3, os.SEEK_END), one.read()) == (50_005, bytes(3))
        assert (other.read(8), media.size) == (b"\0\0\0\x08free", 50_008)
    with pytest.raises(
        SampleError, match=r"larger than limits\.max_bytes \(50008 bytes, the limit is 100\)"
    ):
        media.read()
    path.write_bytes(b"\0\0\0\x08moov")
    with pytest.raises(PrepError, match=r"a\.mp4 has changed .* had 50008 bytes, and has 8"):
        media.head(100)
    assert read_media(path, max_bytes=100).head(100) == b"\0\0\0\x08moov"  # no old block
    path.unlink()
    with pytest.raises(PrepError, match=r"No such file.*no fault of the sample"):
        media.open()


def test_the_size_is_judged_before_reading(tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(1 << 42)  # sparse: reading it would not end well
    with pytest.raises(SampleError) as error:
        read_media(tmp_path / "huge.jpg", max_bytes=1000)
    assert (error.value.stage, error.value.reason) == ("read", "larger than limits.max_bytes")
    assert error.value.detail == f"{1 << 42} bytes, the limit is 1000"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.jpg", "empty file"),
        ("pipe.jpg", "not a regular file"),
        ("dangling.jpg", "cannot be read: No such file or directory"),
        ("loop.jpg", "cannot be read: Too many levels of symbolic links"),
        ("folder.jpg", "not a regular file"),
        ("x" * 300, "cannot be read: File name too long"),
    ],
)
def test_faults_have_reasons_without_names(tmp_path: Path, name: str, reason: str) -> None:
    write(tmp_path / "empty.jpg", b"")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "dangling.jpg").symlink_to("nothing")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    with pytest.raises(SampleError) as error:
        read_media(tmp_path / name, max_bytes=10)
    assert (error.value.stage, error.value.reason) == ("read", reason)


def test_a_text_file_may_be_missing_but_not_endless(tmp_path: Path) -> None:
    assert read_text_file(tmp_path / "a.txt", stage="caption") is None
    assert read_text_file(tmp_path / ("x" * 300), stage="caption") is None
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(MAX_TEXT_BYTES + 1)
    with pytest.raises(SampleError, match="caption: text file too large"):
        read_text_file(tmp_path / "a.txt", stage="caption")


def test_missing_is_what_is_not_there_and_not_what_cannot_be_reached(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt", b"cat")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("b.txt", "no/b.txt", f"{file.name}/b.txt", "x" * 300):
        assert is_missing(str(tmp_path / name))
    for name in ("a.txt", "dangling", "loop", "loop/b.txt"):
        assert not is_missing(str(tmp_path / name))


@pytest.mark.parametrize(
    ("media", "suffix"),
    [
        (b"\xff\xd8\xff\xe0", ".jpg"),
        (b"\x89PNG\r\n\x1a\n", ".png"),
        (b"RIFF\0\0\0\0WEBPVP8 ", ".webp"),
        (b"RIFF\0\0\0\0AVI LIST", ".avi"),
        (b"\0\0\0\x20ftypavif", ".avif"),
        (b"\0\0\0\x20ftypisom", ".mp4"),
        (b"\x1aE\xdf\xa3", ".mkv"),
        (b"text", ""),
    ],
)
def test_sniffs_what_has_no_name(media: bytes, suffix: str) -> None:
    assert sniffed_suffix(media) == suffix


def _failing(number: int, times: int) -> tuple[list[int], Callable[[], bytes]]:
    """A read that fails so many times, and the tries it saw."""
    tries: list[int] = []

    def read() -> bytes:
        tries.append(number)
        if len(tries) <= times:
            raise OSError(number, os.strerror(number))
        return b"data"

    return tries, read


def test_what_may_pass_is_tried_again() -> None:
    _, read = _failing(errno.EIO, 2)
    assert try_again(read) == b"data"
    tries, read = _failing(errno.EIO, 9)
    with pytest.raises(OSError, match="Input/output"):
        try_again(read)
    assert len(tries) == 4
    tries, read = _failing(errno.EACCES, 9)
    with pytest.raises(OSError, match="Permission"):
        try_again(read)
    assert len(tries) == 1


_OF_FILES = ["EIO", "EBADMSG", "EUCLEAN", "EILSEQ", "ELOOP", "EISDIR", "ENAMETOOLONG"]


@pytest.mark.parametrize("name", sorted(set(errno.errorcode.values())))
def test_a_fault_that_is_not_the_file_s_own_stops_the_run(name: str) -> None:
    number = getattr(errno, name)
    kind = SampleError if name in _OF_FILES else PrepError
    with (
        pytest.raises(kind, match=r"cannot (read|be read)"),
        faults_of(Path("a.jpg"), stage="read"),
    ):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR])
def test_what_only_a_table_names_may_be_missing_where_anything_is(
    tmp_path: Path, number: int
) -> None:
    folder = tmp_path / "images"

    def fail() -> None:
        with faults_of(folder / "a.jpg", stage="read", named_below=folder):
            raise OSError(number, os.strerror(number))

    with pytest.raises(PrepError, match=r"images is gone.*no fault of the samples"):
        fail()
    folder.mkdir()
    with pytest.raises(PrepError, match="images is empty"):
        fail()
    write(folder / "b.jpg")
    with pytest.raises(SampleError, match="cannot be read"):
        fail()
