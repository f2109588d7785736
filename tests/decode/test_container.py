from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.decode import container
from energon_prep.formats import kind_of
from energon_prep.samples import Media
from tests.media_files import FORMATS, make_animation, make_video

FILES = {name: make_video(name, num=6) for name in FORMATS}
FILES |= {suffix: make_animation(suffix.upper(), [50] * 4) for suffix in ("gif", "webp", "avif")}


def find_fault(data: bytes, kind: str, **options: int | None) -> str | None:
    return container.find_fault(Media.of(data), kind, **options)


@pytest.mark.parametrize("name", FILES)
def test_whole_files_have_no_fault(name):
    assert find_fault(FILES[name], kind_of(FILES[name])) is None


@pytest.mark.parametrize("name", FILES)
def test_every_cut_is_found(name):
    data = FILES[name]
    missed = [end for end in range(64, len(data)) if find_fault(data[:end], kind_of(data)) is None]
    # What ends between two elements, or less than an element's header behind one, is as whole as it
    # looks.
    boundaries = {
        "mp4": 5 * 8,
        "avif": 5 * 8,
        "asf": 2 * 24,
        "mpegts": len(data) // 188,
        "mpeg": 5,
        "flv": 10,
        "ogg": 3,
    }
    assert len(missed) <= boundaries.get(kind_of(data), 0)


@pytest.mark.parametrize(
    "name", [name for name in FORMATS if name.startswith(("webm", "mkv", "avi"))]
)
def test_holes_are_found_as_far_as_one_looks(name):
    data = bytearray(FILES[name])
    place = len(data) * 2 // 3
    data[place : place + len(data) // 4] = bytes(len(data) // 4)
    kind = kind_of(FILES[name])
    assert "broken at byte" in (find_fault(bytes(data), kind) or "")
    assert find_fault(bytes(data), kind, end=len(data) // 5) is None


def test_unknown_sizes():
    """Of the segment and its clusters, as they are streamed."""
    data = make_video("webm-vp9", num=6, container_options={"live": "1"})
    assert b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" in data
    assert find_fault(data, "matroska") is None
    assert find_fault(data[:-1], "matroska") is not None


def test_something_behind_the_last_box_is_no_fault():
    data = FILES["mp4-h264"]
    assert find_fault(data + bytes(100), "mp4") is None
    assert find_fault(data + b"\xff" * 100, "mp4") is None


def test_large_boxes():
    """A size of 1 says that 64 bits of size follow, 0 that the box goes on to the end."""
    data = FILES["mp4-h264"]
    assert find_fault(data + struct.pack(">I4sQ", 1, b"free", 20) + bytes(4), "mp4") is None
    assert find_fault(data + struct.pack(">I4sQ", 1, b"free", 21) + bytes(4), "mp4") is not None
    assert find_fault(data + struct.pack(">I4s", 0, b"mdat") + bytes(4), "mp4") is None


@given(data=st.binary(max_size=200), head=st.sampled_from([data[:60] for data in FILES.values()]))
def test_any_bytes_have_a_kind_and_at_most_a_fault(data, head):
    for kind in ("mp4", "matroska", "avi", "gif", "webp", "avif", "image", "unknown"):
        for end in (None, 0, 10, len(data)):
            fault = find_fault(head + data, kind, end=end)
            assert fault is None or str(fault)
