"""Reads a tar's headers, seeking over its data, and tells where the tar is cut or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

BLOCK = 512
END_OF_ARCHIVE = bytes(2 * BLOCK)  #: as we write it
NO_END_MARK = (
    "it has no end-of-archive mark: it was cut behind some member, or written by a tool that "
    "sets none"
)
_WINDOW = 16 * BLOCK  # read at once: captions, JSON and the next header usually lie together
_MAX_EXTENSION = 2**20  # bytes of a PAX header or a GNU long name
_CHUNK = 2**20
_JOINED = "the tar's end mark stands here, and bytes follow it (tars joined with cat?)"

Kind = Literal["file", "directory", "link", "device", "sparse"]
_KINDS: dict[bytes, Kind] = {
    b"\0": "file",
    b"0": "file",
    b"1": "link",
    b"2": "link",
    b"3": "device",
    b"4": "device",
    b"5": "directory",
    b"6": "device",
    b"7": "file",
    b"S": "sparse",
}
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # whatever their size field says
_PAX = (b"x", b"X")  # X: as old Solaris wrote it
_SKIPPED = (b"g", b"K")  # archive-wide records and long link targets: nothing here depends on them


class DamagedTarError(ValueError):
    """A tar that must be whole is not; the message says where and why."""


class Member(NamedTuple):
    """One file in a tar (a NamedTuple: half the time of a frozen dataclass, and there are
    millions).
    """

    name: str
    start: int  #: byte offset of its first header, extension headers included
    data: int  #: byte offset of its content
    size: int  #: bytes of content
    kind: Kind  #: a type that no standard names is a "device": Energon passes over it too

    @property
    def end(self) -> int:
        """Where the next member's first header is, or the end-of-archive mark."""
        return self.data + _padded(self.size)


class Damage(NamedTuple):
    """The place from which on a tar cannot be read."""

    start: int
    what: str
    name: str | None = None  #: the member that is cut, where its header is whole


class _HeaderError(ValueError):
    """The blocks at hand are no tar header."""


def scan_members(path: Path, start: int = 0) -> Iterator[Member | Damage]:
    """``read_members`` of an uncompressed tar from byte ``start`` on."""
    with path.open("rb", buffering=0) as file:
        yield from read_members(file, start)


def whole_members(file: BinaryIO, *, errors: str = "backslashreplace") -> Iterator[Member]:
    """The members of a tar in which nothing may be wrong.

    Raises DamagedTarError at damage, and at a sparse file: Energon takes what is stored of it for
    all of it.
    """
    for item in read_members(file, errors=errors):
        if isinstance(item, Damage):
            where = f"it is cut, damaged or no (uncompressed) tar at byte {item.start}: "
            raise DamagedTarError(("" if item.what == NO_END_MARK else where) + item.what)
        if item.kind == "sparse":
            raise DamagedTarError(f"{item.name} is stored as a sparse file: write it whole")
        yield item


def read_members(
    file: BinaryIO, start: int = 0, *, errors: str = "backslashreplace"
) -> Iterator[Member | Damage]:
    """The members of an uncompressed tar from byte ``start`` on; a Damage, if there is one, comes
    last.

    Reads ustar, PAX, GNU and V7 headers. Nothing is extracted and no link is followed: names are
    only text. ``errors``: what becomes of names that are not UTF-8, see ``bytes.decode``.
    """
    blocks = _Blocks(file)
    offset = start
    while offset < blocks.num_bytes:
        if blocks.is_zero(offset) and offset + BLOCK <= blocks.num_bytes:
            if blocks.any_behind(offset):
                yield Damage(offset, _JOINED)
            return
        try:
            member = _read_member(blocks, offset, errors)
        except _HeaderError as error:
            yield Damage(offset, str(error))
            return
        missing = member.data + member.size - blocks.num_bytes
        if missing > 0:
            yield Damage(
                offset, f"of the member {member.name!r} {missing} bytes are missing", member.name
            )
            return
        yield member
        offset = member.end
    if blocks.num_bytes == 0:
        yield Damage(0, "the file is empty")
    elif start < blocks.num_bytes:
        yield Damage(min(offset, blocks.num_bytes), NO_END_MARK)


class _Blocks:
    """The file in blocks of 512 bytes, several of which come with one system call."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.num_bytes = file.seek(0, 2)
        self._window = b""
        self._window_start = 0

    def at(self, offset: int) -> bytes:
        """The block at ``offset``; shorter at the end of the file."""
        begin = offset - self._window_start
        if not 0 <= begin <= len(self._window) - BLOCK:
            self._window = self._read(offset, _WINDOW)
            self._window_start, begin = offset, 0
        return self._window[begin : begin + BLOCK]

    def is_zero(self, offset: int) -> bool:
        block = self.at(offset)
        return not block[0] and not block.strip(b"\0")

    def extension(self, offset: int, size: int) -> bytes:
        """The data of an extension header."""
        if size > _MAX_EXTENSION:
            raise _HeaderError(f"a header extension claims {size} bytes")
        data = self._read(offset, size)
        if len(data) < size:
            raise _HeaderError("the tar ends within a header extension")
        return data

    def any_behind(self, offset: int) -> bool:
        """Whether anything but zeros follows the block at ``offset``."""
        offset += BLOCK
        while chunk := self._read(offset, _CHUNK):
            if chunk.strip(b"\0"):
                return True
            offset += len(chunk)
        return False

    def _read(self, offset: int, size: int) -> bytes:
        if offset >= self.num_bytes:  # made-up sizes lead beyond what a file system can seek to
            return b""
        self._file.seek(offset)
        return self._file.read(size)


def _read_member(blocks: _Blocks, start: int, errors: str) -> Member:
    """The member whose first header is at ``start``."""
    offset = start
    long_name = b""
    pax: dict[bytes, bytes] = {}
    while True:
        header = blocks.at(offset)
        _check(header)
        size = _number(header[124:136])
        flag = header[156:157]
        offset += BLOCK
        if flag == b"L":
            long_name = blocks.extension(offset, size).split(b"\0", 1)[0]
        elif flag in _PAX:
            pax = _pax_records(blocks.extension(offset, size))
        elif flag not in _SKIPPED:
            break
        offset += _padded(size)
    size = _decimal(pax.get(b"size", b"%d" % size))
    kind = _KINDS.get(flag, "device")
    if flag == b"S":
        offset = _after_sparse_map(blocks, header, offset)
    elif any(record.startswith(b"GNU.sparse.") for record in pax):
        kind = "sparse"
    name = (pax.get(b"path") or long_name or _short_name(header)).decode("utf-8", errors)
    if flag == b"\0" and name.endswith("/"):  # the way of V7 tars
        kind = "directory"
        size = 0
    if flag in _WITHOUT_DATA:
        size = 0
    return Member(name, start, offset, size, kind)


def _check(header: bytes) -> None:
    if len(header) < BLOCK:
        raise _HeaderError("the tar ends within a header")
    try:
        expected = int(header[148:156].split(b"\0", 1)[0].strip() or b"0", 8)
    except ValueError as error:
        raise _HeaderError("here should be a header, and is none") from error
    found = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if found == expected:
        return
    signed = sum(byte - 256 for byte in header if byte > 127) + sum(
        byte for byte in header if byte < 128
    )
    field = sum(byte - 256 if byte > 127 else byte for byte in header[148:156])
    if signed - field + 8 * ord(" ") != expected:  # some old writers summed signed bytes
        raise _HeaderError("here should be a header, and its checksum is wrong")


def _number(field: bytes) -> int:
    """Octal digits, or GNU's base 256 for what they cannot hold."""
    if field[0] == 0x80:
        return _plausible(int.from_bytes(field[1:], "big"))
    try:
        number = int(field.split(b"\0", 1)[0].strip() or b"0", 8)
    except ValueError as error:
        raise _HeaderError(f"a header's size field holds {field!r}") from error
    return _plausible(number)


def _decimal(digits: bytes) -> int:
    try:
        return _plausible(int(digits))
    except ValueError as error:
        raise _HeaderError(f"a PAX header holds {digits[:40]!r} for a number") from error


def _plausible(number: int) -> int:
    if not 0 <= number < 2**62:  # no offset that it leads to is more than the system can hold
        raise _HeaderError(f"a header holds the size {number}")
    return number


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """The ``LENGTH KEY=VALUE\\n`` records of a PAX header."""
    records = {}
    start = 0
    while start < len(data) and data[start] != 0:
        length = _decimal(data[start : start + 20].split(b" ", 1)[0])
        key, equals, value = data[start : start + length].partition(b" ")[2].partition(b"=")
        if not 5 <= length <= len(data) - start or not equals or not value.endswith(b"\n"):
            raise _HeaderError("a PAX header is garbled")
        records[key] = value[:-1]
        start += length
    return records


def _after_sparse_map(blocks: _Blocks, header: bytes, offset: int) -> int:
    """Where the data of an old GNU sparse member begins: behind the blocks of its map."""
    continued = header[482]
    while continued:
        block = blocks.at(offset)
        if len(block) < BLOCK:
            raise _HeaderError("the tar ends within a sparse file's map")
        continued = block[504]
        offset += BLOCK
    return offset


def _short_name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    # GNU tars keep other things in place of the prefix
    if header[257:263] == b"ustar\0" and header[345]:
        return header[345:500].split(b"\0", 1)[0] + b"/" + name
    return name


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
