from __future__ import annotations

from pathlib import Path

import pytest

from energon_prep.errors import PrepError
from energon_prep.indexing import index
from energon_prep.indexing.meta import SPLIT_ASIDE
from energon_prep.indexing.refresh import is_stale
from tests.indexing.tars import write_ours

META = ".nv-meta"


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    root = write_ours(tmp_path / "set", shards=4)
    index(root, split="1,1,0")
    return root


def test_an_index_is_stale_when_it_is_not_of_the_ledger_s_shards(ours: Path) -> None:
    assert not is_stale(ours)
    write_ours(ours, shards=5)
    assert is_stale(ours)
    index(ours, split=None)
    assert not is_stale(ours)
    (ours / META / "split.yaml").unlink()
    assert is_stale(ours)
    (ours / META / ".info.json").unlink()
    assert not is_stale(ours)  # there is none


def test_shards_stay_in_their_split_and_new_ones_go_where_a_share_is_lacking(ours: Path) -> None:
    before = (ours / META / "split.yaml").read_text()
    write_ours(ours, shards=7)
    samples = index(ours, split=None).split
    assert {name: shards for name, (shards, _) in samples.items()} == {
        "train": 4,
        "val": 3,
        "test": 0,
    }
    after = (ours / META / "split.yaml").read_text()
    assert "shard_{000000..000001}.tar" in before and "shard_{000000..000001}.tar" in after
    assert not (ours / META / SPLIT_ASIDE).exists()


def test_what_was_cut_short_knows_the_splits_still(
    ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ours(ours, shards=6)

    def fail(*_: object, **__: object) -> None:
        raise PrepError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("energon_prep.indexing.build.write_configs", fail)
        with pytest.raises(PrepError, match="killed"):
            index(ours, split=None)
    assert not (ours / META / "split.yaml").exists() and is_stale(ours)
    assert {name: shards for name, (shards, _) in index(ours, split=None).split.items()} == {
        "train": 3,
        "val": 3,
        "test": 0,
    }
