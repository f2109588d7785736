"""Entries that other programs wrote, or damage, must not lead a reader astray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from energon_prep.errors import PrepError
from energon_prep.shards.ledger import read_ledger
from tests.verifying.data import write_dit


@pytest.mark.parametrize(
    "fields",
    [
        {"sha256": "\ud800"},
        {"sha256": "no hexadecimal"},
        {"rejects_sha256": "\udfff"},
        {"content": "\ud800"},
        {"notes": {"\ud800": 1}},
        {"rejects": {"read: \ud800": 0}},
        {"halved": {"\ud800": 1}},
    ],
)
def test_words_that_cannot_be_digested_are_told(tmp_path: Path, fields: dict[str, Any]) -> None:
    root = write_dit(tmp_path / "set", shards=1)
    path = root / ".energon-prep/ledger/shard_000000.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    with pytest.raises(PrepError, match="is not a ledger entry") as told:
        read_ledger(root)
    str(told.value).encode()
