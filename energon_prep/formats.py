"""The media that are read: their names, suffixes and first bytes, in one table for every
station.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from typing import Literal

Kind = Literal[
    "jpeg", "png", "webp", "gif", "bmp", "tiff", "avif", "heif", "jxl",
    "mp4", "matroska", "avi", "mpegts", "mpeg", "flv", "asf", "ogg",
    "unknown",
]  # fmt: skip

#: How many of a file's first bytes ``kind_of`` wants to see.
HEAD_BYTES = 1024


@dataclass(frozen=True, kw_only=True)
class Format:
    """One kind of media."""

    title: str  #: as messages call it
    media: Literal["image", "video"]
    suffixes: tuple[str, ...]  #: the first one is given to media without a name
    animated: bool = False  #: whether an image of this kind may have several frames
    extra: str | None = None  #: of energon-prep, which installs ``plugin``
    plugin: str | None = None  #: module that decodes it


@dataclass(frozen=True, kw_only=True)
class SuffixRole:
    """What becomes of files with one suffix."""

    role: Literal["image", "video", "needs extra", "not read", "unknown"]
    remedy: str = ""  #: a line to run, for "needs extra"; what to do, for "not read"


FORMATS: dict[Kind, Format] = {
    "jpeg": Format(
        title="JPEG",
        media="image",
        suffixes=(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".mpo"),
    ),
    "png": Format(title="PNG", media="image", suffixes=(".png", ".apng"), animated=True),
    "webp": Format(title="WebP", media="image", suffixes=(".webp",), animated=True),
    "bmp": Format(title="BMP", media="image", suffixes=(".bmp", ".dib")),
    "tiff": Format(title="TIFF", media="image", suffixes=(".tif", ".tiff")),
    "gif": Format(title="GIF", media="image", suffixes=(".gif",), animated=True),
    "avif": Format(title="AVIF", media="image", suffixes=(".avif",), animated=True),
    "heif": Format(
        title="HEIC", media="image", suffixes=(".heic", ".heif"), extra="heif", plugin="pillow_heif"
    ),
    "jxl": Format(
        title="JPEG XL", media="image", suffixes=(".jxl",), extra="jxl", plugin="pillow_jxl"
    ),
    "mp4": Format(
        title="MP4 or MOV", media="video", suffixes=(".mp4", ".mov", ".m4v", ".3gp", ".3g2")
    ),
    "matroska": Format(title="WebM or Matroska", media="video", suffixes=(".mkv", ".webm")),
    "avi": Format(title="AVI", media="video", suffixes=(".avi",)),
    "mpegts": Format(
        title="MPEG transport stream", media="video", suffixes=(".ts", ".mts", ".m2ts")
    ),
    "mpeg": Format(title="MPEG program stream", media="video", suffixes=(".mpg", ".mpeg")),
    "flv": Format(title="FLV", media="video", suffixes=(".flv",)),
    "asf": Format(title="WMV", media="video", suffixes=(".wmv", ".asf")),
    "ogg": Format(title="Ogg", media="video", suffixes=(".ogv",)),
}

#: Images and videos that are not read, so that files of them are told apart from what is no media
#: at all.
_NOT_READ = {
    ".svg",
    ".svgz",
    ".psd",
    ".psb",
    ".xcf",
    ".ai",
    ".eps",
    ".pdf",
    ".exr",
    ".hdr",
    ".tga",
    ".dds",
    ".ico",
    ".cur",
    ".jp2",
    ".j2k",
    ".jpx",
    ".jxr",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
    ".pcx",
    ".sgi",
    ".qoi",
    ".raw",
    ".cr2",
    ".cr3",
    ".nef",
    ".arw",
    ".dng",
    ".orf",
    ".rw2",
    ".raf",
    ".pef",
    ".srw",
    ".vob",
    ".m2v",
    ".mxf",
    ".y4m",
    ".h264",
    ".hevc",
    ".dv",
    ".rm",
    ".rmvb",
    ".swf",
    ".m3u8",
    ".mpd",
}

_MAGIC: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (0, b"BM", "bmp"),
    *(
        (0, prefix, "tiff")
        for prefix in (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")
    ),
    (8, b"WEBP", "webp"),
    (0, b"\xff\x0a", "jxl"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (8, b"AVI ", "avi"),
    (0, b"\0\0\x01\xba", "mpeg"),
    (0, b"FLV\x01", "flv"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", "asf"),
    (0, b"OggS", "ogg"),
)
# What an MP4 or QuickTime file can begin with; old QuickTime files have no "ftyp".
_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"wide", b"free", b"skip", b"pnot")
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"mif1", b"msf1", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"})
# A transport stream's packets begin with 0x47: (offset of the first, packet size); Blu-ray's have a
# time before it.
_TRANSPORT_PACKETS = ((0, 188), (4, 192))


def kind_of(head: bytes) -> Kind:
    """The kind of media that ``head``, the first HEAD_BYTES of a file (or all it has), begins
    as.
    """
    if head[4:8] in _FIRST_BOXES:
        return _kind_of_boxes(head)
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic and (
            offset == 0 or head.startswith(b"RIFF")
        ):
            return kind
    return (
        "mpegts"
        if any(_is_transport_stream(head, *packets) for packets in _TRANSPORT_PACKETS)
        else "unknown"
    )


def is_video(kind: Kind) -> bool:
    return kind in FORMATS and FORMATS[kind].media == "video"


def suffix_for(kind: Kind) -> str:
    """The suffix that media of this kind get where they have no name; "" for the unknown."""
    return FORMATS[kind].suffixes[0] if kind in FORMATS else ""


@cache
def has_plugin(kind: Kind) -> bool:
    """Whether what decodes this kind is installed."""
    plugin = FORMATS[kind].plugin
    return plugin is None or importlib.util.find_spec(plugin) is not None


def install_line(kind: Kind) -> str:
    """What to run to have ``kind`` decoded."""
    return f"pip install 'energon-prep[{FORMATS[kind].extra}]'"


def suffix_of(name: str) -> str:
    """The last suffix in lower case with its dot, "" if there is none: ``a.b.JPG`` -> ``.jpg``."""
    stem, _, suffix = name.rpartition("/")[2].rpartition(".")
    return f".{suffix.lower()}" if stem and suffix else ""


def role_of(suffix: str) -> SuffixRole:
    """What becomes of files with ``suffix`` (".jpg", in any case): read as an image or video, or
    why not.
    """
    suffix = suffix.lower()
    kind = kind_of_suffix(suffix)
    if kind == "unknown":
        known = suffix in _NOT_READ
        return (
            SuffixRole(role="not read", remedy="convert to PNG or MP4")
            if known
            else SuffixRole(role="unknown")
        )
    if not has_plugin(kind):
        return SuffixRole(role="needs extra", remedy=install_line(kind))
    return SuffixRole(role=FORMATS[kind].media)


def kind_of_suffix(suffix: str) -> Kind:
    """The kind that files with ``suffix`` (".jpg") claim to be."""
    return next(
        (kind for kind, known in FORMATS.items() if suffix.lower() in known.suffixes), "unknown"
    )


def _suffixes(media: str) -> tuple[str, ...]:
    kinds = [kind for kind, known in FORMATS.items() if known.media == media and has_plugin(kind)]
    return tuple(suffix for kind in kinds for suffix in FORMATS[kind].suffixes)


#: Suffixes of images and videos that can be read here; of a sample with several media, the first
#: here is taken.
IMAGE_SUFFIXES = _suffixes("image")
VIDEO_SUFFIXES = _suffixes("video")
MEDIA_SUFFIXES = IMAGE_SUFFIXES + VIDEO_SUFFIXES


def _kind_of_boxes(head: bytes) -> Kind:
    """By the brands of an ISO media file, first of all the major one."""
    if head[4:8] != b"ftyp" or head[8:12] not in _AVIF_BRANDS | _HEIF_BRANDS:
        return "mp4"
    end = min(int.from_bytes(head[:4], "big"), 256)
    brands = {head[start : start + 4] for start in (8, *range(16, end, 4))}
    return "avif" if brands & _AVIF_BRANDS else "heif"


def _is_transport_stream(head: bytes, first: int, size: int) -> bool:
    """Whether each of the first packets (five, or all of a shorter file) begins as one does."""
    starts = range(first, min(len(head), first + 5 * size), size)
    return len(starts) >= 2 and all(head[start] == 0x47 for start in starts)
