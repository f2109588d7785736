"""Station 1, sources: reads one sample's files, with a cap on every size, and knows what media are called."""

from __future__ import annotations

import errno
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from energon_prep.errors import PrepError, SampleError
from energon_prep.sources.walk import printable

#: Suffixes of images and videos; of a sample with several media, the first here is taken.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
VIDEO_SUFFIXES = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".m4v")
MEDIA_SUFFIXES = IMAGE_SUFFIXES + VIDEO_SUFFIXES

URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")  #: at the start of what is no local path

MAX_TEXT_BYTES = 16 * 2**20  #: of one caption file, one JSON file, one row of a manifest

#: Every sample would fail: the machine is short of something, or a mount was lost.
_MACHINE_FAULTS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN}
#: What may be over in a moment on a network's file system, and the seconds to wait before each further try.
_PASSING_FAULTS = {errno.EIO, errno.ETIMEDOUT, errno.EAGAIN}
_PAUSES = (0.05, 0.2, 1.0)

_MAGIC = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"\x1aE\xdf\xa3", ".mkv"),
)


def read_media(path: Path, *, max_bytes: int) -> bytes:
    """The bytes of a media file. Raises SampleError if it cannot be read, is empty or larger than ``max_bytes``."""
    with faults_of(path, stage="read"):
        return _read(path, stage="read", check=lambda size: check_media_size(size, max_bytes))


def read_text_file(path: Path, *, stage: str) -> bytes | None:
    """The bytes of a caption or JSON file beside the media, None if there is none."""
    with faults_of(path, stage=stage):
        try:
            return _read(path, stage=stage, check=lambda size: check_text_size(size, stage=stage))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                return None
            raise


def check_media_size(size: int, max_bytes: int) -> None:
    """Raise SampleError unless ``size`` bytes of media may be read."""
    if size == 0:
        raise SampleError("read", "empty file")
    if size > max_bytes:
        raise SampleError("read", "larger than limits.max_bytes", f"{size} bytes, the limit is {max_bytes}")


def check_text_size(size: int, *, stage: str) -> None:
    """Raise SampleError if ``size`` bytes are too many for a caption or metadata."""
    if size > MAX_TEXT_BYTES:
        raise SampleError(stage, "text file too large", f"{size} bytes, the limit is {MAX_TEXT_BYTES}")


def sniffed_suffix(media: bytes) -> str:
    """The suffix that media without a name would have, from their first bytes; "" if they are none we know."""
    if media[4:8] == b"ftyp":
        return {b"avif": ".avif", b"avis": ".avif", b"qt  ": ".mov"}.get(media[8:12], ".mp4")
    if media[:4] == b"RIFF":
        return {b"WEBP": ".webp", b"AVI ": ".avi"}.get(media[8:12], "")
    return next((suffix for magic, suffix in _MAGIC if media.startswith(magic)), "")


@contextmanager
def faults_of(path: Path, *, stage: str) -> Iterator[None]:
    """Turn what the system says about reading ``path`` into the sample's fault, or PrepError where it is not that."""
    try:
        yield
    except OSError as error:
        if error.errno in _MACHINE_FAULTS:
            raise PrepError(
                f"cannot read {printable(str(path))}: {error.strerror}: that is no fault of the sample. "
                "Mend it and run the same command again; what is finished is kept"
            ) from error
        raise SampleError(stage, f"cannot be read: {error.strerror}", printable(str(path))) from error


def try_again(read: Callable[[], bytes]) -> bytes:
    """What ``read`` returns, after some tries where its failure may pass. Raises OSError of the last one."""
    for pause in _PAUSES:
        try:
            return read()
        except OSError as error:
            if error.errno not in _PASSING_FAULTS:
                raise
            time.sleep(pause)
    return read()


def _read(path: Path, *, stage: str, check: Callable[[int], None]) -> bytes:
    """The whole file, after ``check`` has agreed to its size."""
    return try_again(lambda: _read_once(path, stage=stage, check=check))


def _read_once(path: Path, *, stage: str, check: Callable[[int], None]) -> bytes:
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):  # a pipe would block, a device might never end
        raise SampleError(stage, "not a regular file", printable(str(path)))
    check(info.st_size)
    with path.open("rb") as file:
        return file.read(info.st_size)
