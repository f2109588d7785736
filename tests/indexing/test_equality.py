"""The index from the ledger is what the installed Energon's preparation writes: this fails when a
new one differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from energon_prep.indexing import index
from energon_prep.shards.writer import ShardWriter
from energon_prep.storage import LocalStorage
from tests.indexing.by_energon import index_files, index_tables, prepare_copy
from tests.indexing.tars import write_keys, write_ours, write_run

Samples = Mapping[str, Mapping[str, bytes]]
PARTS = {"json": b"{}", "pickle": bytes(300), "pth": bytes(1024)}


def _keyed(
    num: int, parts: Mapping[str, bytes] = PARTS, *, start: int = 0, folder: str = "samples/"
) -> Samples:
    return {f"{folder}sample_{start + i:09d}": parts for i in range(num)}


def _dotted(root: Path) -> Path:
    parts = {f".{part}": data for part, data in PARTS.items()}
    return write_keys(root, [_keyed(3, parts), _keyed(2, parts, start=3)])


def _several_part_names(root: Path) -> Path:
    names = {"mean.bytes": b"m", "logvar.bytes": b"", "json": b"{}", "caption.txt": b"c"}
    mixed = [
        {**names, "jpg": b"j"},
        {**names, "png": b"p" * 513},
        {"512.pth": b"1", "256.pth": b"2"},
    ]
    return write_keys(
        root, [{f"samples/{i}": mixed[i % 3] for i in range(start, start + 7)} for start in (0, 7)]
    )


def _long_keys(root: Path) -> Path:
    folders = ("a.b/" + "d" * 94 + "/" + "e" * 55 + "/", "f" * 154 + "/", "", "x_y/__z__/")
    shards = [_keyed(3, folder=folder, start=10 * i) for i, folder in enumerate(folders)]
    shards.append({"g" * 155 + "/" + "k" * 90: PARTS})
    return write_keys(root, shards)


def _one_a_tar(root: Path) -> Path:
    return write_keys(root, [_keyed(1, start=i) for i in range(5)])


def _ten_thousand_a_tar(root: Path) -> Path:
    return write_keys(root, [_keyed(10_000), _keyed(1, start=10_000)])


def _rejects(root: Path) -> Path:
    return write_ours(root, shards=4, samples=3, all_rejected=[1])


def _clips(root: Path) -> Path:
    for shard in range(2):
        with ShardWriter(LocalStorage(root), index=shard, num_planned=3) as writer:
            for i in range(3):
                writer.write(
                    3 * shard + i,
                    [(clip, PARTS) for clip in range(i + 1)] if i else [(None, PARTS)],
                )
            writer.finish()
    return write_run(root)


WRITERS = [
    _dotted,
    _several_part_names,
    _long_keys,
    _one_a_tar,
    _ten_thousand_a_tar,
    _rejects,
    _clips,
]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__.strip("_"))
def test_every_table_and_every_byte_is_energons(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    root = write(tmp_path / "set")
    report = index(root)
    assert (report.prepared, report.sqlite, report.warnings) == (True, True, ())
    official = prepare_copy(root)
    assert index_files(root) == index_files(official)
    assert index_tables(root) == index_tables(official)


def test_what_was_added_to_is_energons_too(tmp_path: Path) -> None:
    root = write_ours(tmp_path / "set", shards=3)
    index(root)
    assert index(write_ours(root, start=3, shards=5)).prepared
    official = prepare_copy(root)
    assert index_files(root) == index_files(official)
    assert index_tables(root) == index_tables(official)


def test_energon_finds_samples_and_parts_by_key(tmp_path: Path) -> None:
    from megatron.energon.epathlib import EPath
    from megatron.energon.flavors.webdataset.indexing import SqliteIndexReader

    root = _several_part_names(tmp_path / "set")
    index(root)
    with SqliteIndexReader(EPath(root / ".nv-meta" / "index.sqlite")) as reader:
        part = reader.get_sample_part("samples/10", "png")
        tar = (root / f"shard_{part.tar_file_id:06d}.tar").read_bytes()
        assert tar[part.raw_byte_offset : part.raw_byte_offset + part.raw_byte_size] == b"p" * 513
        assert reader.get_sample_count() == 14
        sample = reader.get_sample_pointer_by_key("samples/10")
        assert tar[sample.byte_offset :].startswith(b"samples/10.mean.bytes\0")
