from __future__ import annotations

import gzip
import io
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.indexing.scan import KeyRegister, merge_oddities, scan_tar, scan_tars
from tests.indexing.tars import names, write_tar


def test_a_sound_tar_has_nothing_to_tell(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", names("s/1", "s/2", "s/3"))
    scan = scan_tar(tmp_path, "a.tar")
    assert (scan.samples, scan.errors, scan.oddities) == (3, (), {})


@pytest.mark.parametrize(
    "parts",
    [
        ("latents.pth", "prompt_embeds.pth", "pooled_prompt_embeds.pth", "caption.txt"),  # meant so
        (".json", ".pth", ".pickle"),  # KEY..pth, of nemo-dit
        ("mean.bytes", "logvar.bytes", "json"),
    ],
)
def test_part_names_with_dots_are_in_order(tmp_path: Path, parts: tuple[str, ...]) -> None:
    write_tar(tmp_path / "a.tar", [f"{key}.{part}" for key in ("1", "2") for part in parts])
    assert scan_tar(tmp_path, "a.tar").oddities == {}


@pytest.mark.parametrize(
    "members",
    [
        ["v1.5_a.pth", "v1.5_b.pth"],
        ["img.one.jpg", "img.one.txt", "img.two.jpg", "img.two.txt"],
        ["a.red.jpg", "b.blue.jpg", "c.green.jpg"],
        ["x/v1.0.jpg", "x/v1.1.jpg", "y.jpg"],
    ],
)
def test_keys_with_dots_are_told(tmp_path: Path, members: list[str]) -> None:
    write_tar(tmp_path / "a.tar", members)
    ((what, (count, first)),) = scan_tar(tmp_path, "a.tar").oddities.items()
    assert "dot in the base name" in what
    assert count == len([name for name in members if name != "y.jpg"])
    assert first == f"a.tar: {members[0]}"


def test_what_energon_passes_over_is_told(tmp_path: Path) -> None:
    tar = write_tar(
        tmp_path / "a.tar", ["a.pth", ".DS_Store", "README", "__meta__/b.pth", "d/.hidden"]
    )
    with tarfile.open(tar, "a") as archive:
        for name, kind in (("link.pth", tarfile.SYMTYPE), ("folder", tarfile.DIRTYPE)):
            member = tarfile.TarInfo(name)
            member.type = kind
            archive.addfile(member)
    scan = scan_tar(tmp_path, "a.tar")
    assert scan.errors == ()
    assert {what.partition(",")[0]: found for what, found in scan.oddities.items()} == {
        "hidden files": (1, "a.tar: .DS_Store"),
        "names without extension": (1, "a.tar: README"),
        "names like __x__": (1, "a.tar: __meta__/b.pth"),
        "hidden files in a folder": (1, "a.tar: d/.hidden"),
        "links or devices": (1, "a.tar: link.pth"),
    }


@pytest.mark.parametrize(
    ("members", "error"),
    [
        (["a.json", "b.json", "a.pth", "b.pth"], "a.tar: a.pth: the parts of 'a' are not adjacent"),
        (["a.json", "b.json", "a.json"], "a.tar: a.json: the key 'a' occurs twice in this tar"),
        (["a.json", "a.json", "b.json"], "a.tar: a.json occurs twice"),
        ([], "a.tar: it holds no sample"),
        (["README"], "a.tar: it holds no sample"),
    ],
)
def test_what_energon_chokes_on_is_an_error(tmp_path: Path, members: list[str], error: str) -> None:
    write_tar(tmp_path / "a.tar", members)
    (found,) = scan_tar(tmp_path, "a.tar").errors[:1]
    assert error in found


def test_cuts_are_errors_wherever_they_are(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "whole.tar", names("1", "2"), size=700)
    data = tar.read_bytes()
    for cut in range(0, 4 * 1536 + 1, 256):  # each member takes 512 + 1024
        (tmp_path / "a.tar").write_bytes(data[:cut])
        assert scan_tar(tmp_path, "a.tar").errors, cut
    (tmp_path / "a.tar").write_bytes(data[: 4 * 1536 + 512])
    assert not scan_tar(tmp_path, "a.tar").errors


@pytest.mark.parametrize(
    "data",
    [b"no tar at all" * 100, gzip.compress(bytes(2000)), b"", bytes(10240)],
    ids=["text", "gzip", "0", "zeros"],
)
def test_what_is_no_tar_is_an_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    (error,) = scan_tar(tmp_path, "a.tar").errors
    assert error.startswith("a.tar: it ")
    assert "move it away" in error


def test_a_name_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    with tarfile.open(
        tmp_path / "a.tar", "w", format=tarfile.USTAR_FORMAT, encoding="latin-1"
    ) as tar:
        tar.addfile(tarfile.TarInfo("caf\xe9.pth"), io.BytesIO())
    (error,) = scan_tar(tmp_path, "a.tar").errors
    assert "not UTF-8" in error


def test_few_errors_of_many_are_named(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [f"{i}.{part}" for part in ("json", "pth") for i in range(40)])
    assert 1 < len(scan_tar(tmp_path, "a.tar").errors) < 10


def test_tars_are_scanned_in_order_and_add_up(tmp_path: Path) -> None:
    for name in "cab":
        write_tar(tmp_path / f"{name}.tar", [f"{name}.pth", "README"])
    scans = list(scan_tars(tmp_path, ["a.tar", "b.tar", "c.tar"], threads=2))
    assert [scan.tar for scan in scans] == ["a.tar", "b.tar", "c.tar"]
    total: dict[str, tuple[int, str]] = {}
    for scan in scans:
        merge_oddities(total, scan.oddities)
    assert list(total.values()) == [(3, "a.tar: README")]


tar_keys = st.lists(st.sets(st.text("abc", max_size=3), max_size=8), max_size=6)


@given(tar_keys)
def test_exactly_the_keys_of_earlier_tars_are_told(tars: list[set[str]]) -> None:
    first: dict[str, int] = {}
    with closing(KeyRegister()) as register:
        for number, keys in enumerate(tars):
            expected = sorted(
                f"{number}: {key}: the key is in {first[key]} too"
                for key in keys
                if first.setdefault(key, number) != number
            )
            assert sorted(register.add(str(number), keys)) == expected
