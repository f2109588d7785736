from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from energon_prep.errors import PrepError, SampleError
from energon_prep.samples import RawSample
from energon_prep.sources.base import Piece
from energon_prep.sources.media import MAX_TEXT_BYTES
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tars.webdataset import WebDatasetSource
from tests.sources.reading import (
    account_of,
    fault,
    listed,
    load_all,
    only,
    samples,
    write,
    write_tar,
)

NO_CAPTION = "no caption (give --caption-key, --caption or --allow-empty-captions)"


def test_media_are_taken_in_a_fixed_order_or_as_asked(tmp_path: Path) -> None:
    members = [
        ("0.webp", b"webp"),
        ("0.PNG", b"png"),
        ("0.jpg", b"jpg"),
        ("0.txt", b"caption"),
        ("0.x1", b"x1"),
    ]
    source = WebDatasetSource(root=write_tar(tmp_path / "a.tar", members))
    assert only(source).media == b"jpg"
    told = account_of(source).told
    assert told == [
        "samples with several media (jpg png webp), of which jpg is encoded (--image-key): 1",
        "further parts of samples are left out: 1 x x1 (--carry NAME keeps them)",
    ]
    for media_key in ("webp", "png", "PNG", ".png", "x1"):
        chosen = WebDatasetSource(root=source.root, options=SourceOptions(media_key=media_key))
        assert only(chosen).media == media_key.strip(".").lower().encode()
    with pytest.raises(PrepError, match=r"no samples in .*1 \.jpg \(not the --image-key\)"):
        listed(WebDatasetSource(root=source.root, options=SourceOptions(media_key="mp4")))


def test_captions_come_from_text_json_or_the_member_asked_for(tmp_path: Path) -> None:
    members = [("0.jpg", b"media"), ("0.json", b'{"caption": "json", "long": "long json"}')]
    tar = write_tar(tmp_path / "a.tar", members)
    assert only(WebDatasetSource(root=tar)).caption == "json"
    assert (
        only(WebDatasetSource(root=tar, options=SourceOptions(caption_keys=("long",)))).caption
        == "long json"
    )
    tar = write_tar(tmp_path / "b.tar", [*members, ("0.txt", b"text"), ("0.long", b"long member")])
    assert only(WebDatasetSource(root=tar)).caption == "text"
    assert (
        only(WebDatasetSource(root=tar, options=SourceOptions(caption_keys=("long",)))).caption
        == "long member"
    )
    assert fault(
        WebDatasetSource(root=tar, options=SourceOptions(caption_keys=("other",)))
    ).reason.startswith("no caption")


@pytest.mark.parametrize(
    ("members", "stage", "reason"),
    [
        ([("0.jpg", b"x")], "caption", NO_CAPTION),
        ([("0.jpg", b"x"), ("0.txt", b" \n")], "caption", NO_CAPTION.replace("no", "empty")),
        ([("0.jpg", b"x"), ("0.txt", b"\xff")], "caption", "not UTF-8"),
        ([("0.jpg", b""), ("0.txt", b"caption")], "read", "empty file"),
        ([("0.jpg", b"x" * 1001), ("0.txt", b"caption")], "read", "larger than limits.max_bytes"),
        ([("0.jpg", b"x"), ("0.txt", b"caption"), ("0.json", b"{")], "read", "broken JSON"),
        ([("0.jpg", b"x"), ("0.txt", bytes(MAX_TEXT_BYTES + 1))], "caption", "text file too large"),
    ],
)
def test_faults_of_one_sample_spare_the_next(
    tmp_path: Path, members: list[tuple[str, bytes]], stage: str, reason: str
) -> None:
    tar = write_tar(tmp_path / "a.tar", [*members, *samples("1")])
    first, second = load_all(WebDatasetSource(root=tar, options=SourceOptions(max_bytes=1000)))
    assert isinstance(first, SampleError) and (first.stage, first.reason) == (stage, reason)
    assert isinstance(second, RawSample)


def test_a_missing_caption_is_told_with_what_is_there(tmp_path: Path) -> None:
    members = [("0.jpg", b"x"), ("0.json", b'{"score": 1}'), ("0.cls", b"3")]
    error = fault(WebDatasetSource(root=write_tar(tmp_path / "a.tar", members)))
    assert error.detail.startswith(
        "its parts: jpg json cls; looked for "
    ) and error.detail.endswith("there are score")


def test_empty_captions_where_they_are_allowed(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("0.jpg", b"x"), ("1.jpg", b"x"), ("1.txt", b" ")])
    outcomes = load_all(
        WebDatasetSource(root=tar, options=SourceOptions(allow_empty_captions=True))
    )
    assert [isinstance(outcome, RawSample) and outcome.caption for outcome in outcomes] == ["", ""]


@pytest.mark.parametrize(
    ("name", "stage", "kind"),
    [
        ("0.jpg", "read", tarfile.SYMTYPE),
        ("0.jpg", "read", tarfile.LNKTYPE),
        ("0.jpg", "read", tarfile.CHRTYPE),
        ("0.txt", "caption", tarfile.SYMTYPE),
        ("0.json", "read", tarfile.LNKTYPE),
    ],
)
def test_links_and_devices_are_never_followed(
    tmp_path: Path, name: str, stage: str, kind: bytes
) -> None:
    write(tmp_path / "secret", b"secret")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for member in ("0.jpg", "0.txt", "0.json"):
            info = tarfile.TarInfo(member)
            info.type, info.linkname = (
                (kind, str(tmp_path / "secret")) if member == name else (tarfile.REGTYPE, "")
            )
            content = b"{}" if member != name else b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    error = fault(WebDatasetSource(root=tmp_path / "a.tar"))
    assert error.stage == stage and error.reason.endswith("in a tar is not followed")


def test_a_video_is_left_in_its_tar_and_read_as_far_as_needed(tmp_path: Path) -> None:
    video = b"\0\0\0\x18ftypisom" + bytes(range(256)) * 1000
    members = [
        ("0.txt", b"c"),
        ("0.mp4", video),
        ("1.png", b"\x89PNG\r\n\x1a\n" + bytes(2000)),
        ("1.txt", b"c"),
    ]
    source = WebDatasetSource(
        root=write_tar(tmp_path / "a.tar", members), options=SourceOptions(max_bytes=1000)
    )
    first, second = (pending for piece in [Piece("a.tar", 0, 2)] for pending in source.read(piece))
    media = first.load().media
    assert media.size == len(video) and media.head(20) == video[:20]
    with media.open() as file:
        file.seek(-300, io.SEEK_END)
        assert (file.read(), file.read(1)) == (video[-300:], b"")
        file.seek(70_000)
        assert file.read(100_000) == video[70_000:170_000]
    with pytest.raises(SampleError, match="larger than"):
        media.read()
    with pytest.raises(SampleError, match="larger than"):
        second.load()
