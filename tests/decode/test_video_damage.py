"""Files that are cut, have holes or are made to do harm."""

from __future__ import annotations

import io
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energon_prep.decode.container import find_fault
from energon_prep.errors import SampleError
from energon_prep.formats import is_video, kind_of
from energon_prep.recipes.model import Limits
from energon_prep.samples import Media
from tests.decode.videos import clips, numbers, rejected
from tests.media_files import FORMATS, Pixels, make_video, numbered

NUM = 24


def grainy(number: int, height: int, width: int) -> Pixels:
    """With noise, which makes every packet large, as in real footage."""
    noise = np.random.default_rng(number).integers(-12, 12, (height, width, 3))
    return np.clip(numbered(number, height, width) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {
        name: make_video(name, num=NUM, height=64, width=128, picture=grainy) for name in FORMATS
    }


@pytest.fixture(scope="module")
def whole(files) -> dict[str, Pixels]:
    return {name: clips(data)[0].pixels for name, data in files.items()}


@pytest.mark.parametrize("name", FORMATS)
def test_a_cut_file_gives_the_frames_asked_for_or_none(files, whole, name):
    """Never fewer, never others."""
    data, num_good = files[name], 0
    for share in np.linspace(0.01, 0.999, 16):
        cut = data[: int(len(data) * share)]
        if kind_of(cut) == "unknown":  # less than two packets of a transport stream
            continue
        try:
            (clip,) = clips(cut, "head", 9)
        except SampleError as error:
            assert (error.stage, error.reason) == ("decode", "damaged video")
            assert re.match(r"decoded [0-8] of 9 frames: .", error.detail)
        else:
            np.testing.assert_array_equal(clip.pixels, whole[name][:9])
            num_good += 1
        for mode in ("head", "uniform"):  # which want more than there is
            assert rejected(cut, mode).reason == "damaged video", (mode, share)
    assert num_good >= 3


@pytest.mark.parametrize("name", ["mp4-h264", "webm-vp9", "mkv-hevc"])
def test_the_last_byte_counts(files, name):
    error = rejected(files[name][:-1])
    assert error.reason == "damaged video"
    assert "decoded " in error.detail and " of 1000 frames" in error.detail


def test_a_short_video_is_no_damaged_one(files):
    for data in files.values():
        assert clips(data, "head", 1000)[0].pixels.shape[0] == NUM


def test_the_count_is_of_frames_in_hand(files):
    data = files["webm-vp9"]
    error = rejected(data[: len(data) // 2], "head", 33)
    assert 4 < int(re.match(r"decoded (\d+) of 33 frames", error.detail).group(1)) < 14
    error = rejected(data[: len(data) // 2], "uniform", 33)
    assert re.match(r"decoded 0 of 33 frames: .*, after \d+ frames", error.detail)
    error = rejected(data[: len(data) // 2], "images")
    assert re.match(r"decoded \d+ frames: the file ends at byte", error.detail)


@pytest.mark.parametrize("name", FORMATS)
def test_a_hole_is_found(files, whole, name):
    """A stretch of zeros, as broken downloads have, over the beginning of some packets."""
    data = files[name]
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        packets = [
            (packet.pos, packet.size)
            for packet in container.demux(stream)
            if packet.size and packet.pos
        ]
    found = 0
    holes = packets[3:21:3]
    for position, size in holes:
        # with the packet's own header
        before = 16 if name.startswith(("webm", "mkv", "avi")) else 0
        hole = bytearray(data)
        hole[position - before : position + size // 2] = bytes(size // 2 + before)
        try:
            (clip,) = clips(bytes(hole))
        except SampleError as error:
            assert error.reason == "damaged video"
            found += 1
        else:
            assert clip.pixels.shape[0] == NUM  # nothing is ever missing
    assert found >= max(len(holes) - 1, 1)


def test_a_hole_behind_what_is_wanted_does_no_harm(files, whole):
    for name in ("mp4-h264", "webm-vp9", "avi-mjpeg"):
        data = bytearray(files[name])
        place = len(data) * 3 // 4
        data[place : place + 4096] = bytes(4096)
        (clip,) = clips(bytes(data), "head", 9)
        np.testing.assert_array_equal(clip.pixels, whole[name][:9])


def test_a_hole_before_the_clip_is_damage(files):
    data = bytearray(files["webm-vp9"])
    place = len(data) // 4
    data[place : place + 8192] = bytes(8192)
    assert rejected(bytes(data), "clip", 5, metadata={"clip": [0.8, 0.9]}).reason == "damaged video"


def test_an_index_at_the_end_that_is_cut_off():
    data = make_video(container_options={"movflags": "-faststart"})
    assert data.index(b"moov") > data.index(b"mdat")
    assert numbers(data) == [list(range(30))]
    error = rejected(data[: data.index(b"moov") + 100])
    assert (error.reason, error.detail[:21]) == ("damaged video", "decoded 0 of 1000 fra")


def test_fragments():
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    data = make_video(container_options=options)
    assert numbers(data) == [list(range(30))]
    assert numbers(data, "uniform", 4) == [[0, 10, 19, 29]]
    assert numbers(data, "clip", metadata={"clip": [0.5, 0.75]}) == [list(range(12, 18))]
    second = data.index(b"moof", data.index(b"moof") + 4)
    assert rejected(data[: second + 20]).reason == "damaged video"
    assert numbers(data[: second + 20], "head", 5) == [[0, 1, 2, 3, 4]]
    hole = bytearray(data)
    hole[second - 4 : second + 20] = b"\1" * 24
    assert rejected(bytes(hole)).reason == "damaged video"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\0\0\x20ftypisom" + bytes(2000), "not a video FFmpeg can read"),
        (b"\x1aE\xdf\xa3" + bytes(2000), "damaged video"),
        (b"RIFF\xff\xff\0\0AVI " + b"x" * 2000, "damaged video"),
        (b"\0\0\0\x08moov", "no video stream"),
    ],
)
def test_what_only_looks_like_a_video(data, reason):
    assert rejected(data).reason == reason


def test_no_picture_at_all():
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mov") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert rejected(buffer.getvalue()).reason == "no video stream"


def test_playlists_and_other_demuxers_are_out_of_reach(tmp_path):
    """FFmpeg would follow them to other files and addresses."""
    (tmp_path / "real.mp4").write_bytes(make_video(num=2))
    playlist = f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path}/real.mp4\n#EXT-X-ENDLIST\n".encode()
    assert kind_of(playlist) == "unknown"
    concat = f"ffconcat version 1.0\nfile {tmp_path}/real.mp4\n".encode()
    assert kind_of(concat) == "unknown"
    for disguise in (b"\0\0\0\x10ftypisom\0\0\0\0", b"\x1aE\xdf\xa3"):
        assert rejected(disguise + playlist).stage == "decode"


def test_a_size_that_is_too_large_is_refused_before_it_is_decoded(files):
    data = bytearray(files["mkv-ffv1"])
    # PixelWidth 128, PixelHeight 64, of one byte each
    place = data.index(b"\xb0\x81\x80\xba\x81\x40")
    data[place : place + 6] = b"\xb0\x81\xff\xba\x81\xff"
    assert rejected(bytes(data), limits=Limits(max_pixels=60000)).detail == "255x255"


def test_ffmpeg_is_silent(tmp_path, files):
    """Its decoders write to stderr by themselves, past Python."""
    data = files["mp4-h264"]
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    (tmp_path / "hole.webm").write_bytes(
        files["webm-vp9"][:3000] + bytes(9000) + files["webm-vp9"][12000:]
    )
    code = """
import sys
from pathlib import Path
from energon_prep.errors import SampleError
from tests.decode.videos import clips
for name in sys.argv[1:]:
    try:
        clips(Path(name).read_bytes())
    except SampleError as error:
        print(error.reason)
"""
    paths = [str(tmp_path / name) for name in ("cut.mp4", "hole.webm")]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["damaged video"] * 2
    assert done.stderr == ""


def test_threads_decode_alike(files, whole):
    names = [name for name in files for _ in range(3)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda name: clips(files[name], "uniform", 9)[0].pixels, names))
    for name, pixels in zip(names, together, strict=True):
        np.testing.assert_array_equal(pixels, whole[name][[0, 3, 6, 9, 12, 14, 17, 20, 23]])


SMALL = {name: make_video(name, num=8) for name in FORMATS}


@settings(max_examples=200, deadline=5000)
@given(
    name=st.sampled_from(list(SMALL)),
    mode=st.sampled_from(["head", "uniform", "chunks", "clip"]),
    seed=st.integers(0, 2**32),
    headers_only=st.booleans(),
)
def test_mutated_files_give_frames_or_a_sample_error(name, mode, seed, headers_only):
    data, lots = bytearray(SMALL[name]), random.Random(seed)
    for _ in range(lots.randint(1, 8)):
        data[lots.randrange(min(len(data), 1000 if headers_only else len(data)))] = lots.randrange(
            256
        )
    kind = kind_of(bytes(data))
    find_fault(Media.of(bytes(data)), kind)
    if not is_video(kind):
        return
    try:
        found = clips(
            bytes(data),
            mode,
            5,
            step=4,
            metadata={"clip": [0.1, 0.3]},
            limits=Limits(max_pixels=10**6),
        )
    except SampleError as error:
        assert error.stage == "decode"
    else:
        assert all(clip.pixels.shape[0] in (1, 5) for clip in found)
