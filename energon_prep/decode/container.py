"""Whether the container that media lie in is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from energon_prep.formats import Kind
from energon_prep.samples import Media

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
# RFC 9559: what a Matroska segment and its clusters are made of. Anything else is no element, but
# lost bytes.
_EBML_ELEMENTS = frozenset(
    {
        0x1A45DFA3,
        _SEGMENT,
        0x114D9B74,
        0x1549A966,
        0x1654AE6B,
        0x1C53BB6B,
        0x1941A469,
        0x1043A770,
        0x1254C367,
    }
    | {_CLUSTER, 0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF}
    | {0xEC, 0xBF, 0x1B538667}  # void, checksum, signature
)
_EBML_HEADER = 12  #: bytes of the longest identifier and size
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
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
    before ``start`` are passed over whole, nothing behind ``end`` is looked at, and whether the
    file is cut is told only without ``end``.
    """
    if kind not in _FINDERS:
        return None
    with media.open() as file:
        return _FINDERS[kind](_Bytes(file, media.size), start, end)


def end_of_whole_boxes(media: Media) -> int:
    """Of an MP4 file that is cut: the byte behind its last box that is whole."""
    with media.open() as file:
        data, place = _Bytes(file, media.size), 0
        while True:
            size, _ = _box(data, place)
            if size < 8 or place + size > data.size:
                return place
            place += size


def _box(data: _Bytes, place: int) -> tuple[int, bytes]:
    """Size and name of the box at ``place``. ISO 14496-12: 32 bits of size and four letters; size
    1: 64 bits follow; size 0: up to the end."""
    header = data.at(place, 16)
    size = int.from_bytes(header[:4], "big")
    return int.from_bytes(header[8:], "big") if size == 1 else size, header[4:8]


def _fault_of_boxes(data: _Bytes, start: int, end: int | None) -> str | None:
    place, fragmented = 0, False
    while place + 8 <= (data.size if end is None else end):
        size, name = _box(data, place)
        fragmented |= name == b"moof"
        if size == 0:
            return None
        if size < 8 or not _is_name(name):
            # A file of one piece is found by its index, and may well have something else behind it.
            return _lost(place) if fragmented else None
        place += size
        if place > data.size:
            return _cut(data, place) if end is None else None
    return _cut(data, place + 8) if fragmented and place < data.size and end is None else None


def _fault_of_ebml(data: _Bytes, start: int, end: int | None) -> str | None:
    """RFC 8794: identifiers of 1 to 4 bytes, sizes of 1 to 8; a size whose bits are all set is
    unknown.
    """
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
        if identifier in (_SEGMENT, _CLUSTER) and not is_past:
            # their children follow in the same chain
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


def _fault_of_png(data: _Bytes, start: int, end: int | None) -> str | None:
    """Chunks of 32 bits of length, four letters, and a checksum behind them; the last one is
    IEND.
    """
    place = 8
    while place + 8 <= data.size:
        header = data.at(place, 8)
        place += 12 + int.from_bytes(header[:4], "big")
        if header[4:] == b"IEND":
            break
        if not _is_name(header[4:]):
            return _lost(place)
    else:
        return _cut(data, max(place, data.size) + 12)
    return _cut(data, place) if place > data.size else None


def _fault_of_transport_stream(data: _Bytes, start: int, end: int | None) -> str | None:
    """ISO 13818-1: packets of 188 bytes, of 192 in Blu-ray's files; FFmpeg flags packets that
    follow a gap.
    """
    size = 188 if data.at(0, 1) == b"G" else 192
    short = -data.size % size
    return _cut(data, data.size + short) if short and end is None else None


def _fault_of_program_stream(data: _Bytes, start: int, end: int | None) -> str | None:
    """ISO 13818-1: packs, whose header tells no length, of packets with 16 bits of it; 0xB9 is the
    end.
    """
    place, stop = start, data.size if end is None else end
    while place < stop:
        header = data.at(place, 14)
        code = header[3:4]
        if header[:3] != b"\0\0\1" or not code or code < b"\xb9":
            return _lost(place)
        if code == b"\xb9":
            place += 4
        elif code == b"\xba":
            is_second = header[4:5] >= b"\x40"  # MPEG-2, where stuffing may follow
            place += 14 + (header[-1] & 7) if is_second else 12
        else:
            place += 6 + int.from_bytes(header[4:6], "big")
        if place > data.size:
            return _cut(data, place)
    return None


def _fault_of_flv(data: _Bytes, start: int, end: int | None) -> str | None:
    """Tags of audio, video or data: type, 24 bits of length, 7 bytes more; behind each the length
    of all that.
    """
    place, stop = (
        start or 4 + int.from_bytes(data.at(5, 4), "big"),
        data.size if end is None else end,
    )
    while place < stop:
        header = data.at(place, 11)
        if header[0] & 0x1F not in (8, 9, 18):
            return _lost(place)
        place += 11 + int.from_bytes(header[1:4], "big") + 4
        if place > data.size:
            return _cut(data, place)
    return None


def _fault_of_ogg(data: _Bytes, start: int, end: int | None) -> str | None:
    """RFC 3533: pages, whose header tells the lengths of their segments."""
    place, stop = 0, data.size if end is None else end
    while place < stop:
        header = data.at(place, 27 + 255)
        if not header.startswith(b"OggS"):
            return _lost(place)
        num_segments = header[26] if len(header) > 26 else 0
        place += 27 + num_segments + sum(header[27 : 27 + num_segments])
        if place > data.size:
            return _cut(data, place)
    return None


def _fault_of_asf(data: _Bytes, start: int, end: int | None) -> str | None:
    """Objects of 16 bytes of identifier and 64 bits of size; a live stream's has none.

    The first one, the header, tells the size of the packets of which the second one consists.
    """
    place, packet_size = 0, 0
    while place + 24 <= data.size:
        object_header = data.at(place, 24)
        size = int.from_bytes(object_header[16:], "little")
        if object_header.startswith(_ASF_DATA):
            is_last = size < 24  # a live stream's
            stop = data.size if is_last else min(place + size, data.size)
            fault = _fault_of_asf_packets(
                data, place + 50, packet_size, start, min(stop, end or stop)
            )
            if fault is not None or is_last:
                return fault
        elif place == 0:
            properties = data.at(0, min(size, 2**16)).find(_ASF_PROPERTIES)
            packet_size = (
                int.from_bytes(data.at(properties + 92, 4), "little") if properties > 0 else 0
            )
        place += max(size, 24)
    return _cut(data, place) if place > data.size and end is None else None


def _fault_of_asf_packets(data: _Bytes, first: int, size: int, start: int, stop: int) -> str | None:
    """Every packet begins with the same flags, which zeros do not have."""
    if size == 0:
        return None
    flags = data.at(first, 1)
    for place in range(first + max(0, start - first) // size * size, stop - size + 1, size):
        if data.at(place, 1) != flags or flags == b"\0":
            return _lost(place)
    return None


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
    "png": _fault_of_png,
    "mpegts": _fault_of_transport_stream,
    "mpeg": _fault_of_program_stream,
    "flv": _fault_of_flv,
    "ogg": _fault_of_ogg,
    "asf": _fault_of_asf,
}
