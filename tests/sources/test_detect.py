from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from energon_prep.errors import PrepError
from energon_prep.sources.account import Account
from energon_prep.sources.detect import SOURCES, make_source, open_source
from energon_prep.sources.folders.folder import FolderSource
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tables.manifest import ManifestSource
from energon_prep.sources.tars.webdataset import WebDatasetSource
from tests.sources.reading import load_all, samples, write, write_tar


@pytest.mark.parametrize(
    ("files", "src", "kind"),
    [
        (["a/1.jpg", "a/1.txt"], "", FolderSource),
        (["1.mp4"], "", FolderSource),
        (["1.jpg", "captions.csv", "x.parquet"], "", FolderSource),
        (["meta.jpg", "meta.json"], "", FolderSource),
        (["a/1.tar"], "", WebDatasetSource),
        (["1.tar", "1.parquet", "1_stats.json"], "", WebDatasetSource),
        (["1.tar", "metadata.jsonl"], "", WebDatasetSource),
        (["1.tgz"], "", WebDatasetSource),
        (["1.tar"], "1.tar", WebDatasetSource),
        (["0.tar", "1.tar"], "{0..1}.tar", WebDatasetSource),
        (["img/1.jpg", "train/metadata.jsonl"], "", FolderSource),
        (["meta.jsonl"], "", FolderSource),
        (
            ["train-{0..1}.jsonl", "train-0.jsonl", "train-1.jsonl"],
            "train-{0..1}.jsonl",
            ManifestSource,
        ),
        (["data/train-0.parquet", "README.md"], "", ManifestSource),
        (["m.jsonl"], "m.jsonl", ManifestSource),
        (["m.NDJSON"], "m.NDJSON", ManifestSource),
        (["m.tsv"], "m.tsv", ManifestSource),
        (["m.parquet"], "m.parquet", ManifestSource),
    ],
)
def test_the_kind_is_recognised(tmp_path: Path, files: list[str], src: str, kind: type) -> None:
    for name in files:
        write(
            tmp_path / name,
            '{"file_name": "1.jpg", "text": "cat"}' if name.endswith(".jsonl") else b"media",
        )
    source = open_source(str(tmp_path / src))
    assert type(source) is kind
    assert source.describe()["kind"] == {value: key for key, value in SOURCES.items()}[kind]


def test_a_folder_may_be_forced_to_be_its_metadata_file_alone(tmp_path: Path) -> None:
    write(tmp_path / "img" / "1.jpg")
    write(tmp_path / "img" / "2.jpg")
    write(tmp_path / "img" / "2.txt", "dog")
    write(tmp_path / "metadata.csv", "file_name,caption\nimg/1.jpg,cat\n")
    assert len(load_all(open_source(tmp_path))) == 2
    source = open_source(tmp_path, kind="manifest")
    assert isinstance(source, ManifestSource) and source.root == tmp_path / "metadata.csv"
    assert len(load_all(source)) == 1


def test_patterns_may_tell_tars_from_loose_media(tmp_path: Path) -> None:
    write(tmp_path / "preview.jpg")
    write_tar(tmp_path / "1.tar", samples("0"))
    assert isinstance(
        open_source(tmp_path, options=SourceOptions(exclude=("*.jpg",))), WebDatasetSource
    )
    assert isinstance(
        open_source(tmp_path, options=SourceOptions(include=("*.jpg",))), FolderSource
    )


def test_links_out_of_the_folder_do_not_make_it_a_source(tmp_path: Path) -> None:
    write(tmp_path / "outside.jpg")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "1.jpg").symlink_to(tmp_path / "outside.jpg")
    source = open_source(tmp_path / "root")
    with pytest.raises(PrepError, match=r"it holds 1 links out of the source \(--follow-links\)"):
        load_all(source)
    assert (
        len(load_all(open_source(tmp_path / "root", options=SourceOptions(follow_links=True)))) == 1
    )


@pytest.mark.parametrize(
    ("files", "src", "kind", "message"),
    [
        ([], "gone", None, "the source .*gone does not exist$"),
        ([], "*.tar", None, r"does not exist; a \* is not expanded"),
        ([], "{0..1}.tar", None, "2 of the 2 files of .* do not exist, the first is .*0.tar"),
        (
            ["0.tar"],
            "{0..1}.tar",
            None,
            "1 of the 2 files of .* do not exist, the first is .*1.tar",
        ),
        ([], "{0..1.tar", None, "cannot be expanded"),
        ([], "", None, r"nothing to encode in .* named \.jpg .*; tars; tables"),
        (["notes.md"], "", None, r"nothing to encode in .*; it holds 1 \.md\."),
        (
            ["1.jpg", "x/1.tar"],
            "",
            None,
            "tars and loose images .*--source-kind webdataset or --source-kind folder",
        ),
        (
            ["1.jpg"],
            "1.jpg",
            None,
            "1.jpg is no source .* give a folder, or a file named .tar .jsonl",
        ),
        (["1.jpg"], "1.jpg", "folder", "needs a folder"),
        (["1.jpg"], "", "mds", "no source of kind 'mds': give one of folder, manifest, webdataset"),
        (["1.jpg"], "", "manifest", r"no table in .*: looked for \.jsonl"),
        (
            ["meta.jsonl", "metadata.jsonl"],
            "",
            None,
            r"several manifests \(metadata.jsonl, meta.jsonl\)",
        ),
    ],
)
def test_what_cannot_be_recognised_is_refused_with_the_remedy(
    tmp_path: Path, files: list[str], src: str, kind: str | None, message: str
) -> None:
    for name in files:
        write(
            tmp_path / name,
            '{"file_name": "1.jpg", "text": "cat"}' if name.endswith(".jsonl") else b"media",
        )
    with pytest.raises(PrepError, match=message):
        list(open_source(str(tmp_path / src), kind=kind).list(Account()))


@pytest.mark.parametrize(
    "url", ["s3://bucket/path", "https://host/a.tar", "gs://bucket/{00..01}.tar"]
)
def test_urls_are_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(
        PrepError, match=r"remote sources .* are not read yet; copy it here or mount it"
    ):
        open_source(url)


def test_mixed_folders_open_as_the_kind_that_was_forced(tmp_path: Path) -> None:
    write(tmp_path / "1.jpg")
    write(tmp_path / "1.txt", "caption")
    write_tar(tmp_path / "x" / "1.tar", samples("0", "1"))
    assert len(load_all(open_source(tmp_path, kind="folder"))) == 1
    assert len(load_all(open_source(tmp_path, kind="webdataset"))) == 2


def test_output_within_the_source_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path / "1.jpg")
    write(tmp_path / "encoded" / ".energon-prep" / "run.json")
    write(tmp_path / "encoded" / "shard_000000.tar")
    assert isinstance(open_source(tmp_path), FolderSource)


def test_a_source_is_rebuilt_from_its_description_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "f" / "1.jpg")
    write(tmp_path / "f" / "1.long", "caption")
    write(tmp_path / "m" / "m.jsonl", '{"second": "../f/1.jpg", "long": "cat"}')
    for name in ("w", "v"):
        write_tar(tmp_path / f"{name}.tar", [("0.long", b"caption"), ("0.jpg", b"x")])
    monkeypatch.chdir(tmp_path)
    options = SourceOptions(caption_keys=("long",), allow_empty_captions=True, max_bytes=10)
    for src, media_key in (
        ("f", None),
        ("m/m.jsonl", "second"),
        ("w.tar", "jpg"),
        ("{w,v}.tar", None),
    ):
        monkeypatch.chdir(tmp_path)
        source = open_source(src, options=dataclasses.replace(options, media_key=media_key))
        description = json.loads(json.dumps(source.describe()))
        before = [str(outcome) for outcome in load_all(source)]
        assert description["root"] == str(tmp_path.resolve() / src)
        monkeypatch.chdir("/")
        rebuilt = make_source(description)
        assert type(rebuilt) is type(source) and rebuilt.describe() == description
        assert [str(outcome) for outcome in load_all(rebuilt)] == before


@pytest.mark.parametrize("change", [{"kind": "mds"}, {"kind": None}, {"new_option": 1}])
def test_a_description_of_another_version_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    write(tmp_path / "1.jpg")
    with pytest.raises(
        PrepError, match=r"not the (description|options) of a source that this version knows"
    ):
        make_source({**open_source(tmp_path).describe(), **change})


def test_nothing_heavy_is_imported() -> None:
    code = """
import sys, energon_prep.sources.detect
print([name for name in ("torch", "pyarrow", "numpy", "PIL") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
