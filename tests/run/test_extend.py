"""A source that has grown: what is new follows behind what is there."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from energon_prep import encode, index, verify
from energon_prep.errors import PrepError, UsageError
from energon_prep.layout import PLAN
from energon_prep.pipeline.tally import Tally
from energon_prep.run.report import EncodeReport
from energon_prep.storage import LocalPublication
from tests.runs import prep, tar_digests
from tests.sources.reading import write, write_tar

GIVEN: dict[str, Any] = {
    "vae": "tests.fakes:MeanVisual",
    "model": "tests.fakes:HashText",
    "resolution": 32,
    "samples_per_shard": 4,
    "torch_threads": 1,
    "device": "cpu",
}


def run(source: Path, dest: Path, **options: Any) -> EncodeReport:
    return encode(source, dest, **{**GIVEN, **options})


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (32, 32), shade).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def add_files(root: Path, numbers: range, *, prefix: str = "") -> Path:
    for number in numbers:
        write(root / f"{prefix}{number:02d}.png", png(number))
        write(root / f"{prefix}{number:02d}.txt", f"cat {number}")
    return root


def add_rows(root: Path, numbers: range) -> Path:
    add_files(root / "media", numbers)
    with (root / "rows.jsonl").open("a") as file:
        for number in numbers:
            row = {"file": f"media/{number:02d}.png", "caption": f"cat {number}"}
            file.write(json.dumps(row) + "\n")
    return root / "rows.jsonl"


def add_tar(root: Path, numbers: range) -> Path:
    members = [
        member
        for number in numbers
        for member in ((f"{number:02d}.png", png(number)), (f"{number:02d}.txt", b"cat"))
    ]
    root.mkdir(exist_ok=True)
    write_tar(root / f"part_{numbers.start:02d}.tar", members)
    return root


def add_members(root: Path, numbers: range) -> Path:
    """To the one tar there is."""
    root.mkdir(exist_ok=True)
    with tarfile.open(root / "all.tar", "a") as tar:
        for number in numbers:
            for name, data in ((f"{number:02d}.png", png(number)), (f"{number:02d}.txt", b"cat")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return root


@pytest.mark.parametrize("add", [add_files, add_rows, add_tar, add_members])
@pytest.mark.parametrize("left", [1, 3])
def test_what_is_new_follows_as_if_it_had_been_there(
    tmp_path: Path, add: Callable[[Path, range], Path], left: int
) -> None:
    dest = tmp_path / "out"
    source = add(tmp_path / "in", range(10))
    run(source, dest)
    finished = tar_digests(dest)
    for path in dest.rglob("shard_*"):  # as if the run had been stopped then
        if int(path.name[6:12]) >= left:
            path.unlink()
    add(tmp_path / "in", range(10, 17))
    for _ in range(2):
        with pytest.raises(PrepError, match=r"has grown by 7 samples; the first: .*--extend"):
            run(source, dest)
    report = run(source, dest, extend=True)
    assert (report.num_new, report.num_samples, report.num_shards) == (7, 17, 5)
    assert report.num_resumed == 4 * min(left, 2)
    after = tar_digests(dest)
    run(source, tmp_path / "clean")
    assert after == tar_digests(tmp_path / "clean")
    assert {name for name in finished if after[name] != finished[name]} == {"shard_000002.tar"}
    again = run(source, dest, extend=True)
    assert (again.num_new, again.num_resumed) == (0, 17) and tar_digests(dest) == after
    assert run(source, dest).num_new is None
    index(dest, split="1,0,0")
    assert verify(dest, source=source).problems == ()


def test_new_samples_are_appended_wherever_they_are_listed(tmp_path: Path) -> None:
    dest, source = tmp_path / "out", add_files(tmp_path / "in", range(8))
    run(source, dest)
    before = tar_digests(dest)
    for prefix, number in (("a", 1), ("0", 2), ("03b", 1)):
        report = run(add_files(source, range(number), prefix=prefix), dest, extend=True)
        assert report.num_new == number
        assert run(source, dest).num_resumed == report.num_samples
    after = tar_digests(dest)
    assert {name: after[name] for name in before} == before
    with tarfile.open(dest / "shard_000002.tar") as tar:
        keys = dict.fromkeys(name.partition(".")[0] for name in tar.getnames())
        assert list(keys) == [f"samples/sample_{serial:09d}" for serial in range(8, 12)]
        fields = [json.load(tar.extractfile(f"{key}.json") or io.BytesIO()) for key in keys]
    assert [field["key"] for field in fields] == ["a00", "000", "001", "03b00"]
    assert verify(dest).problems == ()


@pytest.mark.parametrize("name", ["03.txt", "03.png"])
def test_what_has_changed_meanwhile_is_told_and_update_makes_it_again(
    tmp_path: Path, name: str
) -> None:
    dest, source = tmp_path / "out", add_files(tmp_path / "in", range(8))
    run(source, dest)
    before = tar_digests(dest)
    add_files(source, range(8, 9))
    write(source / name, "a dog!" if name == "03.txt" else png(3) + b"!")
    with pytest.raises(PrepError, match=r"1 shard of 4 samples changed.*--update"):
        run(source, dest, extend=True)
    assert tar_digests(dest) == before
    assert run(source, dest, extend=True, update=True).num_resumed == 4
    run(source, tmp_path / "clean")
    assert tar_digests(dest) == tar_digests(tmp_path / "clean")


def test_an_edited_row_of_a_table_that_grew_is_told(tmp_path: Path) -> None:
    dest, source = tmp_path / "out", add_rows(tmp_path / "in", range(8))
    run(source, dest)
    add_rows(tmp_path / "in", range(8, 9))
    source.write_text(source.read_text().replace("cat 6", "dog 6"))
    with pytest.raises(PrepError, match=r"shard 1 .* has other contents.*--update"):
        run(source, dest, extend=True)
    assert run(source, dest, extend=True, update=True).num_resumed == 4
    run(source, tmp_path / "clean")
    assert tar_digests(dest) == tar_digests(tmp_path / "clean")


def test_samples_that_are_gone_are_refused(tmp_path: Path) -> None:
    dest, source = tmp_path / "out", add_files(tmp_path / "in", range(6))
    run(source, dest)
    plan = (dest / PLAN).read_bytes()
    add_files(source, range(6, 9))
    for number in (4, 5):
        (source / f"{number:02d}.png").unlink()
    with pytest.raises(PrepError, match=r"2 samples .* not where they were; the first: 04\.png"):
        run(source, dest, extend=True)
    assert (dest / PLAN).read_bytes() == plan


def test_rejects_keep_their_numbers_and_new_ones_are_accounted_for(tmp_path: Path) -> None:
    dest, source = tmp_path / "out", add_files(tmp_path / "in", range(6))
    write(source / "02.png", b"broken")
    run(source, dest)
    add_files(source, range(6, 9))
    write(source / "07.png", b"broken too")
    report = run(source, dest, extend=True)
    assert (report.num_written, report.num_rejected) == (7, 2)
    rejects = (dest / ".energon-prep" / "rejects").iterdir()
    assert sorted(json.loads(path.read_text())["serial"] for path in rejects) == [2, 7]
    assert verify(dest).problems == ()


def test_a_limit_is_raised_by_itself_and_not_lowered(tmp_path: Path) -> None:
    dest, source = tmp_path / "out", add_files(tmp_path / "in", range(20))
    run(source, dest, limit=6)
    with pytest.raises(UsageError, match=r"--limit 5: 6 samples are planned"):
        run(source, dest, limit=5)
    for limit in (6, 10, None):
        run(source, dest, limit=limit)
        run(source, tmp_path / f"clean{limit}", limit=limit)
        assert tar_digests(dest) == tar_digests(tmp_path / f"clean{limit}")
        assert json.loads((dest / ".energon-prep/run.json").read_bytes())["cut"]["limit"] == limit
        assert verify(dest).problems == ()


def test_the_splits_of_a_plan_and_its_index_grow_with_it(tmp_path: Path) -> None:
    dest, source = tmp_path / "out", add_files(tmp_path / "in", range(40))
    first = run(source, dest, split="2,1,1", shuffle=7).index
    before = tar_digests(dest)
    assert first is not None
    add_files(source, range(24), prefix="1")
    report = run(source, dest, split="2,1,1", shuffle=7, extend=True)
    assert report.split == {"train": 32, "val": 16, "test": 16} and report.index is not None
    assert {name: size for name, (_, size) in report.index.split.items()} == report.split
    after = tar_digests(dest)
    changed = [name for name in before if after[name] != before[name]]
    assert changed == ["shard_000010.tar"]  # of test, and the last
    assert verify(dest).problems == ()


@pytest.mark.parametrize("sqlite", [False, True])
def test_an_index_is_brought_up_to_date_with_what_was_chosen_for_it(
    tmp_path: Path, sqlite: bool
) -> None:
    dest, source = tmp_path / "out", add_files(tmp_path / "in", range(16))
    run(source, dest)
    index(dest, split="1,1,0", sqlite=sqlite, subflavor={"of": "cats"})
    split, dataset = dest / ".nv-meta" / "split.yaml", dest / ".nv-meta" / "dataset.yaml"
    split.write_text(split.read_text().replace("exclude: []", "exclude: [samples/x]"))
    written = dataset.read_text()
    add_files(source, range(16, 24))
    report = run(source, dest, extend=True)
    assert report.index is not None and report.index.split["train"] == (3, 12)
    config = yaml.safe_load(split.read_text())
    assert config == {
        "split_parts": {
            "train": ["shard_{000000..000001}.tar", "shard_000004.tar"],
            "val": ["shard_{000002..000003}.tar", "shard_000005.tar"],
            "test": [],
        },
        "exclude": ["samples/x"],
    }
    info = json.loads((dest / ".nv-meta" / ".info.json").read_text())
    assert sum(info["shard_counts"].values()) == 24
    assert (dest / ".nv-meta" / "index.sqlite").exists() is sqlite
    assert dataset.read_text() == written
    (told,) = verify(dest).problems
    assert "exclude" in told
    assert run(source, dest, extend=True).index is None  # it is current


class Killed(BaseException):
    """In the place of a signal."""


@pytest.mark.parametrize("moment", ["before the plan", "after the plan", "a shard", "the split"])
def test_an_extension_that_was_killed_goes_on_with_the_same_bytes(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest, source = tmp_path / "out", add_files(tmp_path / "in", range(10))
    for folder in (dest, tmp_path / "clean"):
        run(source, folder)
        index(folder, split="1,1,0")
    add_files(source, range(10), prefix="0")
    run(source, tmp_path / "clean", extend=True)

    publish = LocalPublication.publish

    def killed(self: LocalPublication) -> None:
        name = self._final.name
        if moment == "before the plan" and name == "plan.jsonl":
            raise Killed
        if moment == "the split" and name == "split.yaml":
            raise Killed
        publish(self)
        if moment == "after the plan" and name == "plan.jsonl":
            raise Killed

    def stop(tally: Tally) -> None:
        if moment == "a shard" and tally.num_done > 13:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(LocalPublication, "publish", killed)
        with pytest.raises(Killed):
            run(source, dest, extend=True, progress=stop)
    marked = verify(dest, mark_bad=True).marked
    assert [name for name in marked if not name.startswith("shard")] == []
    planned = moment != "before the plan"
    run(source, dest, extend=not planned)  # once it is planned the command need not say so again
    assert tar_digests(dest) == tar_digests(tmp_path / "clean")
    for name in (PLAN, ".nv-meta/split.yaml", ".nv-meta/.info.json", ".nv-meta/index.uuid"):
        assert (dest / name).read_bytes() == (tmp_path / "clean" / name).read_bytes(), name
    assert verify(dest).problems == ()


def test_the_plan_of_an_extended_dataset_is_not_made_up_again(tmp_path: Path) -> None:
    dest, source = tmp_path / "out", add_files(tmp_path / "in", range(6))
    run(source, dest)
    run(add_files(source, range(2), prefix="0"), dest, extend=True)
    plan = (dest / PLAN).read_bytes()
    (dest / PLAN).unlink()
    with pytest.raises(PrepError, match=r"plan\.jsonl is lost.*restore it"):
        run(source, dest)
    (dest / PLAN).write_bytes(plan)
    assert run(source, dest).num_resumed == 8


def test_other_models_are_refused_before_anything_is_planned(tmp_path: Path) -> None:
    dest, source = tmp_path / "out", add_files(tmp_path / "in", range(6))
    run(source, dest)
    before = {path: path.read_bytes() for path in dest.rglob("*") if path.is_file()}
    add_files(source, range(6, 8))
    with pytest.raises(PrepError, match="was begun with something else"):
        run(source, dest, extend=True, model="tests.fakes:Another")
    assert {path: path.read_bytes() for path in before} == before


def test_the_command_line_says_what_became_of_it(tmp_path: Path) -> None:
    source = add_files(tmp_path / "in", range(6))
    given = ("--vae", GIVEN["vae"], "--model", GIVEN["model"], "--resolution", 32)
    command = ("encode", source, tmp_path / "out", *given)
    prep(*command)
    add_files(source, range(6, 7))
    assert "it has grown by 1 sample; the first: 06.png" in prep(*command, code=1).stderr
    told = prep(*command, "--extend").stdout
    assert "1 new sample, planned behind those that were there" in told
    assert "nothing is new in the source" in prep(*command, "--extend").stdout
