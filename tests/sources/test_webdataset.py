from __future__ import annotations

import io
import random
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from energon_prep.errors import PrepError, SampleError
from energon_prep.samples import RawSample
from energon_prep.sources.base import Piece
from energon_prep.sources.media import MAX_TEXT_BYTES
from energon_prep.sources.webdataset import WebDatasetSource
from tests.sources.reading import fault, load_all, only, samples, write, write_tar

LOST = "the tar is cut or damaged here; what follows in it is lost"


def keys_of(outcomes: list[RawSample | SampleError]) -> list[str]:
    return [outcome.key if isinstance(outcome, RawSample) else outcome.reason for outcome in outcomes]


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
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
            caption=key,
            metadata={"n": 1},
        )
        for key in keys
    ]


def test_keys_with_dots_spaces_slashes_and_foreign_letters_stay_apart(tmp_path: Path) -> None:
    keys = ["v1.5_a", "v1.5_b", "two words", "sub/dir/1", "\u00fcber.\u732b", "../../escape", "/abs"]
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
    junk = [("._0.jpg", b"mac"), (".git/1.jpg", b"x"), ("README", b"x"), ("__index__", b"x"), ("d.x/", b"")]
    members = [junk[0], ("./0.jpg", b"media"), *junk, ("./0.txt", b"caption"), *junk]
    sample = only(WebDatasetSource(root=write_tar(tmp_path / "a.tar", members)))
    assert (sample.key, sample.caption) == ("0", "caption")


def test_listing_gives_the_offset_of_the_first_header_and_the_tars_size(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", samples("0", "1"), tar_format=tarfile.PAX_FORMAT)
    source = WebDatasetSource(root=tmp_path)
    with tarfile.open(tar) as reference:
        offsets = [member.offset for member in reference][::3]
    assert [(e.path, e.start, e.size) for e in listed(source)] == [("a.tar", o, tar.stat().st_size) for o in offsets]


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
    assert [(raw.key, raw.media.read()) for raw in loaded] == [(key, b"media of " + key.encode()) for key in keys]


def test_a_folder_of_tars_is_read_below_and_in_order(tmp_path: Path) -> None:
    for name in ("b.tar", "a/1.tar", "a/0.TAR", ".hidden/0.tar"):
        write_tar(tmp_path / name, samples(name))
    write(tmp_path / "00000.parquet")
    write(tmp_path / "stats.json.gz")
    assert keys_of(load_all(WebDatasetSource(root=tmp_path))) == ["a/0.TAR", "a/1.tar", "b.tar"]


@pytest.mark.parametrize("pattern", ["{00..02}.tar", "{00,01,00,02}.tar", "./{00..02}.tar"])
def test_brace_patterns(tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("00", "01", "02"):
        write_tar(tmp_path / f"{name}.tar", samples(name))
    monkeypatch.chdir(tmp_path)
    for root in (Path(pattern), tmp_path / pattern):
        assert keys_of(load_all(WebDatasetSource(root=root))) == ["00", "01", "02"]
        assert {entry.path for entry in listed(WebDatasetSource(root=root))} == {"00.tar", "01.tar", "02.tar"}


def test_brace_patterns_over_folders_and_names_with_braces(tmp_path: Path) -> None:
    write_tar(tmp_path / "x" / "0.tar", samples("x"))
    write_tar(tmp_path / "y" / "0.tar", samples("y"))
    write_tar(tmp_path / "{0,1}.tar", samples("braces in the name"))
    assert keys_of(load_all(WebDatasetSource(root=tmp_path / "{x,y}" / "0.tar"))) == ["x", "y"]
    assert keys_of(load_all(WebDatasetSource(root=tmp_path / "{0,1}.tar"))) == ["braces in the name"]


def test_media_are_taken_in_a_fixed_order_or_as_asked(tmp_path: Path) -> None:
    members = [("0.webp", b"webp"), ("0.PNG", b"png"), ("0.jpg", b"jpg"), ("0.txt", b"caption"), ("0.x1", b"x1")]
    tar = write_tar(tmp_path / "a.tar", members)
    assert only(WebDatasetSource(root=tar)).media == b"jpg"
    for media_key in ("webp", "png", "PNG", ".png", "x1"):
        assert (
            only(WebDatasetSource(root=tar, options=SourceOptions(media_key=media_key))).media
            == media_key.strip(".").lower().encode()
        )
    assert fault(WebDatasetSource(root=tar, options=SourceOptions(media_key="mp4"))).reason == "no media in the sample"


def test_captions_come_from_text_json_or_the_member_asked_for(tmp_path: Path) -> None:
    members = [("0.jpg", b"media"), ("0.json", b'{"caption": "json", "long": "long json"}')]
    tar = write_tar(tmp_path / "a.tar", members)
    assert only(WebDatasetSource(root=tar)).caption == "json"
    assert only(WebDatasetSource(root=tar, options=SourceOptions(caption_keys=("long",)))).caption == "long json"
    tar = write_tar(tmp_path / "b.tar", [*members, ("0.txt", b"text"), ("0.long", b"long member")])
    assert only(WebDatasetSource(root=tar)).caption == "text"
    assert only(WebDatasetSource(root=tar, options=SourceOptions(caption_keys=("long",)))).caption == "long member"
    assert fault(WebDatasetSource(root=tar, options=SourceOptions(caption_keys=("other",)))).reason.startswith(
        "no caption"
    )


@pytest.mark.parametrize(
    ("members", "stage", "reason"),
    [
        ([("0.txt", b"caption")], "read", "no media in the sample"),
        ([("0.jpg", b"x")], "caption", "no caption (give --caption-key, or --allow-empty-captions)"),
        (
            [("0.jpg", b"x"), ("0.txt", b" \n")],
            "caption",
            "empty caption (give --caption-key, or --allow-empty-captions)",
        ),
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


def test_empty_captions_where_they_are_allowed(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("0.jpg", b"x"), ("1.jpg", b"x"), ("1.txt", b" ")])
    outcomes = load_all(WebDatasetSource(root=tar, options=SourceOptions(allow_empty_captions=True)))
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
def test_links_and_devices_are_never_followed(tmp_path: Path, name: str, stage: str, kind: bytes) -> None:
    write(tmp_path / "secret", b"secret")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for member in ("0.jpg", "0.txt", "0.json"):
            info = tarfile.TarInfo(member)
            info.type, info.linkname = (kind, str(tmp_path / "secret")) if member == name else (tarfile.REGTYPE, "")
            content = b"{}" if member != name else b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    error = fault(WebDatasetSource(root=tmp_path / "a.tar"))
    assert error.stage == stage and error.reason.endswith("in a tar is not followed")


def test_a_tar_cut_anywhere_accounts_for_every_sample_before_the_cut(tmp_path: Path) -> None:
    keys = ["0", "1", "2"]
    whole = write_tar(tmp_path / "whole.tar", samples(*keys), end_mark=False).read_bytes()
    starts = [entry.start for entry in listed(WebDatasetSource(root=tmp_path / "whole.tar"))]
    for cut in range(0, len(whole) + 1, 128):
        outcomes = load_all(WebDatasetSource(root=write(tmp_path / "cut.tar", whole[:cut])), cut=2)
        num_whole = sum(end <= cut for end in [*starts[1:], len(whole)])
        assert keys_of(outcomes)[:num_whole] == keys[:num_whole]
        assert len(outcomes) - num_whole <= 2 and (len(outcomes) > num_whole or cut in (*starts, len(whole)))


@pytest.mark.parametrize(("cut", "place"), [(3 * 512, 0), (7 * 512 + 3, 6 * 512)])
def test_a_tar_cut_within_a_member_has_its_place_as_one_reject(tmp_path: Path, cut: int, place: int) -> None:
    whole = write_tar(tmp_path / "whole.tar", samples("0", "1")).read_bytes()
    source = WebDatasetSource(root=write(tmp_path / "cut.tar", whole[:cut]))
    last = load_all(source)[-1]
    assert [entry.start for entry in listed(source)] == [0, place][: 1 if place == 0 else 2]
    assert isinstance(last, SampleError)
    assert (last.stage, last.reason) == ("read", LOST)
    assert last.detail.startswith("cut.tar, byte ") and "again" in last.detail


def test_garbage_between_samples_is_one_reject(tmp_path: Path) -> None:
    first = write_tar(tmp_path / "first.tar", samples("0"), end_mark=False).read_bytes()
    second = write_tar(tmp_path / "second.tar", samples("1")).read_bytes()
    tar = write(tmp_path / "a.tar", first + b"garbage!" * 64 + second)
    assert keys_of(load_all(WebDatasetSource(root=tar))) == ["0", LOST]


def test_tars_joined_with_cat_do_not_lose_the_second_in_silence(tmp_path: Path) -> None:
    first = write_tar(tmp_path / "first.tar", samples("0")).read_bytes()
    tar = write(tmp_path / "a.tar", first + first)
    outcomes = load_all(WebDatasetSource(root=tar))
    assert keys_of(outcomes) == ["0", LOST]
    assert isinstance(outcomes[1], SampleError) and "joined with cat" in outcomes[1].detail


def test_an_empty_file_is_one_reject_and_the_other_tars_are_read(tmp_path: Path) -> None:
    write(tmp_path / "0.tar", b"")
    write_tar(tmp_path / "1.tar", samples("1"))
    assert keys_of(load_all(WebDatasetSource(root=tmp_path))) == [LOST, "1"]


def test_a_tar_without_end_mark_is_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tar = write_tar(tmp_path / "a.tar", samples("0"), end_mark=False)
    assert keys_of(load_all(WebDatasetSource(root=tar))) == ["0"]
    assert "no end-of-archive mark" in caplog.text


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar"])
def test_compressed_tars_are_refused_with_the_remedy(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / name, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("0.jpg"))
    for root in (tmp_path, tmp_path / name):
        with pytest.raises(PrepError, match=f"{name} is compressed.*gunzip"):
            listed(WebDatasetSource(root=root))


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
