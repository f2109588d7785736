"""Station 2, decode: whether the container that media lie in is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from energon_prep.formats import Kind
from energon_prep.samples import Media

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
# RFC 9559: what a Matroska segment and its clusters are made of. Anything else is no element, but lost bytes.
_EBML_ELEMENTS = frozenset(
    {0x1A45DFA3, _SEGMENT, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
    | {_CLUSTER, 0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF}
    | {0xEC, 0xBF, 0x1B538667}  # void, checksum, signature
)
_EBML_HEADER = 12  #: bytes of the longest identifier and size
_RIFF_LISTS = (b"RIFF", b"LIST")


class _Bytes:
    """The bytes of an open file by their places. Those behind its end are none."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size

    def at(self, place: int, num: int) -> bytes:
        self._file.seek(place)
        return self._file.read(num)


def find_fault(media: Media, kind: Kind, *, start: int = 0, end: int | None = None) -> str | None:
    """What is wrong with the container's structure, None if it is whole.

    Containers are chains of elements that tell their own lengths. A cut file ends before its last
    element does, and where bytes were lost no element begins. FFmpeg and Pillow pass over both in
    silence and give fewer frames. What lies within an element is not looked at, nor read.

    ``start``, ``end``: the first and the last byte that matter. Groups of elements that are over
    before ``start`` are passed over whole, nothing behind ``end`` is looked at, and whether the file
    is cut is told only without ``end``.
    """
    if kind not in _FINDERS:
        return None
    with media.open() as file:
        return _FINDERS[kind](_Bytes(file, media.size), start, end)


def _fault_of_boxes(data: _Bytes, start: int, end: int | None) -> str | None:
    """ISO 14496-12: boxes of 32 bits of size and four letters; size 1: 64 bits follow; size 0: up to the end."""
    place, fragmented = 0, False
    while place + 8 <= (data.size if end is None else end):
        header = data.at(place, 16)
        size, name = int.from_bytes(header[:4], "big"), header[4:8]
        fragmented |= name == b"moof"
        if size == 1:
            size = int.from_bytes(header[8:], "big")
        if size == 0:
            return None
        if size < 8 or not _is_name(name):
            # A file of one piece is found by its index, and may well have something else behind it.
            return _lost(place) if fragmented else None
        place += size
        if place > data.size:
            return _cut(data, place) if end is None else None
    return None


def _fault_of_ebml(data: _Bytes, start: int, end: int | None) -> str | None:
    """RFC 8794: identifiers of 1 to 4 bytes, sizes of 1 to 8; a size whose bits are all set is unknown."""
    place, stop = 0, data.size if end is None else min(end, data.size)
    while place < stop:
        header = data.at(place, _EBML_HEADER)
        if not header:  # the file has become shorter
            return _cut(data, place + 1)
        id_length = 9 - header[0].bit_length()
        identifier = int.from_bytes(header[:id_length], "big")
        if identifier not in _EBML_ELEMENTS or id_length >= len(header):
            return _lost(place)
        size_length = 9 - header[id_length].bit_length()
        unknown = (1 << 7 * size_length) - 1
        size = int.from_bytes(header[id_length : id_length + size_length], "big") & unknown
        place += id_length + size_length
        if identifier == _SEGMENT and size != unknown and end is None:
            stop = place + size
            if stop > data.size:
                return _cut(data, stop)
        is_past = identifier == _CLUSTER and size != unknown and place + size <= start
        if identifier in (_SEGMENT, _CLUSTER) and not is_past:  # their children follow in the same chain
            continue
        place += size
        if place > data.size:
            return _cut(data, place)
    return None


def _fault_of_avi(data: _Bytes, start: int, end: int | None) -> str | None:
    """Chunks of four letters and 32 bits of size, padded to even lengths; lists hold chunks."""
    place = 0
    while place + 8 <= (data.size if end is None else end):
        header = data.at(place, 8)
        name, size = header[:4], int.from_bytes(header[4:], "little")
        if not _is_name(name):
            return _lost(place)
        if place + 8 + size > data.size and (end is None or name not in _RIFF_LISTS):
            return _cut(data, place + 8 + size)
        place += 12 if name in _RIFF_LISTS else 8 + size
        if place % 2 and not _is_name(data.at(place, 4)):  # some writers do not pad
            place += 1
    return None


def _fault_of_webp(data: _Bytes, start: int, end: int | None) -> str | None:
    size = 8 + int.from_bytes(data.at(4, 4), "little")
    return _cut(data, size) if size > data.size else None


def _fault_of_gif(data: _Bytes, start: int, end: int | None) -> str | None:
    """GIF89a: a header, then blocks of sub-blocks, then a trailer."""
    place = 13 + _color_table(data.at(10, 1))
    while place < data.size:
        label = data.at(place, 1)[0]
        if label == 0x3B:
            return None
        if label == 0x21:  # an extension
            place += 2
        elif label == 0x2C:  # an image
            place += 11 + _color_table(data.at(place + 9, 1))
        else:
            return _lost(place)
        while place < data.size and (length := data.at(place, 1)[0]):
            place += 1 + length
        place += 1
    return _cut(data, place + 1)


def _color_table(flags: bytes) -> int:
    """Bytes of the table that these flags announce."""
    return 3 * 2 ** (1 + flags[0] % 8) if flags and flags[0] & 0x80 else 0


def _is_name(name: bytes) -> bool:
    """Four printable letters; QuickTime's own begin with a copyright sign."""
    return len(name) == 4 and all(0x20 <= byte < 0x7F or byte == 0xA9 for byte in name)


def _cut(data: _Bytes, needed: int) -> str:
    return f"the file ends at byte {data.size}, {needed - data.size} short"


def _lost(place: int) -> str:
    return f"the container is broken at byte {place}"


_FINDERS: dict[Kind, Callable[[_Bytes, int, int | None], str | None]] = {
    "mp4": _fault_of_boxes,
    "avif": _fault_of_boxes,
    "matroska": _fault_of_ebml,
    "avi": _fault_of_avi,
    "webp": _fault_of_webp,
    "gif": _fault_of_gif,
}
