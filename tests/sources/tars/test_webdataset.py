from __future__ import annotations

import io
import random
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from energon_prep.errors import PrepError, SampleError
from energon_prep.samples import RawSample
from energon_prep.sources.account import Account
from energon_prep.sources.base import Piece
from energon_prep.sources.detect import make_source
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


def keys_of(outcomes: list[RawSample | SampleError]) -> list[str]:
    return [
        outcome.key if isinstance(outcome, RawSample) else outcome.reason for outcome in outcomes
    ]


@pytest.mark.parametrize(
    "tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
def test_a_tar_as_img2dataset_writes_it(tmp_path: Path, tar_format: int) -> None:
    long_key = "deep/" * 60 + "0002"  # more than a header holds
    keys = ["000000000", "000000001", *([] if tar_format == tarfile.USTAR_FORMAT else [long_key])]
    tar = write_tar(tmp_path / "00000.tar", samples(*keys), tar_format=tar_format)
    outcomes = load_all(WebDatasetSource(root=tar), cut=1)
    assert outcomes == [
        RawSample(
            key=key,
            source="00000.tar",
            media_name=Path(key).name + ".jpg",
            media=b"media of " + key.encode(),
            captions=(key,),
            metadata={"n": 1},
        )
        for key in keys
    ]


def test_keys_with_dots_spaces_slashes_and_foreign_letters_stay_apart(tmp_path: Path) -> None:
    keys = [
        "v1.5_a",
        "v1.5_b",
        "two words",
        "sub/dir/1",
        "\u00fcber.\u732b",
        "../../escape",
        "/abs",
    ]
    tar = write_tar(tmp_path / "a.tar", samples(*keys), tar_format=tarfile.GNU_FORMAT)
    assert keys_of(load_all(WebDatasetSource(root=tar))) == keys


def test_names_that_lead_out_of_the_tar_write_nothing(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "in" / "a.tar", [("../out.jpg", b"x"), ("../out.txt", b"caption")])
    assert only(WebDatasetSource(root=tar)).key == "../out"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar", "in"]


def test_duplicate_keys_are_samples_of_their_own(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", samples("same", "same", "other", "same"))
    outcomes = load_all(WebDatasetSource(root=tar), cut=2)
    assert keys_of(outcomes) == ["same", "same", "other", "same"]


def test_hidden_members_folders_and_names_without_suffix_are_passed_over(tmp_path: Path) -> None:
    junk = [
        ("._0.jpg", b"mac"),
        (".git/1.jpg", b"x"),
        ("README", b"x"),
        ("__index__", b"x"),
        ("d.x/", b""),
    ]
    members = [junk[0], ("./0.jpg", b"media"), *junk, ("./0.txt", b"caption"), *junk]
    sample = only(WebDatasetSource(root=write_tar(tmp_path / "a.tar", members)))
    assert (sample.key, sample.caption) == ("0", "caption")


def test_listing_gives_the_offset_of_the_first_header_and_the_tars_size(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", samples("0", "1"), tar_format=tarfile.PAX_FORMAT)
    with tarfile.open(tar) as reference:
        offsets = [member.offset for member in reference][::3]
    entries = listed(WebDatasetSource(root=tmp_path))
    assert [(e.path, e.start, e.size) for e in entries] == [
        ("a.tar", o, tar.stat().st_size) for o in offsets
    ]


def test_any_cut_into_shards_gives_the_same_samples(tmp_path: Path) -> None:
    rng = random.Random(1)
    expected = []
    for number in range(3):
        keys = [f"{number}-{i}" for i in range(rng.randrange(1, 9))]
        write_tar(tmp_path / f"{number}.tar", samples(*keys))
        expected += keys
    for cut in (1, 2, 3, 100):
        assert keys_of(load_all(WebDatasetSource(root=tmp_path), cut=cut)) == expected


def test_samples_load_in_threads(tmp_path: Path) -> None:
    keys = [f"{i:03d}" for i in range(100)]
    write_tar(tmp_path / "a.tar", samples(*keys))
    source = WebDatasetSource(root=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda pending: pending.load(), source.read(Piece("a.tar", 0, 100))))
    assert [(raw.key, raw.media.read()) for raw in loaded] == [
        (key, b"media of " + key.encode()) for key in keys
    ]


def test_a_folder_of_tars_is_read_below_and_in_order(tmp_path: Path) -> None:
    for name in ("b.tar", "a/1.tar", "a/0.TAR", ".hidden/0.tar"):
        write_tar(tmp_path / name, samples(name))
    source = WebDatasetSource(root=tmp_path)
    assert keys_of(load_all(source)) == ["a/0.TAR", "a/1.tar", "b.tar"]
    some = WebDatasetSource(
        root=tmp_path, options=SourceOptions(include=("a/*",), exclude=("1.tar",))
    )
    assert keys_of(load_all(some)) == ["a/0.TAR"]
    assert account_of(some).passed_over["left out by --include/--exclude"] == 2


def test_files_in_a_folder_of_tars_are_sorted_too(tmp_path: Path) -> None:
    write_tar(tmp_path / "00000.tar", samples("0"))
    for name in ("00000.parquet", "00000_stats.json", "00000.tar.idx", "00000.idx"):
        write(
            tmp_path / name,
            '{"count": 1, "successes": 1, "failed_to_download": 0, "failed_to_resize": 0}',
        )
    for name in ("00001.parquet", "loose.jpg", "README.md", "LICENSE", "notes.txt"):
        write(tmp_path / name)
    account = account_of(WebDatasetSource(root=tmp_path))
    assert account.num_companions == 2 + 4
    assert account.passed_over == {
        ".parquet (a table: give it as SRC)": 1,
        ".jpg beside tars (--source-kind folder)": 1,
        ".md": 1,
        "without suffix": 1,
        ".txt without media": 1,
    }


@pytest.mark.parametrize("pattern", ["{00..02}.tar", "{00,01,00,02}.tar", "./{00..02}.tar"])
def test_brace_patterns(tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("00", "01", "02"):
        write_tar(tmp_path / f"{name}.tar", samples(name))
    monkeypatch.chdir(tmp_path)
    for root in (Path(pattern), tmp_path / pattern):
        assert keys_of(load_all(WebDatasetSource(root=root))) == ["00", "01", "02"]
        assert {entry.path for entry in listed(WebDatasetSource(root=root))} == {
            "00.tar",
            "01.tar",
            "02.tar",
        }


def test_brace_patterns_over_folders_and_names_with_braces(tmp_path: Path) -> None:
    write_tar(tmp_path / "x" / "0.tar", samples("x"))
    write_tar(tmp_path / "y" / "0.tar", samples("y"))
    write_tar(tmp_path / "{0,1}.tar", samples("braces in the name"))
    assert keys_of(load_all(WebDatasetSource(root=tmp_path / "{x,y}" / "0.tar"))) == ["x", "y"]
    assert keys_of(load_all(WebDatasetSource(root=tmp_path / "{0,1}.tar"))) == [
        "braces in the name"
    ]


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


def test_a_tar_cut_anywhere_is_damaged_and_gives_the_samples_before_the_cut(tmp_path: Path) -> None:
    keys = ["0", "1", "2"]
    whole = write_tar(tmp_path / "whole.tar", samples(*keys), end_mark=False).read_bytes()
    # where the last byte of a sample's JSON lies
    ends = [3 * 2 * 512 * number - 510 for number in (1, 2, 3)]
    for cut in range(0, len(whole) + 1, 128):
        source = WebDatasetSource(root=write(tmp_path / "cut.tar", whole[:cut]))
        account = Account()
        with suppress(PrepError):
            list(source.list(account))
        account.check()
        num_whole = sum(end < cut for end in ends)
        # Of the first sample one cannot know what it lacks where the cut is not within one of its
        # members.
        assert account.num_samples - num_whole in ((0, 1) if cut < ends[0] else (0,)), cut
        assert list(account.damaged) == ["cut.tar"], cut
        if num_whole:
            assert keys_of(load_all(source, cut=2)) == keys[:num_whole]


def test_what_is_damaged_is_told_with_the_place_and_what_is_read(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "whole.tar", samples("0", "1")).read_bytes()
    account = account_of(WebDatasetSource(root=write(tmp_path / "cut.tar", whole[: 9 * 512])))
    assert account.damaged == {
        "cut.tar": "byte 4096: of the member '1.txt' 1 bytes are missing; samples before it, which "
        "are read: 1"
    }
    assert account.passed_over == {"of samples that the end of a tar cuts": 1}


@pytest.mark.parametrize("garbage", [b"garbage!" * 64, bytes(1024)])
def test_what_follows_garbage_or_an_end_mark_is_damage(tmp_path: Path, garbage: bytes) -> None:
    first = write_tar(tmp_path / "first.tar", samples("0"), end_mark=False).read_bytes()
    second = write_tar(tmp_path / "second.tar", samples("1")).read_bytes()
    source = WebDatasetSource(root=write(tmp_path / "a.tar", first + garbage + second))
    assert keys_of(load_all(source)) == ["0"]
    told = account_of(source).damaged["a.tar"]
    assert ("joined with cat" if garbage == bytes(1024) else "should be a header") in told


def test_a_tar_without_end_mark_is_damaged_and_mended_by_what_is_told(tmp_path: Path) -> None:
    source = WebDatasetSource(root=write_tar(tmp_path / "a.tar", samples("0"), end_mark=False))
    assert keys_of(load_all(source)) == ["0"]
    told = account_of(source).damaged["a.tar"]
    assert "no end-of-archive mark" in told and "head -c 1024 /dev/zero >> TAR" in told
    with source.root.open("ab") as file:
        file.write(bytes(1024))
    assert not account_of(source).damaged


def test_an_empty_file_is_damaged_and_the_other_tars_are_read(tmp_path: Path) -> None:
    write(tmp_path / "0.tar", b"")
    write_tar(tmp_path / "1.tar", samples("1"))
    write_tar(tmp_path / "2.tar", [])
    source = WebDatasetSource(root=tmp_path)
    assert keys_of(load_all(source)) == ["1"]
    account = account_of(source)
    assert account.damaged == {
        "0.tar": "byte 0: the file is empty; samples before it, which are read: 0"
    }
    assert account.told == ["tars without samples: 1, first 2.tar"]


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar"])
def test_compressed_tars_are_refused_with_the_remedy(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / name, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("0.jpg"))
    write_tar(tmp_path / "b.tar", samples("b"))
    for root in (tmp_path, tmp_path / name):
        with pytest.raises(PrepError, match=f"{name} is compressed.*gunzip.*--exclude '{name}'"):
            listed(WebDatasetSource(root=root))
    rest = WebDatasetSource(root=tmp_path, options=SourceOptions(exclude=(name,)))
    assert keys_of(load_all(rest)) == ["b"]
    assert account_of(rest).passed_over == {"left out by --include/--exclude": 1}


def test_nothing_to_read_stops_the_run(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [])
    for root in (tmp_path, tmp_path / "a.tar"):
        with pytest.raises(PrepError, match="no samples in"):
            listed(WebDatasetSource(root=root))
    with pytest.raises(PrepError, match=r"cannot read .*gone\.tar"):
        listed(WebDatasetSource(root=tmp_path / "gone.tar"))


def test_a_tar_that_shrank_since_the_listing_stops_the_run(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", samples("0"))
    with pytest.raises(PrepError, match="fewer samples than when it was listed"):
        list(WebDatasetSource(root=tmp_path).read(Piece("a.tar", 0, 2)))
    with pytest.raises(PrepError, match=r"cannot read .*gone\.tar"):
        list(WebDatasetSource(root=tmp_path).read(Piece("gone.tar", 0, 1)))


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


def test_tars_of_a_hub_snapshot_are_links_that_keep_their_names(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--x" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    write_tar(tmp_path / "models--x" / "blobs" / "sha", samples("0"))
    write_tar(tmp_path / "elsewhere.tar", samples("1"))
    (snapshot / "a.tar").symlink_to("../../blobs/sha")
    (snapshot / "b.tar").symlink_to(tmp_path / "elsewhere.tar")
    for root in (snapshot, snapshot / "a.tar", snapshot / "{a,a}.tar"):
        source = make_source(WebDatasetSource(root=root).describe())
        assert keys_of(load_all(source)) == ["0"]
    followed = WebDatasetSource(root=snapshot, options=SourceOptions(follow_links=True))
    assert keys_of(load_all(followed)) == ["0", "1"]
    assert account_of(WebDatasetSource(root=snapshot)).passed_over == {
        "links out of the source (--follow-links)": 1
    }


@pytest.mark.parametrize(
    "options", [{"captions_dir": "x"}, {"media_root": "x"}, {"folder_repeats": True}]
)
def test_options_of_other_sources_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    tar = write_tar(tmp_path / "a.tar", samples("0"))
    with pytest.raises(PrepError, match="means nothing where the source is tars"):
        listed(WebDatasetSource(root=tar, options=SourceOptions(**options)))


def test_a_tar_that_is_cut_or_gone_since_it_was_listed_is_no_fault_of_the_sample(
    tmp_path: Path,
) -> None:
    tar = write_tar(tmp_path / "a.tar", [("0.jpg", b"x" * 5000), ("0.txt", b"cat")])
    source = WebDatasetSource(root=tar)
    (entry,) = listed(source)
    (pending,) = source.read(Piece(entry.path, entry.start, 1))
    with tar.open("r+b") as file:
        file.truncate(3000)
    with pytest.raises(PrepError, match="was cut since it was listed"):
        pending.load()
    tar.unlink()
    with pytest.raises(PrepError, match="no fault of the sample"):
        pending.load()
