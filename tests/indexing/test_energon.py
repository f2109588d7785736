from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from energon_prep.indexing.energon import UnknownEnergonError, find_block, read_energon
from tests.indexing.official import index_files, index_tables
from tests.indexing.tars import write_ours

SOURCES = ("config.py", "indexing.py", "itar.py", "prepare.py", "structs.py")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    from megatron.energon.flavors import webdataset

    for name in SOURCES:
        shutil.copy(Path(webdataset.__file__).parent / name, tmp_path)
    return tmp_path


def test_the_installed_one_is_known(sources: Path) -> None:
    import megatron.energon

    energon = read_energon()
    assert energon == read_energon(sources)
    assert energon.version == megatron.energon.__version__
    assert [table.split()[5] for table in energon.tables] == ["samples", "sample_parts"]
    assert len(energon.indexes) >= 3


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("prepare.py", "yield IndexSamplePart(", "yield IndexSamplePart(  # why not"),
        ("prepare.py", "def prepare_dataset(", "def prepare_it("),
        ("prepare.py", "Write to .tmp file first", "Write first"),
        ("indexing.py", "def _find_duplicate_sample_key(", "def _find_duplicate("),
        ("itar.py", "def get_itar_byte_offset(", "def get_offset("),
    ],
)
def test_what_does_not_matter_may_change(sources: Path, name: str, old: str, new: str) -> None:
    change(sources / name, old, new)
    assert read_energon(sources) == read_energon()


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        ("itar.py", 'struct.pack("Q", offset)', 'struct.pack("<I", offset)', "takes tars apart by other code"),
        ("prepare.py", "iw.append(tar.offset)", "iw.append(tar.offset + 1024)", "takes tars apart by other code"),
        ("config.py", "([^/]*)$", "([^/.]*)$", "takes tars apart by other code"),
        ("structs.py", "shard_counts: Dict[str, int]", "shards: Dict[str, int]", "takes tars apart by other code"),
        ("indexing.py", "sample_key TEXT NOT NULL UNIQUE", "sample_key TEXT NOT NULL", "makes other tables"),
        ("indexing.py", "CREATE TABLE IF NOT EXISTS media_filters", "CREATE TABLE IF NOT EXISTS x", "other tables"),
        ("prepare.py", "def _preprocess_tar(", "def _preprocess(", "no 'def _preprocess_tar('"),
        ("indexing.py", "class SqliteIndexWriter", "class Writer", "no 'class SqliteIndexWriter'"),
    ],
)
def test_what_matters_makes_it_unknown(sources: Path, name: str, old: str, new: str, reason: str) -> None:
    change(sources / name, old, new)
    with pytest.raises(UnknownEnergonError) as caught:
        read_energon(sources)
    assert reason in str(caught.value)


def test_sources_that_are_not_there_make_it_unknown(sources: Path) -> None:
    (sources / "itar.py").unlink()
    with pytest.raises(UnknownEnergonError, match=r"itar\.py"):
        read_energon(sources)


def test_with_an_unknown_one_its_own_preparation_is_used(tmp_path: Path) -> None:
    import megatron.energon

    package = Path(megatron.energon.__file__).parent
    other = tmp_path / "other" / "megatron" / "energon"
    shutil.copytree(package, other, ignore=shutil.ignore_patterns("__pycache__"))
    change(other / "flavors/webdataset/prepare.py", "next_index_sample = None\n", "next_index_sample = None or None\n")
    root, twin = write_ours(tmp_path / "set"), write_ours(tmp_path / "twin")
    command = [sys.executable, "-m", "energon_prep", "index", "--workers", "2"]
    path = {**os.environ, "PYTHONPATH": str(tmp_path / "other")}
    slow = subprocess.run([*command, str(root)], env=path, capture_output=True, text=True, check=True)
    assert "warning: the installed Energon is not known" in slow.stderr
    assert "takes tars apart by other code" in slow.stderr
    fast = subprocess.run([*command, str(twin)], capture_output=True, text=True, check=True)
    assert fast.stderr == ""
    assert slow.stdout == fast.stdout
    assert index_files(root) == index_files(twin)
    assert index_tables(root) == index_tables(twin)


def test_a_block_ends_where_its_indentation_does() -> None:
    source = "class A:\n    def f(\n        x: int,\n    ) -> int:\n\n        return x\n\n    y = 1\n\nz = 2\n"
    assert find_block(source, "def f(").split() == ["def", "f(", "x:", "int,", ")", "->", "int:", "return", "x"]
    assert find_block(source, "z =") == "z = 2"
    with pytest.raises(ValueError, match="no 'def g'"):
        find_block(source, "def g")


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
