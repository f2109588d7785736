"""Reads single members of tars, at their offsets, with a cap on every size."""

from __future__ import annotations

import os
from functools import partial

from energon_prep.errors import PrepError, SampleError
from energon_prep.formats import HEAD_BYTES, is_video, kind_of
from energon_prep.samples import Media, printable
from energon_prep.sources.comparison import FileState, ListedFile
from energon_prep.sources.media import (
    check_media_size,
    check_text_size,
    faults_of,
    open_video,
    try_again,
)
from energon_prep.tar_headers import Member


def read_text(tar: ListedFile, member: Member, *, stage: str) -> bytes:
    """A caption or JSON. Raises SampleError of ``stage`` if it cannot be read or is too large."""
    _require_file(member, stage)
    check_text_size(member.size, stage=stage)
    return _read(tar, member, member.size, stage)


def read_part(tar: ListedFile, member: Member, *, max_bytes: int) -> bytes:
    """A further part. Raises SampleError if it cannot be read or is larger than ``max_bytes``."""
    _require_file(member, "read")
    if member.size:
        check_media_size(member.size, max_bytes)
    return _read(tar, member, member.size, "read")


def read_media(tar: ListedFile, member: Member, *, max_bytes: int) -> Media:
    """A medium: an image's bytes; a video's are left in the tar, to be read as far as needed.

    Raises SampleError if it cannot be read, is empty, or is no video and larger than ``max_bytes``.
    """
    _require_file(member, "read")
    head = _read(tar, member, min(member.size, HEAD_BYTES), "read")
    if is_video(kind_of(head)):
        video = partial(open_video, tar, start=member.data, size=member.size)
        return Media(size=member.size, open=video, max_bytes=max_bytes)
    check_media_size(member.size, max_bytes)
    return Media.of(head if member.size <= len(head) else _read(tar, member, member.size, "read"))


def _require_file(member: Member, stage: str) -> None:
    if member.kind != "file":
        remedy = "pack the files themselves (tar --dereference --hard-dereference, and no --sparse)"
        raise SampleError(
            stage,
            f"a {member.kind} in a tar is not followed",
            f"the member {member.name}: {remedy}",
        )


def _read(tar: ListedFile, member: Member, size: int, stage: str) -> bytes:
    def read() -> bytes:
        with tar.path.open("rb", buffering=0) as file:
            file.seek(member.data)
            content = file.read(size) or b""
            while len(content) < size and (more := file.read(size - len(content))):
                content += more
            # behind it: the tar may be written meanwhile
            tar.check(FileState.of(os.fstat(file.fileno())))
            return content

    with faults_of(tar.path, stage=stage):
        content = try_again(read)
    if len(content) < size:
        raise PrepError(
            f"{printable(str(tar.path))} was cut since it was listed, within the member "
            f"{printable(member.name)}: restore it and run the same command again; what is "
            "finished is kept"
        )
    return content
