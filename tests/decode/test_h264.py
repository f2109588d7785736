from __future__ import annotations

import io

import av
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.decode.h264 import FrameNumbers
from tests.media_files import make_video


def parts_of(data: bytes) -> tuple[bytes, list[bytes]]:
    """Parameter sets and packets."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
        return bytes(stream.codec_context.extradata or b""), packets


CONFIG, PACKETS = parts_of(make_video(num=14, options={"bf": "0", "g": "6"}))


def test_gaps_are_where_packets_are_missing() -> None:
    for missing in range(1, 14):
        numbers = FrameNumbers(CONFIG)
        gaps = [
            numbers.has_gap(packet) for number, packet in enumerate(PACKETS) if number != missing
        ]
        # The frame before a keyframe leaves no gap, and the last one no frame behind it.
        assert sum(gaps) == (0 if missing in (5, 11, 13) else 1)
        assert missing in (5, 11, 13) or gaps.index(True) == missing


def test_numbers_begin_again_at_every_seek() -> None:
    numbers = FrameNumbers(CONFIG)
    assert [numbers.has_gap(packet) for packet in PACKETS[6:]] == [False] * 8


@given(st.data())
def test_any_bytes_are_followed_or_let_be(data: st.DataObject) -> None:
    def mutated(sound: bytes) -> bytes:
        place = data.draw(st.integers(0, len(sound)))
        return (
            sound[:place]
            + data.draw(st.binary(max_size=8))
            + sound[place + data.draw(st.integers(0, 8)) :]
        )

    numbers = FrameNumbers(mutated(CONFIG))
    for packet in PACKETS[:3]:
        numbers.has_gap(mutated(packet[:64]))
    FrameNumbers(data.draw(st.binary(max_size=64))).has_gap(data.draw(st.binary(max_size=64)))
