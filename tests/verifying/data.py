"""Small datasets as ``encode`` leaves them, with real parts."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from energon_prep.layout import EMPTY_CAPTION, PLAN, RUN
from energon_prep.plan.shards import ShardPlan, to_line
from energon_prep.samples import Reject
from energon_prep.shards.head import begin_head, publish_noted, seal
from energon_prep.shards.ledger import read_ledger
from energon_prep.shards.writer import ShardWriter
from energon_prep.sources.base import Piece
from energon_prep.storage import LocalStorage, publish_bytes
from energon_prep.targets.serialize import dumps_pickle, serialize

PLANNED = 4  #: samples of a shard, the last of which is rejected

Change = Callable[[int, dict[str, Any]], None]


def make_parts(serial: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(serial)
    latent = torch.randn(16, 1, 4, 6, generator=generator).bfloat16()
    text = torch.randn(1 + serial % 5, 8, generator=generator).bfloat16()
    return {"json": {"key": serial}, "pickle": text, "pth": latent}


def write_dit(
    root: Path, shards: int = 3, *, change: Change | None = None, all_rejected: int | None = None
) -> Path:
    """A dataset for ``dit``; ``change`` may alter a sample's parts (bytes are written as they
    are).
    """
    storage = LocalStorage(root)
    plans = []
    for shard in range(shards):
        first = shard * PLANNED
        with ShardWriter(storage, index=shard, num_planned=PLANNED) as writer:
            for serial in range(first, first + PLANNED):
                if serial == first + PLANNED - 1 or shard == all_rejected:
                    writer.reject(
                        Reject(
                            serial=serial, key=f"k{serial}", source="s", stage="read", reason="gone"
                        )
                    )
                    continue
                parts = make_parts(serial)
                if change is not None:
                    change(serial, parts)
                writer.write(serial, [(None, serialize(parts))])
            writer.finish()
        plans.append(
            ShardPlan(
                index=shard, first_serial=first, pieces=(Piece("s", first, PLANNED),), digest="x"
            )
        )
    publish_bytes(storage, PLAN, b"".join(map(to_line, plans)))
    run = {"schema": 1, "target": {"name": "dit", "subflavors": {"target": "dit"}}}
    publish_bytes(storage, EMPTY_CAPTION, dumps_pickle(torch.ones(1, 8)))
    begin_head(storage, [PLAN, EMPTY_CAPTION])
    publish_noted(storage, RUN, json.dumps(run).encode())
    entries = read_ledger(root) or []
    assert len(entries) == shards
    seal(storage, entries)
    return root


def rewrite_tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def read_tar(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        return [(member.name, file.read()) for member in tar if (file := tar.extractfile(member))]
