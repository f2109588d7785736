"""The frame modes, on real files."""

from __future__ import annotations

import io
import time
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest

from energon_prep.decode import video_file
from energon_prep.decode.video_file import VideoFile
from energon_prep.formats import kind_of
from energon_prep.recipes.model import Limits
from energon_prep.samples import Media
from tests.decode.videos import clips, numbers, rejected
from tests.media_files import FORMATS, make_video, number_of, numbered, numbers_of

NUM, RATE = 30, 24


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {name: make_video(name, num=NUM, rate=RATE) for name in FORMATS}


@pytest.mark.parametrize("name", FORMATS)
def test_every_codec_and_container(files, name):
    (clip,) = clips(files[name])
    assert clip.pixels.shape == (NUM, 48, 96, 3)
    assert clip.pixels.dtype == np.uint8
    assert numbers_of(clip.pixels) == list(range(NUM))
    assert (clip.framerate, clip.start) == (24.0, 0.0)
    assert (clip.original_height, clip.original_width, clip.crop) == (48, 96, (0, 0, 48, 96))
    wanted = np.stack([numbered(i, 48, 96) for i in range(NUM)])
    # lossy, with chroma at half the size
    assert np.abs(clip.pixels.astype(int) - wanted).mean() < 6


@pytest.mark.parametrize("name", FORMATS)
def test_modes_of_every_codec_and_container(files, name):
    data = files[name]
    assert numbers(data, "head", 9, step=4) == [list(range(9))]
    assert numbers(data, "uniform", 7) == [[0, 5, 10, 15, 19, 24, 29]]
    assert numbers(data, "uniform", 4, fps=12) == [[0, 10, 18, 28]]
    assert numbers(data, "chunks", 9, step=4) == [
        list(range(9)),
        list(range(9, 18)),
        list(range(18, 27)),
    ]
    assert numbers(data, "images", fps=6) == [[0], [4], [8], [12], [16], [20], [24], [28]]
    assert numbers(data, "clip", metadata={"clip": [0.5, 1.0]}) == [list(range(12, 24))]
    assert numbers(data, "clip", fps=8, metadata={"start": 0.5, "end": 1.0}) == [[12, 15, 18, 21]]


@pytest.mark.parametrize("name", FORMATS)
def test_jumping_gives_the_very_frames_that_decoding_all_gives(files, name):
    (whole,) = clips(files[name])
    for index in range(NUM):
        span = [(index + 0.5) / RATE, (index + 1) / RATE]
        (clip,) = clips(files[name], "clip", metadata={"clip": span})
        np.testing.assert_array_equal(clip.pixels[0], whole.pixels[index])
        assert clip.start == pytest.approx(index / RATE, abs=0.001)
    (spread,) = clips(files[name], "uniform", 4)
    np.testing.assert_array_equal(spread.pixels, whole.pixels[[0, 10, 19, 29]])


@pytest.mark.parametrize(
    ("num", "step", "kept"),
    [(33, 4, 29), (33, 8, 25), (28, 4, 25), (4, 4, 1), (1, 8, 1), (30, 1, 30)],
)
def test_frames_are_cut_to_the_rule_and_never_padded(files, num, step, kept):
    data = files["mp4-h264"]
    assert numbers(data, "head", num, step=step) == [list(range(kept))]
    assert len(numbers(data, "uniform", num, step=step)[0]) == kept
    assert len(numbers(data, "clip", num, step=step, metadata={"clip": [0, 1.25]})[0]) == kept


def test_one_frame_of_a_video_is_still_a_video(files):
    (clip,) = clips(files["webm-vp9"], "head", 1)
    assert clip.pixels.shape[0] == 1
    assert (clip.framerate, clip.start) == (24.0, 0.0)


def test_chunks(files):
    data = files["mp4-h264"]
    assert [clip.start for clip in clips(data, "chunks", 9, step=8)] == [0.0, 0.375, 0.75]
    assert numbers(data, "chunks", 9, step=8, max_clips=2) == [list(range(9)), list(range(9, 18))]
    # the tail is a clip
    assert [len(clip) for clip in numbers(data, "chunks", 25, step=4)] == [25, 5]
    # of one frame it is not
    assert [len(clip) for clip in numbers(data, "chunks", 29, step=4)] == [29]
    assert numbers(data, "chunks", 5, step=4, fps=6) == [[0, 4, 8, 12, 16]]  # nor of three


def test_images(files):
    stills = clips(files["mp4-h264"], "images", 33, step=None, max_clips=5)
    assert [clip.pixels.shape[0] for clip in stills] == [1] * 5
    assert [clip.start for clip in stills] == [i / 24 for i in range(5)]
    assert {clip.framerate for clip in stills} == {24.0}


@pytest.mark.parametrize("mode", ["head", "uniform", "chunks", "clip"])
def test_an_encoder_of_images_takes_no_clips(files, mode):
    error = rejected(files["mp4-h264"], mode, 9, step=None)
    assert (error.stage, error.detail) == ("decode", "")
    assert (
        error.reason == "this recipe's encoder takes images, not clips (--set frames.mode=images)"
    )


def test_framerate_is_that_of_the_sampled_pixels(files):
    data = files["webm-vp9"]
    assert clips(data, fps=8)[0].framerate == 8.0
    assert clips(data, "uniform", 30)[0].framerate == pytest.approx(24, rel=0.01)
    assert clips(data, "uniform", 4)[0].framerate == pytest.approx(3 / (29 / 24), rel=0.01)
    assert clips(make_video(rate=Fraction(30000, 1001)), fps=None)[0].framerate == pytest.approx(
        29.97003
    )


def test_a_higher_rate_repeats_frames(files):
    assert numbers(files["mp4-h264"], "head", 10, fps=48) == [[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]]
    (clip,) = clips(files["mp4-h264"], fps=30)
    assert clip.pixels.shape[0] == 38  # 30 frames at 24 are 1.25 s: 37.5 at 30
    assert numbers_of(clip.pixels)[:7] == [0, 0, 1, 2, 3, 4, 4]


TIMES = [0, 40, 80, 500, 540, 1000, 1001, 1002, 1003, 1500, 2000, 2040]  # milliseconds


@pytest.mark.parametrize("name", ["mp4-h264", "webm-vp9", "mkv-h264", "webm-av1", "mov-hevc"])
def test_variable_frame_rate(name):
    data = make_video(name, num=len(TIMES), times=TIMES)
    assert numbers(data) == [list(range(12))]
    # Every 100 ms: the frame of 80 ms is shown until 500, and so on.
    expected = [0, 2, 2, 2, 2, 3, 4, 4, 4, 4, 5, 8, 8, 8, 8, 9, 9, 9, 9, 9, 10]
    assert numbers(data, fps=10)[0][: len(expected)] == expected
    assert numbers(data, "clip", metadata={"clip": [0.3, 1.0018]}) == [[2, 3, 4, 5, 6]]
    assert numbers(data, "clip", fps=5, metadata={"clip": [0.3, 1.2]}) == [[2, 3, 4, 4, 8]]
    assert numbers(data, "uniform", 3) == [[0, 6, 11]]


@pytest.mark.parametrize("name", ["mp4-h264", "webm-vp9", "avi-mpeg4", "mpg-mpeg2"])
def test_clips_in_seconds_and_in_frames_one_or_several(files, name):
    data = files[name]
    assert numbers(data, "clip", metadata={"start_time": "00:00:00.250", "end_time": "0.5"}) == [
        list(range(6, 12))
    ]
    assert numbers(data, "clip", metadata={"start_frame": 6, "end_frame": "12"}) == [
        list(range(6, 12))
    ]
    assert numbers(data, "clip", metadata={"start": "1", "end": ""}) == [list(range(24, 30))]
    assert numbers(data, "clip", fps=12, metadata={"start": 1}) == [[24, 26, 28]]
    several = clips(data, "clip", metadata={"clip": "[[0.75, 1], [0, 0.125], [0.5, 0.75]]"})
    assert [numbers_of(clip.pixels) for clip in several] == [
        list(range(18, 24)),
        [0, 1, 2],
        list(range(12, 18)),
    ]
    assert [clip.start for clip in several] == pytest.approx([0.75, 0, 0.5], abs=0.001)


def test_more_clips_than_are_held_at_once_are_refused(files):
    metadata = {"clip": [[0, 0.25]] * 3}
    assert len(clips(files["mp4-h264"], "clip", metadata=metadata, max_clips=3)) == 3
    error = rejected(files["mp4-h264"], "clip", metadata=metadata, max_clips=2)
    assert (error.reason, error.detail) == (
        "more clips of one video than frames.max_clips",
        "3, the limit is 2",
    )


def test_a_clip_is_capped(files):
    assert numbers(files["mkv-h264"], "clip", 5, metadata={"clip": [0.5, 1.25]}) == [
        list(range(12, 17))
    ]


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "no clip times in the metadata"),
        ({"clip": [[0, 0.5], [0.75, 1.5]]}, "outside the video"),
        ({"start": 2}, "outside the video"),
        ({"start": 1.25}, "outside the video"),
        ({"clip": [0.5, 0.5]}, "empty or negative"),
        ({"clip": [1.0, 0.5]}, "empty or negative"),
        ({"clip": [-1, 1]}, "empty or negative"),
        ({"clip": [0.5, 1.5]}, "outside the video"),
        ({"clip": [2, 3]}, "outside the video"),
    ],
)
@pytest.mark.parametrize("name", ["mp4-h264", "webm-vp9", "avi-mpeg4"])
def test_what_is_no_clip(files, name, metadata, reason):
    error = rejected(files[name], "clip", 33, metadata=metadata)
    assert error.stage == "decode"
    assert reason in error.reason
    assert not any(letter.isdigit() for letter in error.reason)


def test_the_end_of_a_clip_may_be_a_frame_too_late(files):
    assert numbers(files["mp4-h264"], "clip", metadata={"clip": [1.2, 1.28]}) == [[28, 29]]


def test_sound_is_ignored():
    data = make_video(with_audio=True)
    assert numbers(data) == [list(range(30))]
    assert numbers(data, "uniform", 3) == [[0, 15, 29]]


def test_limits(files):
    data = files["mp4-h264"]
    assert (
        rejected(data, limits=Limits(max_pixels=48 * 96 - 1)).reason
        == "more pixels than limits.max_pixels"
    )
    assert clips(data, limits=Limits(max_pixels=48 * 96))
    error = rejected(data, limits=Limits(max_seconds=1))
    assert (error.reason, error.detail) == ("longer than limits.max_seconds", "1.25 s")
    error = rejected(data, resize={"min_size": 49})
    assert (error.stage, error.reason, error.detail) == (
        "filter",
        "shorter side below resize.min_size",
        "48x96, needs 49",
    )


def test_a_recording_without_an_end():
    """As browsers record: no duration, no sizes of segment and clusters, no index."""
    data = make_video("webm-vp9", container_options={"live": "1"})
    assert clips(data)[0].framerate == 24.0
    assert numbers(data, "uniform", 4) == [[0, 10, 19, 29]]
    assert numbers(data, "clip", metadata={"clip": [0.5, 0.75]}) == [list(range(12, 18))]
    for mode in ("head", "uniform"):
        assert "longer than" in rejected(data, mode, limits=Limits(max_seconds=1)).reason


HOUR = 3600


@pytest.fixture(scope="module", params=["mp4-h264", "webm-vp9"])
def hour(request) -> bytes:
    """A frame a second."""
    options = {"preset": "ultrafast"} if request.param == "mp4-h264" else {}
    return make_video(request.param, num=HOUR, height=24, width=48, rate=1, options=options)


def test_an_hour(hour):
    """What is decoded is what is asked for, and what is held is what is kept."""
    opened = VideoFile(Media.of(hour), kind_of(hour), max_pixels=10**6, max_seconds=10**5)
    assert opened.duration == HOUR
    tracemalloc.start()
    start = time.perf_counter()
    size = {"mode": "stretch", "resolution": (24, 48)}
    assert numbers(hour, "head", 17, resize=size) == [list(range(17))]
    assert numbers(hour, "head", 17, fps=0.5, resize=size) == [list(range(0, 34, 2))]
    assert numbers(hour, "clip", 5, metadata={"clip": [3000, 3100]}, resize=size) == [
        list(range(3000, 3005))
    ]
    assert numbers(hour, "uniform", 3, resize=size) == [[0, 1800, 3599]]
    assert numbers(hour, "chunks", 17, max_clips=2, resize=size) == [
        list(range(17)),
        list(range(17, 34)),
    ]
    seconds = time.perf_counter() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 5  # 0.3 on an idle machine; all frames six times would be several times that
    assert peak < 8 * 2**20


def test_only_the_frames_that_are_wanted_are_converted(hour, monkeypatch):
    converted = []
    original = video_file.to_rgb
    monkeypatch.setattr(
        video_file,
        "to_rgb",
        lambda frame, reformatter: converted.append(1) or original(frame, reformatter),
    )
    assert len(clips(hour, "uniform", 33)[0].pixels) == 33
    assert len(converted) == 33
    assert numbers(hour, "head", 9, fps=4)[0] == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert len(converted) == 36  # a repeated frame once


def test_no_frame_of_the_long_video_looks_like_another(hour):
    assert number_of(clips(hour, "clip", 1, metadata={"clip": [3599, 3600]})[0].pixels[0]) == 3599


def shifted(data: bytes, ticks: int, suffix: str) -> bytes:
    """The same packets, so much earlier; MP4 notes in an edit list that what comes before 0 is not
    shown.
    """
    buffer = io.BytesIO()
    options = {"avoid_negative_ts": "disabled"}
    with (
        av.open(io.BytesIO(data)) as source,
        av.open(buffer, "w", format=suffix, options=options) as container,
    ):
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
                packet.stream = stream
                container.mux(packet)
    return buffer.getvalue()


def test_frames_before_an_edit_are_not_shown():
    data = make_video("mp4-h264", rate=24)
    with av.open(io.BytesIO(data)) as container:
        frame = Fraction(1, 24) / container.streams.video[0].time_base
    trimmed = shifted(data, int(5 * frame), "mp4")
    assert numbers(trimmed) == [list(range(5, 30))]
    assert clips(trimmed)[0].start == 0.0
    assert numbers(trimmed, "uniform", 3) == [[5, 17, 29]]
    assert numbers(trimmed, "clip", metadata={"clip": [0.5, 0.75]}) == [list(range(17, 23))]


def test_seconds_count_from_the_first_frame():
    """Whatever the container's clock says then."""
    late = shifted(make_video("webm-vp9"), -7000, "webm")
    assert clips(late)[0].start == 0.0
    assert numbers(late, fps=12) == [list(range(0, 30, 2))]
    assert numbers(late, "uniform", 3) == [[0, 15, 29]]
    assert numbers(late, "clip", metadata={"clip": [0.5, 0.75]}) == [list(range(12, 18))]
