"""The bytes of a video file -> packets -> frames, through PyAV, with an eye for damage."""

from __future__ import annotations

import heapq
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, BinaryIO

import av

from energon_prep.decode.container import end_of_whole_boxes, find_fault
from energon_prep.decode.footage import DamagedError
from energon_prep.decode.h264 import FrameNumbers
from energon_prep.errors import SampleError
from energon_prep.formats import Kind
from energon_prep.samples import Media

# The one demuxer that sees the bytes. FFmpeg's own guess might be a playlist, which opens other
# files and addresses.
_DEMUXERS: dict[Kind, str] = {
    "mp4": "mov",
    "matroska": "matroska",
    "avi": "avi",
    "mpegts": "mpegts",
    "mpeg": "mpeg",
    "flv": "flv",
    "asf": "asf",
    "ogg": "ogg",
}
#: Streams that one can join anywhere, so that what precedes the first keyframe is not lost but of
#: another's.
_JOINED_ANYWHERE: frozenset[Kind] = frozenset({"mpegts", "mpeg"})

_DEFAULT, _ATTACHED_PICTURE = 0x1, 0x400  # of FFmpeg's dispositions; the latter is cover art

#: By codec, the decoder that knows the alpha beside the picture, which FFmpeg's own passes over.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

#: Decoders of codecs of which every packet shows exactly one frame, so that one that does not come
#: is lost.
_ONE_FRAME_A_PACKET = ("hevc", "vp9", "libvpx-vp9", "av1", "libdav1d", "libaom-av1")


class VideoStream:
    """The best video stream of a file, read from where it was opened or sought. Frames and packets
    are PyAV's.

    FFmpeg repairs what is broken and tells only its log. So damage is looked for: packets that were
    not read whole, frames that the decoder flags or does not give, and a container that is cut or
    has holes.
    """

    def __init__(self, media: Media, kind: Kind, *, max_pixels: int) -> None:
        self._media = media
        self._kind = kind
        # of the packets that were read, and the place of the last
        self._first_byte: int | None = None
        self._last_byte = 0
        self._sought = False
        self._file = media.open()
        self._container = self._open_container()
        self._stream = self._best_stream()
        self.codec_context = _decoder_of(self._stream)
        self.codec_context.thread_count = 1  # the pool decodes several files at once
        # Of frames that grow within the stream, before memory is asked for; twice, since codecs
        # round sizes up.
        self.codec_context.options = {"max_pixels": str(2 * max_pixels + 2**16)}
        self.tick = Fraction(self._stream.time_base)  #: seconds
        self.aspect = Fraction(self._stream.sample_aspect_ratio or 1)  #: width / height of a pixel
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.rate = Fraction(rate) if rate else None  #: frames per second, on average
        self.duration = self._declared_duration()  #: seconds

    def close(self) -> None:
        self._container.close()
        self._file.close()

    def seek(self, pts: int) -> None:
        """To a keyframe at or before ``pts``, in ticks; where exactly is up to the container."""
        self._first_byte = None
        self._sought = True
        with _ffmpeg_faults():
            self._container.seek(pts, stream=self._stream, backward=True)
            if self.codec_context.is_open:  # PyAV does so for the stream's own decoder only
                self.codec_context.flush_buffers()

    def packets(self) -> Iterator[Any]:
        """All packets from here on, then an empty one, which makes a decoder give its last frames.

        At the end a container that is cut or has holes is found out: what a decoder gives then has
        gaps.
        """
        packets = self._container.demux(self._stream)
        for number in itertools.count(1):
            with _ffmpeg_faults():
                packet = next(packets, None)
            if packet is None:
                return
            if packet.is_corrupt:
                raise DamagedError(f"packet {number} is cut")
            if packet.size == 0 and packet.dts is None:
                self._check(None)
            if packet.pos is not None:
                self._first_byte = (
                    packet.pos if self._first_byte is None else min(self._first_byte, packet.pos)
                )
                self._last_byte = max(self._last_byte, packet.pos)
            yield packet

    def frames(self) -> Iterator[Any]:
        """All frames from the next keyframe on, in the order they are shown, up to the first that
        is broken.
        """
        one_frame_a_packet = self.codec_context.name in _ONE_FRAME_A_PACKET
        keyframe: int | None = None
        due: list[int] = []  # a heap: times of packets whose frames have not come
        numbers = (
            FrameNumbers(self.codec_context.extradata or b"")
            if self.codec_context.name == "h264"
            else None
        )
        for packet in self._packets_from_keyframe():
            # AVI counts packets; the timestamps that FFmpeg makes of that go wrong with B-frames.
            pts = packet.dts if self._kind == "avi" else packet.pts
            keyframe = pts if keyframe is None else keyframe
            if (
                pts is not None
                and keyframe is not None
                and pts >= keyframe
                and not packet.is_discard
            ):
                heapq.heappush(due, pts)
            if numbers is not None and packet.size and numbers.has_gap(bytes(packet)):
                raise DamagedError("a packet is missing")
            with _ffmpeg_faults():
                frames = self.codec_context.decode(packet)
            for frame in frames:
                if self._kind == "avi":
                    frame.pts = due[0] if due else None
                if None not in (frame.pts, keyframe) and frame.pts < keyframe:
                    continue  # refers to frames before the keyframe
                if frame.is_corrupt:
                    raise DamagedError("a frame is broken")
                while due and frame.pts is not None and due[0] <= frame.pts:
                    if heapq.heappop(due) < frame.pts and one_frame_a_packet:
                        raise DamagedError("a frame is missing")
                yield frame
        if due and one_frame_a_packet:
            raise DamagedError("the last frames are missing")

    def _packets_from_keyframe(self) -> Iterator[Any]:
        """Without those that come before any keyframe; in a file that begins with them, their
        keyframe is lost.
        """
        packets = self.packets()
        is_start = not self._sought
        for packet in packets:
            if packet.is_keyframe or packet.size == 0:
                yield packet
                break
            if is_start and self._kind not in _JOINED_ANYWHERE:
                raise DamagedError("the first packet is no keyframe: those before it are lost")
        yield from packets

    def refusal(self, reason: str) -> Exception:
        """A SampleError with this reason, or a DamagedError where that is what it comes from."""
        return _refusal(self._media, self._kind, reason)

    def check_so_far(self) -> None:
        """Raise DamagedError if parts of the container were lost before the packets that were
        read.
        """
        self._check(self._last_byte)

    def _check(self, end: int | None) -> None:
        fault = find_fault(self._media, self._kind, start=self._first_byte or 0, end=end)
        if fault is not None:
            raise DamagedError(fault)

    def _open_container(self) -> Any:
        try:
            return self._demux(self._file)
        except av.FFmpegError as error:
            detail = f"{type(error).__name__}: {error.strerror}"
            fault = _refusal(self._media, self._kind, "not a video FFmpeg can read", detail)
            end = end_of_whole_boxes(self._media) if self._kind == "mp4" else 0
            if not end or isinstance(fault, SampleError):
                raise fault from error
            try:
                # FFmpeg will not have a file whose last fragment's header is cut; those before it
                # are whole
                return self._demux(_Beginning(self._file, end))
            except av.FFmpegError:
                raise fault from error

    def _demux(self, file: Any) -> Any:
        return av.open(file, format=_DEMUXERS[self._kind], metadata_errors="replace")

    def _best_stream(self) -> Any:
        """The default one, then the largest, then the first. Raises as ``refusal`` says if there is
        none.
        """
        streams = [
            s for s in self._container.streams.video if not int(s.disposition) & _ATTACHED_PICTURE
        ]
        if not streams:
            raise self.refusal("no video stream")
        readable = [stream for stream in streams if stream.codec_context is not None]
        if not readable:
            raise self.refusal("no decoder for the video's codec")
        return max(readable, key=lambda s: (int(s.disposition) & _DEFAULT, s.width * s.height))

    def _declared_duration(self) -> Fraction | None:
        if self._kind in _JOINED_ANYWHERE:
            return None  # FFmpeg's own estimate
        if self._stream.duration is not None:
            return Fraction(self._stream.duration) * self.tick
        return (
            None
            if self._container.duration is None
            else Fraction(self._container.duration, av.time_base)
        )


def _decoder_of(stream: Any) -> Any:
    """The stream's own decoder, or one that knows the alpha that it has besides."""
    name = _ALPHA_DECODERS.get(stream.codec_context.name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return stream.codec_context
    return av.CodecContext.create(name, "r")


class _Beginning:
    """An open file up to the byte ``end``, as FFmpeg reads it."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file = file
        self._end = end
        file.seek(0)

    def read(self, size: int) -> bytes:
        return self._file.read(max(0, min(size, self._end - self._file.tell())))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            offset, whence = self._end + offset, os.SEEK_SET
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


@contextmanager
def _ffmpeg_faults() -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        raise DamagedError(f"{type(error).__name__}: {error.strerror}") from error


def _refusal(media: Media, kind: Kind, reason: str, detail: str = "") -> Exception:
    """The reason, unless it follows from damage to the container."""
    fault = find_fault(media, kind)
    return SampleError("decode", reason, detail) if fault is None else DamagedError(fault)
