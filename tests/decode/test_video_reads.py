"""How much of a file is read: of a long video no more than a clip needs."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from energon_prep.decode.media import decode_media, resolutions
from energon_prep.errors import PrepError, SampleError
from energon_prep.recipes.model import Filters, Frames, Limits, Resize
from energon_prep.samples import Media
from energon_prep.sources import shared_reads
from energon_prep.sources.base import Piece
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tables.manifest import ManifestSource
from tests.decode.test_video_damage import grainy
from tests.decode.videos import clips
from tests.media_files import make_video, numbers_of

COUNTER = Path("/proc/self/io")
pytestmark = pytest.mark.skipif(
    not COUNTER.exists(), reason="this system does not count what is read"
)


def bytes_read() -> int:
    """By this process so far."""
    return int(COUNTER.read_text().split("rchar: ")[1].split()[0])


def write_manifest(folder: Path, rows: Sequence[tuple[float, float]]) -> ManifestSource:
    table = folder / f"{len(rows)}.csv"
    table.write_text(
        "video,caption,start,end\n" + "".join(f"v.mp4,scene,{start},{end}\n" for start, end in rows)
    )
    return ManifestSource(root=table, options=SourceOptions(max_bytes=10_000))


def encode_clips(source: ManifestSource, num: int) -> tuple[int, list[list[int]]]:
    """Bytes read for the source's rows, and the frames of their clips."""
    shared_reads._cache._blocks.clear()
    decode = partial(
        decode_media,
        resizes=resolutions(Resize.model_validate({"mode": "none"})),
        multiple=1,
        frames=Frames(mode="clip", num_frames=1000),
        frame_step=1,
        filters=Filters(),
        limits=Limits(),
    )
    before = bytes_read()
    frames = []
    for pending in source.read(Piece(source.root.name, len("video,caption,start,end\n"), num)):
        (clip,) = decode(pending.load())
        frames.append(numbers_of(clip["512"].pixels))
    return bytes_read() - before, frames


def test_rows_of_one_large_file_share_what_they_read(tmp_path: Path) -> None:
    data = make_video(num=100, rate=1, options={"g": "5", "bf": "0"})
    with (tmp_path / "v.mp4").open("wb") as file:
        file.write(data + struct.pack(">I", 40 * 2**20) + b"free")
        file.truncate(len(data) + 40 * 2**20)
    rows = [(5 * i, 5 * i + 2) for i in range(20)]
    one, frames = encode_clips(write_manifest(tmp_path, rows[:1]), 1)
    assert frames == [[0, 1]]
    twenty, frames = encode_clips(write_manifest(tmp_path, rows), 20)
    assert frames == [[5 * i, 5 * i + 1] for i in range(20)]
    assert twenty <= 3 * one
    assert one < 2**20


@pytest.mark.parametrize("name", ["mp4-h264", "mkv-h264"])
def test_a_clip_late_in_a_file_reads_little_of_it(tmp_path: Path, name: str) -> None:
    """Whatever the suffix says: all lie in v.mp4."""
    data = make_video(name, num=160, rate=2, height=128, width=192, picture=grainy)
    (tmp_path / "v.mp4").write_bytes(data)
    read, frames = encode_clips(write_manifest(tmp_path, [(52, 54)]), 1)
    assert frames == [[104, 105, 106, 107]]
    assert read < len(data) // 2, (read, len(data))


@pytest.mark.parametrize(
    "fault", [SampleError("read", "cannot be read"), PrepError("the mount is gone")]
)
@pytest.mark.parametrize("name", ["mp4-h264", "webm-vp9", "avi-mpeg4"])
@pytest.mark.parametrize("mode", ["head", "uniform"])
def test_a_file_that_cannot_be_read_any_more_is_told_as_that(
    name: str, mode: str, fault: Exception
) -> None:
    """FFmpeg, within whose calls it happens, must not make damage of it."""
    data = make_video(name, num=60, height=64, width=128, picture=grainy)

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > len(data) // 2:
                raise fault
            return super().read(size)

    media = Media(size=len(data), open=lambda: Failing(data), max_bytes=0)
    with pytest.raises(type(fault), match=str(fault).replace("(", r"\(")):
        clips(media, mode)
