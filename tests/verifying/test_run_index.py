from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from energon_prep.verifying import verify
from tests.verifying.edits import TAR, edit_dataset, edit_split, flip, other_counts, sql


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (
            lambda root: edit_dataset(root, "target: dit", "a: b"),
            "subflavor target is missing, which is 'dit'",
        ),
        (
            lambda root: edit_dataset(root, "target: dit", "target: wan"),
            "subflavor target is 'wan', not 'dit'",
        ),
        (
            lambda root: edit_dataset(root, "CrudeWebdataset", "CaptioningWebdataset"),
            "it is of megatron.energon:CaptioningWebdataset, not of megatron.energon:CrudeWebdata",
        ),
        (
            lambda root: edit_split(root, lambda split: split["split_parts"].pop("train")),
            "it has no split train, which training reads",
        ),
        (
            lambda root: edit_split(root, lambda split: split["split_parts"].update(text=[])),
            "Energon knows no split 'text'",
        ),
        (
            lambda root: (root / ".nv-meta/.info.yaml").write_text("shard_counts: {}"),
            ".nv-meta/.info.yaml: its counts are not those of .info.json",
        ),
        (
            lambda root: sql(root, "PRAGMA user_version = 7"),
            "index.sqlite: it was not made of the dataset's tars",
        ),
        (
            lambda root: sql(root, "DROP INDEX idx_samples_by_tar_and_idx"),
            "index.sqlite: it is not as Energon makes it",
        ),
        (
            lambda root: edit_dataset(root, "subflavors:", "- ["),
            ".nv-meta/dataset.yaml: it cannot be read",
        ),
        (
            lambda root: (root / ".nv-meta/split.yaml").unlink(),
            ".nv-meta/split.yaml: it is missing",
        ),
        (
            lambda root: (root / ".nv-meta/split.yaml").write_text("- ["),
            ".nv-meta/split.yaml: it cannot be read",
        ),
        (
            lambda root: (root / ".nv-meta/.info.json").write_text("?"),
            ".nv-meta/.info.json: it cannot be read",
        ),
        (
            lambda root: (root / ".nv-meta/index.sqlite").write_text("?"),
            ".nv-meta/index.sqlite: it cannot be read",
        ),
        (other_counts, f".nv-meta/.info.json: {TAR} has 4 samples, in the ledger 3"),
        (other_counts, ".nv-meta/index.sqlite: it has 9 samples, .info.json 10"),
        (
            lambda root: edit_split(root, lambda split: split["split_parts"]["val"].clear()),
            "is not in it",
        ),
        (
            lambda root: edit_split(root, lambda split: split["split_parts"]["val"].append(TAR)),
            "is in it 2 times",
        ),
        (
            lambda root: edit_split(
                root, lambda split: split["split_parts"]["val"].append("x.tar")
            ),
            "x.tar is in it",
        ),
        (
            lambda root: edit_split(root, lambda split: split["exclude"].append(TAR)),
            "takes samples out of training",
        ),
        (lambda root: (root / f"{TAR}.idx").unlink(), f"{TAR}: {TAR}.idx: it cannot be read"),
        (lambda root: flip(root / f"{TAR}.idx", 9), f"{TAR}: {TAR}.idx: sample 1 begins at"),
        (
            lambda root: flip(root / f"{TAR}.idx", 25),
            f"{TAR}: {TAR}.idx: it does not end where the tar does",
        ),
        (
            lambda root: sql(root, "UPDATE samples SET sample_key = 'x' WHERE rowid = 5"),
            "index.sqlite: sample 1 is 'x'",
        ),
        (
            lambda root: sql(root, "UPDATE samples SET byte_size = 1 WHERE rowid = 6"),
            "index.sqlite: sample 2 ends at",
        ),
        (
            lambda root: sql(
                root, "UPDATE sample_parts SET content_byte_size = 1 WHERE rowid = 15"
            ),
            "has in the tar",
        ),
        (
            lambda root: sql(root, "DELETE FROM sample_parts WHERE rowid = 27"),
            "index.sqlite: sample 2 has in the tar",
        ),
        (
            lambda root: sql(root, "INSERT INTO sample_parts VALUES (1, 2, 'zip', 999999, 1)"),
            "index.sqlite: it has more samples or parts",
        ),
    ],
)
def test_what_is_wrong_with_the_index_is_told(
    root: Path, spoil: Callable[[Path], object], problem: str
) -> None:
    spoil(root)
    report = verify(root)
    assert not report.ok
    assert [found for found in report.problems if problem in found], report.problems


def test_an_edited_dataset_yaml_is_a_note(root: Path) -> None:
    edit_dataset(root, "subflavors:", "subflavors:\n  mine: x")
    report = verify(root)
    assert report.ok
    assert report.notes == (".nv-meta/dataset.yaml was edited by hand, or by other tools",)
