"""Every parser of ours that sees bytes of others: how it is fed, and the faults it may raise.

``benchmarks/fuzz.py`` feeds them too.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from cookers.safe import DecodeError, load_json, load_npy
from cookers.strict import load_pickle, load_pth
from energon_prep.decode.media import decode_media
from energon_prep.errors import PrepError, SampleError
from energon_prep.indexing.meta import decide_dataset, read_shard_counts
from energon_prep.indexing.records import read_target
from energon_prep.indexing.scan import scan_tar
from energon_prep.layout import rejects_name
from energon_prep.plan.order import Listed
from energon_prep.plan.shards import join_entries, read_plan
from energon_prep.recipes.load import load_recipe
from energon_prep.recipes.model import Recipe
from energon_prep.run.manifest import read_run
from energon_prep.samples import Media, RawSample
from energon_prep.shards.head import file_sha256
from energon_prep.shards.ledger import finished, read_ledger
from energon_prep.shards.rows import ShardRows
from energon_prep.sources.account import Account
from energon_prep.sources.captions import find_captions, parse_metadata
from energon_prep.sources.folders.folder import FolderSource
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tables.manifest import ManifestSource
from energon_prep.sources.tars.webdataset import WebDatasetSource
from energon_prep.storage import LocalStorage
from energon_prep.verifying.identity import identity_problems
from energon_prep.verifying.index import check_index
from energon_prep.verifying.shard import ShardTask, check_shard
from tests.fuzz import seeds

#: What a fault in the bytes may be; anything else is a bug of ours.
FAULTS = (SampleError, PrepError, DecodeError)

Feed = Callable[[bytes, Path], None]


@dataclass(frozen=True, kw_only=True)
class Parser:
    """``feed`` gets bytes and an empty folder to put them in; it may raise FAULTS."""

    feed: Feed
    seeds: Callable[[], Sequence[bytes]]


@lru_cache
def _recipe() -> Recipe:
    return load_recipe(
        "dit", {"resize.resolution": 32, "limits.max_pixels": 2**20, "frames.num_frames": 5}
    )


def _media(suffix: str) -> Feed:
    def feed(data: bytes, _: Path) -> None:
        recipe = _recipe()
        raw = RawSample(
            key="k", source="s", media_name=f"k.{suffix}", media=Media.of(data), captions=("c",)
        )
        decode_media(
            raw,
            resizes={"32": recipe.resize},
            multiple=16,
            frames=recipe.frames,
            frame_step=4,
            filters=recipe.filters,
            limits=recipe.limits,
        )

    return feed


def _manifest(suffix: str) -> Feed:
    def feed(data: bytes, folder: Path) -> None:
        path = folder / f"m{suffix}"
        path.write_bytes(data)
        _read_all(ManifestSource(root=path))

    return feed


def _read_all(source: FolderSource | ManifestSource | WebDatasetSource) -> None:
    account = Account()
    entries = [Listed(*item) for item in enumerate(source.list(account))]
    account.check()
    for piece in join_entries(entries):
        for pending in source.read(piece):
            with suppress(SampleError):
                pending.load()


def _metadata(data: bytes, folder: Path) -> None:
    (folder / "a.jpg").write_bytes(b"media")
    (folder / "a.json").write_bytes(data)
    (folder / "metadata.json").write_bytes(data)
    _read_all(FolderSource(root=folder))


def _webdataset(data: bytes, folder: Path) -> None:
    (folder / "a.tar").write_bytes(data)
    _read_all(WebDatasetSource(root=folder / "a.tar"))


def _scan(data: bytes, folder: Path) -> None:
    (folder / "a.tar").write_bytes(data)
    scan_tar(folder, "a.tar")


def _verify(data: bytes, folder: Path) -> None:
    (folder / "a.tar").write_bytes(data)
    task = ShardTask(
        root=folder,
        tar="a.tar",
        target="dit",
        entry=None,
        tar_file_id=None,
        num_indexed=None,
        has_sqlite=False,
    )
    check_shard(task)


def _caption(data: bytes, _: Path) -> None:
    options = SourceOptions(captions="draw", caption_lines=True)
    find = partial(find_captions, options=options, key="k", media_name="k.jpg")
    with suppress(SampleError):
        find({"txt": data}.get, {})
    metadata = parse_metadata(data)
    for name in metadata:
        with suppress(SampleError):
            find(lambda suffix: None, {"caption": metadata[name]})


def _load(load: Callable[[bytes], object]) -> Feed:
    def feed(data: bytes, _: Path) -> None:
        load(data)

    return feed


def _yaml_recipe(data: bytes, folder: Path) -> None:
    (folder / "r.yaml").write_bytes(data)
    load_recipe(folder / "r.yaml")


def _compare_rejects(folder: Path, storage: LocalStorage) -> None:
    """Past the checksum, which would keep every other file from the parser."""
    for entry in read_ledger(folder) or []:
        name = rejects_name(entry.index)
        if storage.exists(name):
            entry = replace(entry, rejects_sha256=file_sha256(storage, name))
        list(identity_problems(folder, entry, range(10), (), where=""))


def _record(name: str) -> Feed:
    """A file of a dataset's own records, in an otherwise sound dataset."""

    def feed(data: bytes, folder: Path) -> None:
        seeds.copy_records(folder)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
        storage = LocalStorage(folder)
        for read in (
            lambda: finished(storage),
            lambda: _compare_rejects(folder, storage),
            lambda: list(read_plan(storage)),
            lambda: read_run(storage),
            lambda: read_target(folder),
        ):
            with suppress(PrepError):
                read()

    return feed


def _meta(name: str) -> Feed:
    def feed(data: bytes, folder: Path) -> None:
        (folder / ".nv-meta").mkdir()
        (folder / ".nv-meta" / name).write_bytes(data)
        read_shard_counts(folder / ".nv-meta")
        check_index(folder, ["a.tar"], None, {}, deep=True)
        decide_dataset(data.decode(errors="replace"), "__module__: megatron.energon\n", force=False)

    return feed


def _rows(data: bytes, _: Path) -> None:
    # whoever tampers can do that too
    data = data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "little")
    with suppress(ValueError):
        rows = ShardRows.from_bytes(data)
        for _row in (*rows.samples(0), *rows.parts(0)):
            pass


PARSERS: dict[str, Parser] = {
    "image": Parser(feed=_media("jpg"), seeds=seeds.images),
    "video": Parser(feed=_media("mp4"), seeds=seeds.videos),
    "webdataset": Parser(feed=_webdataset, seeds=seeds.tars),
    "scan": Parser(feed=_scan, seeds=seeds.tars),
    "verify": Parser(feed=_verify, seeds=seeds.tars),
    "jsonl": Parser(feed=_manifest(".jsonl"), seeds=seeds.json_lines),
    "json": Parser(feed=_manifest(".json"), seeds=seeds.json_lists),
    "csv": Parser(feed=_manifest(".csv"), seeds=seeds.csvs),
    "tsv": Parser(feed=_manifest(".tsv"), seeds=seeds.tsvs),
    "json-document": Parser(feed=_manifest(".json"), seeds=seeds.json_documents),
    "jsonl-gz": Parser(feed=_manifest(".jsonl.gz"), seeds=seeds.packed_lines),
    "parquet": Parser(feed=_manifest(".parquet"), seeds=seeds.parquets),
    "arrow": Parser(feed=_manifest(".arrow"), seeds=seeds.arrows),
    "metadata": Parser(feed=_metadata, seeds=seeds.json_lists),
    "caption": Parser(feed=_caption, seeds=seeds.json_objects),
    "part-json": Parser(feed=_load(load_json), seeds=seeds.json_objects),
    "part-pickle": Parser(feed=_load(load_pickle), seeds=seeds.pickles),
    "part-pth": Parser(feed=_load(load_pth), seeds=seeds.pths),
    "part-npy": Parser(feed=_load(load_npy), seeds=seeds.npys),
    "recipe": Parser(feed=_yaml_recipe, seeds=seeds.recipes),
    "ledger": Parser(feed=_record(seeds.LEDGER), seeds=lambda: [seeds.record(seeds.LEDGER)]),
    "plan": Parser(feed=_record(seeds.PLAN), seeds=lambda: [seeds.record(seeds.PLAN)]),
    "run": Parser(feed=_record(seeds.RUN), seeds=lambda: [seeds.record(seeds.RUN)]),
    "rejects": Parser(feed=_record(seeds.REJECTS), seeds=lambda: [seeds.record(seeds.REJECTS)]),
    "rows": Parser(feed=_rows, seeds=lambda: [seeds.record(seeds.ROWS)]),
    "info-json": Parser(
        feed=_meta(".info.json"), seeds=lambda: [b'{"shard_counts": {"a.tar": 3}}']
    ),
    "split-yaml": Parser(feed=_meta("split.yaml"), seeds=seeds.splits),
    "dataset-yaml": Parser(feed=_meta("dataset.yaml"), seeds=seeds.recipes),
    "sqlite": Parser(feed=_meta("index.sqlite"), seeds=seeds.databases),
}
