"""Which of a file's streams is decoded, by which decoder, and where it begins."""

from __future__ import annotations

import re
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from energon_prep.formats import kind_of, suffix_for
from tests.decode.videos import clips, numbers, rejected
from tests.media_files import Pixels, make_video, numbered, numbers_of


def two_tracks(suffix: str, sizes: list[tuple[int, int]], default: int | None) -> bytes:
    """Each track's frames count from its number times 100."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"v.{suffix}")
        options = {"default_mode": "passthrough"} if suffix == "mkv" else {}
        with av.open(str(path), "w", options=options) as container:
            streams = [container.add_stream("mpeg4", rate=24) for _ in sizes]
            for number, (stream, (height, width)) in enumerate(zip(streams, sizes, strict=True)):
                stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
                stream.disposition = av.stream.Disposition(int(number == default))
            for number in range(4):
                for track, (stream, (height, width)) in enumerate(zip(streams, sizes, strict=True)):
                    picture = numbered(100 * track + number, height, width)
                    container.mux(
                        stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
                    )
            for stream in streams:
                container.mux(stream.encode(None))
        return path.read_bytes()


SMALL, LARGE = (48, 96), (96, 192)


@pytest.mark.parametrize(
    ("suffix", "sizes", "default", "taken"),
    [
        ("mkv", [SMALL, LARGE], 0, 0),
        ("mkv", [LARGE, SMALL], 1, 1),
        ("mkv", [SMALL, LARGE], None, 1),
        ("mkv", [SMALL, SMALL], None, 0),
        ("mp4", [SMALL, LARGE], 0, 0),
        ("mp4", [LARGE, SMALL], 1, 1),
    ],
)
def test_the_default_track_is_taken_then_the_largest(
    suffix: str, sizes: list[tuple[int, int]], default: int | None, taken: int
) -> None:
    (clip,) = clips(two_tracks(suffix, sizes, default))
    assert clip.pixels.shape[1:3] == sizes[taken]
    assert numbers_of(clip.pixels) == [100 * taken + number for number in range(4)]


@pytest.mark.parametrize("name", ["webm-vp8", "webm-vp9"])
def test_alpha_beside_the_picture_is_laid_over_white(name: str) -> None:
    def half_clear(number: int, height: int, width: int) -> Pixels:
        image = np.full((height, width, 4), (220, 40, 40, 255), np.uint8)
        image[:, width // 2 :, 3] = 0
        return image

    options = {"auto-alt-ref": "0"}
    (clip,) = clips(
        make_video(name, num=5, pixel_format="yuva420p", picture=half_clear, options=options)
    )
    assert clip.pixels.shape == (5, 48, 96, 3)
    left, right = clip.pixels[:, 24, 20].astype(int), clip.pixels[:, 24, 76].astype(int)
    assert np.abs(left - (220, 40, 40)).max() < 12
    assert np.abs(right - 255).max() < 12


@pytest.mark.parametrize("name", ["webm-vp9", "mkv-h264", "mp4-h264"])
def test_the_rate_is_that_of_the_frames_times(name: str) -> None:
    """Matroska and WebM tell a rate that the writer had in mind."""
    times = [*range(0, 1000, 40), *range(1000, 4000, 125)]
    data = make_video(name, num=len(times), rate=25, times=times)
    assert clips(data)[0].framerate == pytest.approx((len(times) - 1) / (times[-1] / 1000))
    assert clips(data, "head", 9)[0].framerate == pytest.approx(25, rel=0.02) or name == "mp4-h264"
    assert clips(data, "clip", metadata={"clip": [1, 3]})[0].framerate == pytest.approx(8)
    assert clips(data, fps=16)[0].framerate == 16
    exact = make_video(name, num=30, rate=Fraction(24000, 1001))
    assert clips(exact)[0].framerate == pytest.approx(24000 / 1001, rel=1e-6)


def drop(data: bytes, number: int) -> bytes:
    """The file without one of its packets."""
    with tempfile.TemporaryDirectory() as folder:
        suffix = suffix_for(kind_of(data))
        source, target = Path(folder, f"a{suffix}"), Path(folder, f"b{suffix}")
        source.write_bytes(data)
        with av.open(str(source)) as whole, av.open(str(target), "w") as rest:
            stream = rest.add_stream_from_template(whole.streams.video[0])
            packets = [packet for packet in whole.demux(video=0) if packet.size]
            for packet in packets[:number] + packets[number + 1 :]:
                packet.stream = stream
                rest.mux(packet)
        return target.read_bytes()


def test_a_lost_first_keyframe_is_damage() -> None:
    error = rejected(drop(make_video(), 0), "head", 9)
    assert error.reason == "damaged video"
    assert (
        error.detail
        == "decoded 0 of 9 frames: the first packet is no keyframe: those before it are lost"
    )


def test_a_transport_stream_may_be_joined_between_keyframes() -> None:
    """As captures are; what precedes the first keyframe belongs to another."""
    data = make_video("ts-h264", num=30)
    starts = [place for place in range(0, len(data), 188) if data[place + 1] & 0x40]
    joined = data[: starts[2]] + data[starts[5] :]
    assert numbers(joined)[0] == list(range(12, 30))


def test_fragments_before_one_whose_header_is_cut_are_read() -> None:
    data = make_video(
        num=36, container_options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    )
    last = data.rindex(b"moof") - 4
    for cut in (data[: last + 5], data[: last + 60]):
        assert numbers(cut, "head", 9) == [list(range(9))]
        assert re.match(
            r"decoded (24|30) of 1000 frames: the file ends at byte", rejected(cut).detail
        )


@pytest.mark.parametrize("number", [1, 5, 12, 13, 28])
@pytest.mark.parametrize("name", ["mp4-h264", "ts-h264"])
def test_a_lost_packet_of_h264_is_damage(number: int, name: str) -> None:
    """The decoder repeats what it has, and says nothing."""
    data = drop(make_video(name, options={"bf": "0"}), number)
    assert rejected(data).reason == "damaged video"
    assert rejected(data).detail == f"decoded {number} of 1000 frames: a packet is missing"
    assert numbers(data, "head", number) == [list(range(number))]


@pytest.mark.parametrize(
    "params",
    [
        "bframes=3:b-pyramid=normal:ref=4",
        "bframes=0:slices=4",
        "bframes=2:open-gop=1:keyint=6:min-keyint=1",
        "tff=1:bframes=2",
        "intra-refresh=1:bframes=0",
        "keyint=infinite:bframes=0:ref=1",
        "bframes=2:cqm=jvt",
    ],
)
@pytest.mark.parametrize("name", ["mp4-h264", "ts-h264"])
def test_no_packet_is_missed_that_is_there(params: str, name: str) -> None:
    data = make_video(name, num=40, options={"x264-params": params})
    assert numbers(data) == [list(range(40))]


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p10le"])
def test_other_profiles_of_h264_are_followed_too(pixel_format: str) -> None:
    data = make_video(pixel_format=pixel_format, options={"bf": "0"})
    assert numbers(data) == [list(range(30))]
    assert rejected(drop(data, 7)).detail == "decoded 7 of 1000 frames: a packet is missing"
