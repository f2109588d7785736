"""Station 2, decode: which container media bytes are, by their content, and whether the container is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Kind = Literal["mp4", "matroska", "avi", "gif", "webp", "avif", "image", "unknown"]

VIDEOS: frozenset[Kind] = frozenset({"mp4", "matroska", "avi"})
ANIMATIONS: frozenset[Kind] = frozenset({"gif", "webp", "avif"})  #: images that may have several frames

# What an MP4 or QuickTime file can begin with; old QuickTime files have no "ftyp".
_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"wide", b"free", b"skip", b"pnot")
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II", b"MM")  # JPEG, PNG, BMP, TIFF
_HEIF_BRANDS = (b"mif1", b"msf1", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis")
_AVIF_BRANDS = (b"avif", b"avis")

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
# RFC 9559: what a Matroska segment and its clusters are made of. Anything else is no element, but lost bytes.
_EBML_ELEMENTS = frozenset(
    {0x1A45DFA3, _SEGMENT, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
    | {_CLUSTER, 0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF}
    | {0xEC, 0xBF, 0x1B538667}  # void, checksum, signature
)
_RIFF_LISTS = (b"RIFF", b"LIST")


def kind_of(data: bytes) -> Kind:
    """The kind of media that ``data`` begins as."""
    if data[4:8] in _FIRST_BOXES:
        if data[4:8] == b"ftyp" and data[8:12] in _AVIF_BRANDS + _HEIF_BRANDS:
            return "avif" if set(_AVIF_BRANDS) & set(_brands(data)) else "image"
        return "mp4"
    if data.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    if data.startswith(b"RIFF") and data[8:12] == b"AVI ":
        return "avi"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return "image" if data.startswith(_IMAGES) else "unknown"


def find_fault(data: bytes, kind: Kind, *, end: int | None = None) -> str | None:
    """What is wrong with the container's structure, None if it is whole. ``end``: look no further than this byte.

    Containers are chains of elements that tell their own lengths. A cut file ends before its last element does, and
    where bytes were lost no element begins. FFmpeg and Pillow pass over both in silence and give fewer frames. What
    lies within an element is not looked at. Whether the file is cut is told only without ``end``.
    """
    return _FINDERS[kind](data, end)


def _fault_of_boxes(data: bytes, end: int | None) -> str | None:
    """ISO 14496-12: boxes of 32 bits of size and four letters; size 1: 64 bits follow; size 0: up to the end."""
    place, fragmented = 0, False
    while place + 8 <= (len(data) if end is None else end):
        size, name = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        fragmented |= name == b"moof"
        if size == 1:
            size = int.from_bytes(data[place + 8 : place + 16], "big")
        if size == 0:
            return None
        if size < 8 or not _is_name(name):
            # A file of one piece is found by its index, and may well have something else behind it.
            return _lost(place) if fragmented else None
        place += size
        if place > len(data):
            return _cut(data, place) if end is None else None
    return None


def _fault_of_ebml(data: bytes, end: int | None) -> str | None:
    """RFC 8794: identifiers of 1 to 4 bytes, sizes of 1 to 8; a size whose bits are all set is unknown."""
    place, stop = 0, len(data) if end is None else end
    while place < stop:
        id_length = 9 - data[place].bit_length()
        identifier = int.from_bytes(data[place : place + id_length], "big")
        if identifier not in _EBML_ELEMENTS or place + id_length >= len(data):
            return _lost(place)
        place += id_length
        size_length = 9 - data[place].bit_length()
        unknown = (1 << 7 * size_length) - 1
        size = int.from_bytes(data[place : place + size_length], "big") & unknown
        place += size_length
        if identifier == _SEGMENT and size != unknown and end is None:
            stop = place + size
            if stop > len(data):
                return _cut(data, stop)
        if identifier in (_SEGMENT, _CLUSTER):  # their children follow in the same chain
            continue
        place += size
        if place > len(data):
            return _cut(data, place)
    return None


def _fault_of_avi(data: bytes, end: int | None) -> str | None:
    """Chunks of four letters and 32 bits of size, padded to even lengths; lists hold chunks."""
    place = 0
    while place + 8 <= (len(data) if end is None else end):
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if not _is_name(name):
            return _lost(place)
        if place + 8 + size > len(data) and (end is None or name not in _RIFF_LISTS):
            return _cut(data, place + 8 + size)
        place += 12 if name in _RIFF_LISTS else 8 + size
        if place % 2 and not _is_name(data[place : place + 4]):  # some writers do not pad
            place += 1
    return None


def _fault_of_webp(data: bytes, end: int | None) -> str | None:
    size = 8 + int.from_bytes(data[4:8], "little")
    return _cut(data, size) if size > len(data) else None


def _fault_of_gif(data: bytes, end: int | None) -> str | None:
    """GIF89a: a header, then blocks of sub-blocks, then a trailer."""
    place = 13 + _color_table(data[10:11])
    while place < len(data):
        label = data[place]
        if label == 0x3B:
            return None
        if label == 0x21:  # an extension
            place += 2
        elif label == 0x2C:  # an image
            place += 11 + _color_table(data[place + 9 : place + 10])
        else:
            return _lost(place)
        while place < len(data) and data[place]:
            place += 1 + data[place]
        place += 1
    return _cut(data, place + 1)


def _color_table(flags: bytes) -> int:
    """Bytes of the table that these flags announce."""
    return 3 * 2 ** (1 + flags[0] % 8) if flags and flags[0] & 0x80 else 0


def _brands(data: bytes) -> list[bytes]:
    end = min(int.from_bytes(data[:4], "big"), 256)
    return [data[start : start + 4] for start in (8, *range(16, end, 4))]


def _is_name(name: bytes) -> bool:
    """Four printable letters; QuickTime's own begin with a copyright sign."""
    return len(name) == 4 and all(0x20 <= byte < 0x7F or byte == 0xA9 for byte in name)


def _cut(data: bytes, needed: int) -> str:
    return f"the file ends at byte {len(data)}, {needed - len(data)} short"


def _lost(place: int) -> str:
    return f"the container is broken at byte {place}"


_FINDERS: dict[Kind, Callable[[bytes, int | None], str | None]] = {
    "mp4": _fault_of_boxes,
    "avif": _fault_of_boxes,
    "matroska": _fault_of_ebml,
    "avi": _fault_of_avi,
    "webp": _fault_of_webp,
    "gif": _fault_of_gif,
    "image": lambda data, end: None,
    "unknown": lambda data, end: None,
}
