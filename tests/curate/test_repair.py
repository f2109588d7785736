from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from energon_prep.curate.repair import FIXED_KEYS, repair
from energon_prep.curate.repair_samples import UniqueKeys, clean_key
from energon_prep.errors import PrepError
from energon_prep.indexing import index
from energon_prep.indexing.scan import scan_tar
from tests.indexing.tars import names, write_tar


def members(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


def tree(folder: Path) -> dict[str, bytes | str]:
    """Everything in a folder, links and times included."""
    return {
        path.relative_to(folder).as_posix(): (
            f"{path.lstat().st_mtime_ns}"
            if path.is_symlink() or path.is_dir()
            else path.read_bytes()
        )
        for path in folder.rglob("*")
    }


def write_members(path: Path, infos: Iterable[tuple[tarfile.TarInfo, bytes]]) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in infos:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def src(tmp_path: Path) -> Path:
    return tmp_path / "src"


def test_a_sound_dataset_stays_as_it_is(src: Path, tmp_path: Path) -> None:
    write_tar(src / "sub/a.tar", names("x/1", "x/2"))
    report = repair(src, tmp_path / "new")
    assert (report.tars, report.samples, report.renamed, report.regrouped) == (1, 2, 0, 0)
    assert not report.lost + report.left_out + report.unreadable
    assert [path.as_posix() for path in (tmp_path / "new").rglob("*") if path.is_file()] == [
        f"{tmp_path}/new/sub/a.tar"
    ]
    assert members(tmp_path / "new/sub/a.tar") == names("x/1", "x/2")


def test_keys_lose_their_dots_and_become_unique(src: Path, tmp_path: Path) -> None:
    write_tar(
        src / "a.tar", ["v1.5_a.pth", "v1.5_a.json", "v1.5_b.pth", "v1.5_b.json", "v1_5_a.pth"]
    )
    write_tar(src / "b.tar", [*names("s"), *names("s"), "\u00fc.json", "../../x.json"])
    report = repair(src, tmp_path / "new")
    assert members(tmp_path / "new/a.tar") == [
        *("v1_5_a.pth", "v1_5_a.json", "v1_5_b.pth", "v1_5_b.json"),
        "v1_5_a_2.pth",
    ]
    assert members(tmp_path / "new/b.tar") == [*names("s"), *names("s_2"), "_.json", "x.json"]
    renamed = [
        json.loads(line) for line in (tmp_path / "new" / FIXED_KEYS).read_text().splitlines()
    ]
    assert {(line["tar"], line["key"]): line["was"]["key"] for line in renamed} == {
        ("a.tar", "v1_5_a"): "v1.5_a",
        ("a.tar", "v1_5_b"): "v1.5_b",
        ("a.tar", "v1_5_a_2"): "v1_5_a",
        ("b.tar", "s_2"): "s",
        ("b.tar", "_"): "\u00fc",
        ("b.tar", "x"): "../../x",
    }
    assert report.renamed == 6


@pytest.mark.parametrize(
    "parts",
    [
        ("latents.pth", "caption.txt"),
        (".json", ".pth"),
        ("512.pth", "1024.pth", "json"),
        ("mean.bytes", "json"),
    ],
)
def test_part_names_with_dots_stay(src: Path, tmp_path: Path, parts: tuple[str, ...]) -> None:
    every = [f"{key}.{part}" for key in ("k1", "k2", "k3") for part in parts]
    write_tar(src / "a.tar", every)
    assert repair(src, tmp_path / "new").renamed == 0
    assert members(tmp_path / "new/a.tar") == every


def test_dotted_keys_with_dotted_parts(src: Path, tmp_path: Path) -> None:
    write_tar(
        src / "a.tar",
        [f"v1.{n}.{part}" for n in range(3) for part in ("latents.pth", "caption.txt")],
    )
    write_tar(src / "b.tar", [f"w1.{n}.{part}" for n in range(3) for part in (".pth", ".json")])
    repair(src, tmp_path / "new")
    assert members(tmp_path / "new/a.tar")[:3] == [
        "v1_0.latents.pth",
        "v1_0.caption.txt",
        "v1_1.latents.pth",
    ]
    assert members(tmp_path / "new/b.tar")[:3] == ["w1_0..pth", "w1_0..json", "w1_1..pth"]


def test_parts_become_adjacent(src: Path, tmp_path: Path) -> None:
    write_tar(
        src / "a.tar", [f"{key}.{part}" for part in ("json", "pth") for key in ("1", "2", "3")]
    )
    report = repair(src, tmp_path / "new")
    assert members(tmp_path / "new/a.tar") == names("1", "2", "3")
    assert report.regrouped == 3


def test_compressed_and_joined_tars_are_unpacked(src: Path, tmp_path: Path) -> None:
    whole = [write_tar(tmp_path / f"{n}.tar", names(f"{n}")).read_bytes() for n in range(4)]
    src.mkdir()
    (src / "a.tgz").write_bytes(gzip.compress(whole[0]))
    (src / "a.tar.gz").write_bytes(
        gzip.compress(whole[1][:1536]) + gzip.compress(whole[1][1536:]) + bytes(100)
    )
    (src / "c.tar").write_bytes(whole[2] + whole[3])
    report = repair(src, tmp_path / "new")
    assert not report.lost
    assert {path.name: members(path) for path in (tmp_path / "new").glob("*.tar")} == {
        "a.tar": names("1"),
        "a_1.tar": names("0"),
        "c.tar": [*names("2"), *names("3")],
    }


def test_what_a_cut_took_is_told_wherever_it_is(src: Path, tmp_path: Path) -> None:
    data = write_tar(tmp_path / "whole.tar", names("1", "2", "3"), size=700).read_bytes()
    src.mkdir()
    for cut in range(512, 6 * 1536 + 1, 512):  # each member takes 512 + 1024
        (src / "a.tar").write_bytes(data[:cut])
        kept = cut // (2 * 1536)
        new = tmp_path / f"new{cut}"
        if not kept and cut != 1536:
            with pytest.raises(
                PrepError, match=r"nothing in .* could be read:\n  a.tar: (the member 1|byte 512)"
            ):
                repair(src, new)
            continue
        report = repair(src, new)
        assert report.lost, cut
        assert all(told.startswith("a.tar: ") for told in report.lost)
        if kept:  # of a single torn sample nothing tells what it lacks
            assert members(new / "a.tar") == names(*"123"[:kept]), cut
        assert scan_tar(new, "a.tar").errors == ()


def test_a_cut_or_damaged_tgz_and_a_bomb_end_with_a_report(src: Path, tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "w.tar", names(*"abcdefgh"), size=700).read_bytes()
    packed = gzip.compress(tar)
    src.mkdir()
    (src / "cut.tgz").write_bytes(packed[: len(packed) // 2])
    (src / "sound.tar").write_bytes(tar)
    member = tarfile.TarInfo("bomb.json")
    member.size = 2**28
    (src / "bomb.tgz").write_bytes(gzip.compress(member.tobuf() + bytes(2**28), 9))
    report = repair(src, tmp_path / "new")
    assert any("cut.tgz" in told for told in (*report.lost, *report.unreadable))
    assert any(told.startswith("bomb.tgz: it unpacks to more than") for told in report.unreadable)
    assert members(tmp_path / "new/sound.tar")


def test_nothing_is_followed_or_written_elsewhere(src: Path, tmp_path: Path) -> None:
    src.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    links: list[tuple[tarfile.TarInfo, bytes]] = []
    kinds = {
        "sym": tarfile.SYMTYPE,
        "hard": tarfile.LNKTYPE,
        "dev": tarfile.CHRTYPE,
        "fifo": tarfile.FIFOTYPE,
    }
    for name, kind in kinds.items():
        member = tarfile.TarInfo(f"{name}.json")
        member.type, member.linkname = kind, "/etc/passwd"
        links.append((member, b""))
    escapes = [f"{up}x{i}.json" for i, up in enumerate(("../", "/", "../../outside/", "a/../../"))]
    skipped = [".hidden.json", "README", "__m__/a.json", "d/.h.json"]
    files = [(tarfile.TarInfo(name), b"{}") for name in (*escapes, *skipped)]
    write_members(src / "a.tar", [*links, *files])
    before = tree(tmp_path)
    report = repair(src, tmp_path / "new")
    after = tree(tmp_path)
    assert {name: after[name] for name in after if not name.startswith("new")} == before
    assert members(tmp_path / "new/a.tar") == ["x0.json", "x1.json", "outside/x2.json", "a/x3.json"]
    assert sum(int(told.split(" x ")[0]) for told in report.left_out) == len(links) + len(skipped)


@pytest.mark.parametrize("place", ["src", "src/new", ".", "full", "file"])
def test_a_folder_that_is_in_the_way_is_refused(src: Path, tmp_path: Path, place: str) -> None:
    write_tar(src / "a.tar", names("1"))
    write_tar(tmp_path / "full/b.tar", names("1"))
    (tmp_path / "file").write_text("")
    before = tree(tmp_path)
    with pytest.raises(PrepError, match=r"--fix|is a file"):
        repair(src, tmp_path / place)
    assert tree(tmp_path) == before


def test_keys_fall_back_to_numbers(tmp_path: Path) -> None:
    with UniqueKeys() as keys:
        taken = [
            keys.take(key, ["json"])
            for key in ("..", "x" * 300, "__a__/b", "/", "a", "a", "a_2", "a")
        ]
    assert taken == [
        "samples/fixed",
        "samples/fixed_2",
        "samples/fixed_3",
        "samples/fixed_4",
        "a",
        "a_2",
        "a_2_2",
        "a_3",
    ]
    assert clean_key("./a//b.c/../v1.5 \u00e9") == "a/b.c/v1_5 _"


def test_what_is_fixed_is_indexed_and_loads(src: Path, tmp_path: Path) -> None:
    from megatron.energon import Cooker, WorkerConfig, get_loader, get_train_dataset, stateless
    from megatron.energon.task_encoder import DefaultTaskEncoder

    write_tar(src / "a.tar", [f"v1.{key}.{part}" for part in ("json", "pth") for key in "abc"])
    write_tar(src / "b.tar", [*names("1"), "README"])
    write_tar(src / "c.tar", names("1"))
    cut = write_tar(tmp_path / "w.tar", names("7", "8"), size=700).read_bytes()
    (src / "d.tar").write_bytes(cut[: 3 * 1536])
    (src / "e.tgz").write_bytes(gzip.compress(cut))
    (src / "f.tar").write_bytes(b"no tar")
    with pytest.raises(PrepError, match=r"d.tar(.|\n)*f.tar"):
        index(src, workers=1)
    assert not [
        path
        for path in src.rglob("*")
        if path.is_file() and path.parent == src and path.suffix == ".idx"
    ]
    new = tmp_path / "new"
    report = repair(src, new)
    assert (report.tars, report.samples, len(report.unreadable)) == (5, 8, 1)
    indexed = index(new, workers=1)
    assert (indexed.shards, indexed.samples, indexed.warnings) == (5, 8, ())

    @stateless
    def cook(sample: dict[str, Any]) -> Any:
        return sample["__key__"]

    class Encoder(DefaultTaskEncoder):  # type: ignore[misc]
        decoder = None
        cookers = [Cooker(cook)]

        def encode_sample(self, sample: Any) -> Any:
            return sample

        def batch(self, samples: list[Any]) -> Any:
            return samples

    dataset = get_train_dataset(
        new,
        batch_size=1,
        shuffle_buffer_size=None,
        max_samples_per_sequence=None,
        task_encoder=Encoder(),
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
        repeat=False,
    )
    assert sorted(key for (key,) in get_loader(dataset)) == [
        "1",
        "1_2",
        "7",
        "7_2",
        "8",
        "v1_a",
        "v1_b",
        "v1_c",
    ]
