from __future__ import annotations

import struct

import pytest

from energon_prep import formats
from energon_prep.formats import (
    FORMATS,
    SuffixRole,
    kind_of,
    kind_of_suffix,
    role_of,
    suffix_of,
)
from tests.decode.files import smooth, written


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        *(
            (written(smooth(9, 9), name), name.lower())
            for name in ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "AVIF")
        ),
        (struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic", "heif"),
        (struct.pack(">I", 28) + b"ftypmif1\0\0\0\0mif1avifmiaf", "avif"),
        (struct.pack(">I", 28) + b"ftypisom\0\0\0\0isomav01mp41", "mp4"),
        (struct.pack(">I", 8) + b"wide" + struct.pack(">I", 100) + b"mdat", "mp4"),
        (b"RIFF\x24\0\0\0AVI LIST", "avi"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "unknown"),
        (b"text, WEBP", "unknown"),
        (b"\xff\x0a" + bytes(20), "jxl"),
        ((b"\x47" + bytes(187)) * 3, "mpegts"),
        ((bytes(4) + b"\x47" + bytes(187)) * 3, "mpegts"),
        (b"Good morning" + bytes(188) + b"G", "unknown"),
        (b"#EXTM3U\n", "unknown"),
        (b"\x47" + bytes(187), "unknown"),
        (b"", "unknown"),
        (b"RI", "unknown"),
    ],
)
def test_kind_by_content(data: bytes, kind: str) -> None:
    assert kind_of(data) == kind


@pytest.mark.parametrize(
    ("suffix", "role"),
    [
        (".JFIF", SuffixRole(role="image")),
        (".m2ts", SuffixRole(role="video")),
        (".psd", SuffixRole(role="not read", remedy="convert to PNG or MP4")),
        (".txt", SuffixRole(role="unknown")),
        ("", SuffixRole(role="unknown")),
    ],
)
def test_role_of_a_suffix(suffix: str, role: SuffixRole) -> None:
    assert role_of(suffix) == role


@pytest.mark.parametrize(
    ("suffix", "extra"), [(".heic", "heif"), (".HEIF", "heif"), (".jxl", "jxl")]
)
def test_what_needs_an_extra_is_told(
    monkeypatch: pytest.MonkeyPatch, suffix: str, extra: str
) -> None:
    monkeypatch.setattr(formats, "has_plugin", lambda kind: False)
    assert role_of(suffix) == SuffixRole(
        role="needs extra", remedy=f"pip install 'energon-prep[{extra}]'"
    )
    monkeypatch.setattr(formats, "has_plugin", lambda kind: True)
    assert role_of(suffix) == SuffixRole(role="image")


def test_no_suffix_is_of_two_kinds() -> None:
    suffixes = [suffix for known in FORMATS.values() for suffix in known.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert all(kind_of_suffix(known.suffixes[0]) == kind for kind, known in FORMATS.items())
    assert not formats._NOT_READ & set(suffixes)


def test_suffix_is_the_last_one_in_lower_case() -> None:
    assert [suffix_of(name) for name in ("a.b.JPG", "x/y.z/plain", "a.tar.gz")] == [
        ".jpg",
        "",
        ".gz",
    ]
