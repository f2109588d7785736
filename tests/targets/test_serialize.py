from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from energon_prep.targets.serialize import dumps_json, dumps_pickle, dumps_pth, serialize

DIGEST = """
import hashlib, torch
from energon_prep.targets.serialize import dumps_pickle, dumps_pth
t = torch.arange(60, dtype=torch.float32).reshape(3, 20).bfloat16()
print(hashlib.sha256(dumps_pickle({"prompt_embeds": t}) + dumps_pth(t)).hexdigest())
"""


def test_pth_of_a_slice_holds_the_slice_alone() -> None:
    batch = torch.randn(64, 16, 1, 32, 32)
    data = dumps_pth(batch[3])
    assert len(data) < 16 * 32 * 32 * 4 + 4096
    assert torch.equal(torch.load(io.BytesIO(data), weights_only=True), batch[3])


def test_pickles_are_stable_and_plain_pickle_reads_them() -> None:
    tensor = torch.randn(5, 8).bfloat16()
    value = {"prompt_embeds": tensor, "pooled": np.arange(4, dtype=np.float16)}
    first = dumps_pickle(value)
    assert first == dumps_pickle(
        {"prompt_embeds": tensor.clone(), "pooled": value["pooled"].copy()}
    )
    back = pickle.loads(first)
    assert torch.equal(back["prompt_embeds"], tensor)
    assert back["prompt_embeds"].dtype == torch.bfloat16
    assert np.array_equal(back["pooled"], value["pooled"])


def test_another_process_writes_the_same_bytes() -> None:
    runs = {
        subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert len(runs) == 1


def test_json_is_strict_ascii() -> None:
    assert json.loads(dumps_json({"caption": "caf\u00e9 \ud83d"})) == {
        "caption": "caf\u00e9 \ud83d"
    }
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps_json({"score": float("nan")})


def test_parts_are_serialised_by_suffix() -> None:
    tensor = torch.ones(2)
    parts = serialize({".json": {}, "a.pth": tensor, "pickle": tensor, "raw.jpg": b"\xff\xd8"})
    assert parts[".json"] == b"{}"
    assert parts["a.pth"] == dumps_pth(tensor)
    assert parts["pickle"] == dumps_pickle(tensor)
    assert parts["raw.jpg"] == b"\xff\xd8"
