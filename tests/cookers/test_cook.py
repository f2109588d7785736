from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from megatron.energon import Sample
from megatron.energon.task_encoder.base import get_stateless

from cookers import (
    DecodeError,
    LatentSample,
    Layout,
    UnsafePickleError,
    cook_latents,
    latent_cooker,
    make_cooker,
)
from tests.datasets import Poison, torch_bytes

LATENT = torch.randn(16, 1, 4, 6).bfloat16()
TEXT = torch.randn(5, 8).bfloat16()
POOLED = torch.randn(8).bfloat16()
BASE = {
    "__key__": "000000007",
    "__restore_key__": ("Webdataset", 7),
    "__subflavors__": {"target": "dit"},
}


def crude(
    latent: Any = LATENT, text: Any = TEXT, metadata: Any = None, *, dot: str = ""
) -> dict[str, Any]:
    """A crude sample of raw bytes."""
    parts = {
        "pth": torch_bytes(latent),
        "pickle": pickle.dumps(text),
        "json": json.dumps({"key": "7"} if metadata is None else metadata).encode(),
    }
    return {**BASE, **{dot + name: data for name, data in parts.items()}}


@pytest.mark.parametrize("dot", ["", "."])
def test_raw_parts_become_a_typed_sample(dot: str) -> None:
    sample = cook_latents(crude(dot=dot))
    assert isinstance(sample, LatentSample)
    assert isinstance(sample, Sample)
    assert (sample.__key__, sample.__restore_key__, sample.__subflavors__) == tuple(BASE.values())
    assert sample.latent.dtype == sample.text.dtype == torch.bfloat16
    assert torch.equal(sample.latent, LATENT)
    assert torch.equal(sample.text, TEXT)
    assert sample.pooled is None
    assert sample.metadata == {"key": "7"}


def test_decoded_parts_are_taken_as_they_are() -> None:
    sample = cook_latents(
        {**BASE, "pth": LATENT, "pickle": [TEXT.float().numpy()], "json": {"key": "7"}}
    )
    assert torch.equal(sample.latent, LATENT)
    assert torch.equal(sample.text, TEXT.float())


def test_the_cooker_is_stateless_and_takes_every_sample() -> None:
    assert get_stateless(latent_cooker.cook)  # Energon yields nothing from one that is not
    assert latent_cooker.is_match({"target": "nemo-dit"})


@pytest.mark.parametrize(
    "latent", [LATENT, LATENT[None], LATENT[:, 0]], ids=["CTHW", "1CTHW", "CHW"]
)
def test_latent_shapes(latent: torch.Tensor) -> None:
    assert torch.equal(cook_latents(crude(latent)).latent, LATENT)


ARRAY = TEXT.float().numpy().astype(np.float16)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT[None],
        [TEXT],
        [TEXT[None]],
        ARRAY,
        ARRAY[None],
        [ARRAY],
        ARRAY.astype(">f4"),
        {"prompt_embeds": ARRAY},
    ],
    ids=[
        "tensor",
        "1SD",
        "list",
        "list of 1SD",
        "array",
        "array 1SD",
        "list of array",
        "big-endian",
        "dict",
    ],
)
def test_text_forms(text: Any) -> None:
    sample = cook_latents(crude(text=text))
    assert sample.text.shape == (5, 8)
    torch.testing.assert_close(sample.text.float(), TEXT.float(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("pooled", [POOLED, POOLED[None], POOLED.float().numpy()])
def test_pooled_embeddings(pooled: Any) -> None:
    sample = cook_latents(crude(text={"prompt_embeds": TEXT[None], "pooled_prompt_embeds": pooled}))
    assert sample.pooled is not None
    assert torch.equal(sample.pooled.bfloat16(), POOLED)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (crude(torch.zeros(4, 4)), r"part 'pth': .* shape \[4, 4\]"),
        (crude(torch.zeros(2, 16, 1, 4, 4)), r"part 'pth': .* shape \[2, 16, 1, 4, 4\]"),
        (crude(torch.zeros(16, 0, 4, 4)), r"part 'pth': .* shape \[16, 0, 4, 4\]"),
        (crude(torch.zeros(16, 1, 4, 4, dtype=torch.int32)), r"part 'pth': .* torch\.int32"),
        (crude({"latent": LATENT}), r"part 'pth': a latent that is a dict"),
        (crude(text=torch.zeros(2, 5, 8)), r"part 'pickle': .* shape \[2, 5, 8\]"),
        (crude(text=torch.zeros(0, 8)), r"part 'pickle': .* shape \[0, 8\]"),
        (crude(text=np.zeros(8)), r"part 'pickle': .* shape \[8\]"),
        (
            crude(text=np.zeros((5, 8), dtype=np.int64)),
            r"part 'pickle': text that is an array of int64",
        ),
        (crude(text=[]), r"part 'pickle': text that is a list"),
        (crude(text="a caption"), r"part 'pickle': text that is a str"),
        (
            crude(text={"t5": TEXT}),
            r"part 'pickle': .*keys \['t5'\], without prompt_embeds or t5_embeds",
        ),
        (crude(metadata=[1]), r"part 'json': JSON of a list"),
        (crude(dot=".") | {".pth": b"x"}, r"part '\.pth': not a file that torch\.save wrote"),
        ({**BASE, "jpg": b"x"}, r"no part 'json' or '\.json' \(there are: jpg\)"),
        (
            {**crude(), "pickle": {"t5": {"states": TEXT}}},
            r"part 'pickle': the text encoder 't5' stores \['states'\]",
        ),
        (
            {**BASE, "json": b"{}", "mean.bytes": b"x"},
            r"no part 'pickle'.*; mlperf_cookers read these: .*preencoded_num",
        ),
    ],
)
def test_faults_name_key_part_and_value(sample: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        cook_latents(sample)
    assert "sample 000000007" in str(caught.value)


def test_what_foreign_scripts_write() -> None:
    """NeMo's own: a batched latent, and text padded to 512 rows of which most are zero."""
    padded = torch.cat([TEXT, torch.zeros(507, 8).bfloat16()])
    sample = cook_latents(crude(LATENT[None], padded[None], {"image_height": 32}, dot="."))
    assert torch.equal(sample.latent, LATENT)
    assert torch.equal(sample.text, TEXT)
    kept = make_cooker(Layout(trim=False)).cook(crude(text=padded))
    assert len(kept.text) == 512
    assert len(cook_latents(crude(text=torch.zeros(4, 8))).text) == 1


def test_dicts_of_either_naming() -> None:
    sample = cook_latents(crude(text={"t5_embeds": TEXT, "clip_embeds": POOLED}))
    assert torch.equal(sample.text, TEXT)
    assert sample.pooled is not None
    assert torch.equal(sample.pooled, POOLED)


def test_latents_that_were_stored_without_shift_and_scale() -> None:
    sample = make_cooker(Layout(shift=0.1159, scale=0.3611)).cook(crude())
    torch.testing.assert_close(sample.latent, ((LATENT.float() - 0.1159) * 0.3611).bfloat16())


GENERIC = {
    "t5": {"hidden": TEXT},
    "clip": {"hidden": TEXT[:2] + 1, "pooled": POOLED},
    "big": {"pooled": POOLED + 1},
}


@pytest.mark.parametrize(
    ("layout", "text", "pooled"),
    [
        (Layout(), TEXT, POOLED),  # the first that has one
        (Layout(hidden_from="clip", pooled_from="big"), TEXT[:2] + 1, POOLED + 1),
    ],
)
def test_several_text_encoders(layout: Layout, text: torch.Tensor, pooled: torch.Tensor) -> None:
    sample = make_cooker(layout).cook(crude(text=GENERIC))
    assert torch.equal(sample.text, text)
    assert torch.equal(sample.pooled, pooled)
    assert {name: sorted(stored) for name, stored in sample.encoders.items()} == {
        "t5": ["hidden"],
        "clip": ["hidden", "pooled"],
        "big": ["pooled"],
    }


@pytest.mark.parametrize(
    ("layout", "text", "message"),
    [
        (
            Layout(hidden_from="umt5"),
            GENERIC,
            r"no text encoder 'umt5' with hidden embeddings \(there are: t5, clip\)",
        ),
        (
            Layout(pooled_from="t5"),
            GENERIC,
            r"no text encoder 't5' with pooled embeddings \(there are: clip, big\)",
        ),
        (Layout(), {"clip": {"pooled": POOLED}}, "the text encoders clip have no hidden states"),
        (Layout(), {"t5": {"hidden": TEXT[None]}}, r"shape \[1, 5, 8\], not \[S, D\]"),
        (Layout(batched_text=False), TEXT[None], r"shape \[1, 5, 8\], not \[S, D\]"),
        (
            Layout(batched_text=False),
            {"prompt_embeds": TEXT, "clip_embeds": POOLED[None]},
            r"shape \[1, 8\], not \[D\]",
        ),
    ],
)
def test_text_that_is_not_understood(layout: Layout, text: Any, message: str) -> None:
    with pytest.raises(ValueError, match=r"sample 000000007, part 'pickle': .*" + message):
        make_cooker(layout).cook(crude(text=text))


def test_one_of_several_resolutions() -> None:
    parts = {name: value for name, value in crude().items() if name != "pth"}
    several = {**parts, "512.pth": torch_bytes(LATENT), "256.pth": torch_bytes(LATENT[..., :2])}
    assert make_cooker(Layout(resolution="256")).cook(several).latent.shape == (16, 1, 4, 2)
    # there is no choice
    assert cook_latents({**parts, "512.pth": torch_bytes(LATENT)}).latent.shape == LATENT.shape
    with pytest.raises(
        ValueError, match=r"several resolutions \(512\.pth, 256\.pth\); .*resolution='512'"
    ):
        cook_latents(several)
    with pytest.raises(ValueError, match=r"no part '1024\.pth'"):
        make_cooker(Layout(resolution="1024")).cook(several)


MOMENTS = torch.cat([LATENT, LATENT - 3])


@pytest.mark.parametrize(
    ("latent", "metadata"),
    [
        (MOMENTS, {"latent_shape": [16, 1, 4, 6]}),
        (MOMENTS, {"posterior": "moments", "latent_shape": [32, 1, 4, 6]}),
        (MOMENTS[:, 0], {"latent_shape": [16, 4, 6]}),
    ],
)
def test_moments(latent: torch.Tensor, metadata: dict[str, Any]) -> None:
    sample = cook_latents(crude(latent, metadata=metadata))
    assert torch.equal(sample.latent, LATENT)
    assert sample.logvar is not None
    assert torch.equal(sample.logvar, LATENT - 3)


@pytest.mark.parametrize("metadata", [{}, {"latent_shape": [32, 1, 4, 6]}, {"latent_shape": None}])
def test_latents_that_are_no_moments(metadata: dict[str, Any]) -> None:
    sample = cook_latents(crude(MOMENTS, metadata=metadata))
    assert torch.equal(sample.latent, MOMENTS)
    assert sample.logvar is None


def test_moments_of_an_odd_number_of_channels() -> None:
    with pytest.raises(ValueError, match="part 'pth': moments of 15 channels"):
        cook_latents(crude(LATENT[:15], metadata={"posterior": "moments"}))


def test_poisoned_parts_are_refused_by_name_and_do_not_run(tmp_path: Path) -> None:
    poison = Poison(tmp_path / "ran")
    with pytest.raises(
        UnsafePickleError, match=r"sample 000000007, part 'pickle': .*posix\.system"
    ):
        cook_latents(crude(text=poison))
    with pytest.raises(UnsafePickleError, match=r"sample 000000007, part 'pth': .*posix\.system"):
        cook_latents(crude(latent=poison))
    with pytest.raises(DecodeError, match=r"sample 000000007, part 'json'"):
        cook_latents({**crude(), "json": pickle.dumps(poison)})
    assert not list(tmp_path.iterdir())
