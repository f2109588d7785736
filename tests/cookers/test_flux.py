from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cookers import (
    DecodeError,
    LatentSample,
    UnsafePickleError,
    as_text,
    mlperf_cookers,
    primus_cookers,
    unpack_text,
)
from task_encoders import FluxTaskEncoder, LatentTaskEncoder
from tests.datasets import torch_bytes, write_samples
from tests.task_encoders.trainers import open_loader, take

BASE = {"__key__": "7", "__restore_key__": ("Webdataset", 7), "__subflavors__": {}}
MEAN, LOGVAR = torch.randn(16, 4, 6).bfloat16(), torch.randn(16, 4, 6).bfloat16()
TEXT, POOLED = torch.randn(5, 8).bfloat16(), torch.randn(6).bfloat16()
INFO = json.dumps({"key": "7", "timestep": 3}).encode()

PRIMUS = {
    "latents.pth": torch_bytes(MEAN),
    "prompt_embeds.pth": torch_bytes(TEXT),
    "pooled_prompt_embeds.pth": torch_bytes(POOLED),
    "caption.txt": "a cat, caf\u00e9".encode(),
}
PRIMUS_MOMENTS = {
    **PRIMUS,
    "mean.pth": torch_bytes(MEAN),
    "logvar.pth": torch_bytes(LOGVAR),
    "json": INFO,
}


def npy(tensor: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, tensor.view(torch.uint16).numpy())
    return buffer.getvalue()


MLPERF = {
    "mean.bytes": npy(MEAN),
    "logvar.bytes": npy(LOGVAR),
    "t5.bytes": npy(TEXT),
    "clip.bytes": npy(POOLED),
    "json": INFO,
}


def cook(cookers: list[Any], parts: dict[str, bytes]) -> LatentSample:
    sample: LatentSample = cookers[0].cook({**BASE, **parts})
    return sample


def test_primus_latents_are_ready_as_they_are() -> None:
    sample = cook(primus_cookers(), PRIMUS)
    assert torch.equal(sample.latent, MEAN[:, None])
    assert sample.logvar is None
    assert torch.equal(sample.text, TEXT)
    assert sample.pooled is not None
    assert torch.equal(sample.pooled, POOLED)
    assert sample.metadata == {"caption": "a cat, caf\u00e9"}


@pytest.mark.parametrize(
    ("make", "parts"), [(primus_cookers, PRIMUS_MOMENTS), (mlperf_cookers, MLPERF)]
)
def test_stored_moments_are_normalized(make: Any, parts: dict[str, bytes]) -> None:
    """Both trainers do 0.3611 * (draw - 0.1159) in the step."""
    sample = cook(make(), parts)
    assert sample.logvar is not None
    expected = (MEAN[:, None].float() - 0.1159) * 0.3611
    torch.testing.assert_close(sample.latent.float(), expected, rtol=1e-2, atol=1e-3)
    ratio = (sample.logvar.float() / 2).exp() / (LOGVAR[:, None].float() / 2).exp()
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.3611), rtol=2e-2, atol=0)
    assert sample.metadata["timestep"] == 3
    raw = cook(make(shift=0.0, scale=1.0), parts)
    assert torch.equal(raw.latent, MEAN[:, None])
    assert torch.equal(raw.text, TEXT)
    assert torch.equal(raw.pooled, POOLED)


@pytest.mark.parametrize(
    ("make", "parts"), [(primus_cookers, PRIMUS_MOMENTS), (mlperf_cookers, MLPERF)]
)
def test_parts_with_a_dot_before_their_names_are_the_same(
    make: Any, parts: dict[str, bytes]
) -> None:
    plain = cook(make(), parts)
    dotted = cook(make(), {f".{name}": data for name, data in parts.items()})
    assert dotted.logvar is not None
    assert torch.equal(dotted.latent, plain.latent)
    assert torch.equal(dotted.logvar, plain.logvar)
    assert dotted.metadata == plain.metadata


@pytest.mark.parametrize(
    ("make", "parts", "message"),
    [
        (
            primus_cookers,
            {},
            r"sample 7: no part 'latents\.pth' or '\.latents\.pth' \(there are: none\)",
        ),
        (primus_cookers, {"mean.pth": torch_bytes(MEAN)}, r"sample 7: no part 'logvar\.pth'"),
        (mlperf_cookers, {"t5.bytes": npy(TEXT)}, r"sample 7: no part 'mean\.bytes'"),
        (
            mlperf_cookers,
            {**MLPERF, "logvar.bytes": npy(LOGVAR[:, :2])},
            r"mean\.bytes of shape \[16, 1, 4, 6\], logvar",
        ),
        (
            mlperf_cookers,
            {**MLPERF, "t5.bytes": npy(TEXT)[:-2]},
            r"part 't5\.bytes': not a file .* buffer is too small",
        ),
        (
            mlperf_cookers,
            {**MLPERF, "clip.bytes": b"\x00" * 12},
            r"part 'clip\.bytes': not a file that np\.save wrote",
        ),
    ],
)
def test_faults_name_key_and_part(make: Any, parts: dict[str, bytes], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cook(make(), parts)


def test_arrays_that_are_not_the_bits_of_bfloat16() -> None:
    buffer = io.BytesIO()
    np.save(buffer, TEXT.float().numpy())
    with pytest.raises(DecodeError, match=r"part 't5\.bytes': an array of float32, not of uint16"):
        cook(mlperf_cookers(), {**MLPERF, "t5.bytes": buffer.getvalue()})
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UnsafePickleError, match="an array of dtype object"):
        cook(mlperf_cookers(), {**MLPERF, "t5.bytes": buffer.getvalue()})


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")
@pytest.mark.parametrize(
    ("parts", "subflavors"),
    [
        (PRIMUS, {"target": "primus-flux"}),
        (PRIMUS_MOMENTS, {"encoding": "preencoded"}),
        (MLPERF, {"target": "mlperf-flux"}),
        (MLPERF, {"encoding": "preencoded_numpy"}),
    ],
    ids=["primus", "primus moments", "mlperf", "mlperf of primus"],
)
def test_our_task_encoders_read_both(
    tmp_path: Path, parts: dict[str, bytes], subflavors: dict[str, str]
) -> None:
    dataset_dir = write_samples(tmp_path / "dataset", [parts] * 2, subflavors=subflavors)
    flux = FluxTaskEncoder(text_width=8, pooled_width=6)
    (batch,), _ = take(open_loader(dataset_dir, flux, batch_size=2), 1)
    assert batch["latents"].shape == (2, 16, 4, 6)
    # moments are drawn from
    assert torch.equal(batch["latents"][0], batch["latents"][1]) == (parts is PRIMUS)
    (latent_batch,), _ = take(open_loader(dataset_dir, LatentTaskEncoder(), batch_size=2), 1)
    assert torch.equal(latent_batch.pooled, torch.stack([POOLED, POOLED]))


def test_the_empty_caption_of_an_mlperf_dataset() -> None:
    text = as_text(unpack_text({"t5": npy(TEXT), "clip": npy(POOLED)}))
    assert torch.equal(text.text, TEXT)
    assert text.pooled is not None
    assert torch.equal(text.pooled, POOLED)
    assert unpack_text(TEXT) is TEXT
