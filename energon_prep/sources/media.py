"""Reads one sample's files, with a cap on every size, and knows what media are called."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from energon_prep.errors import PrepError, SampleError
from energon_prep.formats import HEAD_BYTES, is_video, kind_of, suffix_for
from energon_prep.samples import Media, printable
from energon_prep.sources.comparison import FileState, ListedFile
from energon_prep.sources.shared_reads import open_shared

T = TypeVar("T")
Seen = Callable[[os.stat_result], None]

URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")  #: at the start of what is no local path

MAX_TEXT_BYTES = 16 * 2**20  #: of one caption file, one JSON file, one row of a manifest

#: Of the file itself, wherever it lies. All others are of the machine, the mount or the
#: credentials: other samples would fail by them too, and are sound.
_OWN_FAULTS = {
    errno.EIO,  # a broken sector; a mount that gives it for every file is found out by windows
    errno.EBADMSG,
    errno.EUCLEAN,
    errno.EILSEQ,
    errno.ELOOP,
    errno.EISDIR,
    errno.ENAMETOOLONG,
}
_MISSING = {errno.ENOENT, errno.ENOTDIR}
#: Of a name that was made up, and is no file's.
_NOT_THERE = {*_MISSING, errno.ENAMETOOLONG}
#: What may be over in a moment on a network's file system, and the seconds to wait before each
#: further try.
_PASSING_FAULTS = {
    errno.EIO,
    errno.ETIMEDOUT,
    errno.EAGAIN,
    errno.ECONNRESET,
    errno.EREMOTEIO,
}
_PAUSES = (0.05, 0.2, 1.0)


def _look_away(info: os.stat_result) -> None:
    """``seen`` of files that are not compared with anything."""


def read_media(
    path: Path, *, max_bytes: int, named_below: Path | None = None, seen: Seen = _look_away
) -> Media:
    """A media file: an image's bytes; a video's are left in the file, to be read as far as needed.

    Raises SampleError if it cannot be read, is empty, or is no video and larger than ``max_bytes``;
    ``named_below``: see ``faults_of``. ``seen``: told what the file is before it is judged, since
    what has changed, such as a file that is empty by now, is no fault of the sample; and again
    behind the last byte read, so that a file that is written meanwhile shows.
    """
    with faults_of(path, stage="read", named_below=named_below):
        return try_again(lambda: _read_media_once(path, max_bytes, seen))


def read_text_file(path: Path, *, stage: str, seen: Seen = _look_away) -> bytes | None:
    """The bytes of a caption or JSON file beside the media, None if there is none. ``seen``: as for
    ``read_media``.
    """
    with faults_of(path, stage=stage):
        try:
            return try_again(lambda: _read_text_once(path, stage, seen))
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise


def is_missing(path: str) -> bool:
    """Whether there is neither a file nor a link of that name, for sure: what else may be wrong is
    told by who reads it.
    """
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno in _NOT_THERE
    return False


def check_media_size(size: int, max_bytes: int) -> None:
    """Raise SampleError unless ``size`` bytes of media may be read."""
    if size == 0:
        raise SampleError("read", "empty file")
    if size > max_bytes:
        raise SampleError(
            "read", "larger than limits.max_bytes", f"{size} bytes, the limit is {max_bytes}"
        )


def check_text_size(size: int, *, stage: str) -> None:
    """Raise SampleError if ``size`` bytes are too many for a caption or metadata."""
    if size > MAX_TEXT_BYTES:
        raise SampleError(
            stage, "text file too large", f"{size} bytes, the limit is {MAX_TEXT_BYTES}"
        )


def sniffed_suffix(media: bytes) -> str:
    """The suffix that media without a name would have, from their first bytes; "" if they are none
    we know.
    """
    return suffix_for(kind_of(media[:HEAD_BYTES]))


@contextmanager
def faults_of(path: Path, *, stage: str, named_below: Path | None = None) -> Iterator[None]:
    """Turn what the system says about reading ``path`` into the sample's fault, or PrepError where
    it is not that.

    A file that was listed is not missing by its own fault, unless it is a link to nothing.
    ``named_below``: nobody has seen the file, a table names it, and it may be missing as long as
    this folder, where it should lie, holds anything.
    """
    try:
        yield
    except OSError as error:
        is_missing = error.errno in _MISSING
        if is_missing and named_below is not None:
            require_contents(named_below)
        elif not _is_own_fault(path, error):
            raise PrepError(
                f"cannot read {printable(str(path))}: {error.strerror}: that is no fault of "
                "the sample. Is the source still there, mounted and readable? Mend it and run "
                "the same command again; what is finished is kept"
            ) from error
        raise SampleError(
            stage, f"cannot be read: {error.strerror}", printable(str(path))
        ) from error


def is_of_machine(error: BaseException) -> bool:
    """Whether a reading library passes on what the system said, and that is no fault of the
    file's contents.
    """
    number = error.errno if isinstance(error, OSError) else None
    return number is not None and number not in _OWN_FAULTS


def require_contents(folder: Path) -> None:
    """Raise PrepError for a folder that went away or was emptied, as a mount that was lost is:
    what is missing below it is no fault of the samples.
    """
    try:
        with os.scandir(folder) as entries:
            found = "empty" if next(entries, None) is None else ""
    except OSError as error:
        found = f"gone ({error.strerror})"
    if found:
        raise PrepError(
            f"the folder {printable(str(folder))} is {found}: that is no fault of the samples that "
            "should lie there. Bring it back (is it mounted?) and run the same command again; "
            "what is finished is kept"
        )


def _is_own_fault(path: Path, error: OSError) -> bool:
    if error.errno in _MISSING:
        return os.path.islink(path)  # noqa: PTH114  Path.is_symlink raises for a name too long
    return not is_of_machine(error)


def try_again(read: Callable[[], T]) -> T:
    """What ``read`` returns, after some tries where its failure may pass. Raises OSError of the
    last one.
    """
    for pause in _PAUSES:
        try:
            return read()
        except OSError as error:
            if error.errno not in _PASSING_FAULTS:
                raise
            time.sleep(pause)
    return read()


def _read_text_once(path: Path, stage: str, seen: Seen) -> bytes:
    size = _size(path, stage, seen)
    check_text_size(size, stage=stage)
    with path.open("rb") as file:
        data = file.read(size)
        seen(os.fstat(file.fileno()))
    return data


def _read_media_once(path: Path, max_bytes: int, seen: Seen) -> Media:
    size = _size(path, "read", seen)
    with path.open("rb", buffering=0) as file:  # of a video no more than the head
        head = file.read(HEAD_BYTES)
        if not is_video(kind_of(head)):
            check_media_size(size, max_bytes)
            buffered = io.BufferedReader(file)
            content = head + buffered.read(size - len(head))
            seen(os.fstat(buffered.fileno()))
            return Media.of(content)
        info = os.fstat(file.fileno())
    seen(info)
    video = ListedFile(path, FileState.of(info))
    return Media(size=info.st_size, open=partial(open_video, video), max_bytes=max_bytes)


def open_video(file: ListedFile, *, start: int = 0, size: int | None = None) -> BinaryIO:
    """A video, or the stretch of a file that is one, see ``open_shared``. Opening and reading raise
    as ``faults_of`` does.
    """

    def guarded(read: Callable[[], T]) -> T:
        with faults_of(file.path, stage="read"):
            return try_again(read)

    return open_shared(file, guarded, start=start, size=size)


def _size(path: Path, stage: str, seen: Seen) -> int:
    info = path.stat()
    seen(info)
    if not stat.S_ISREG(info.st_mode):  # a pipe would block, a device might never end
        raise SampleError(stage, "not a regular file", printable(str(path)))
    return info.st_size
