"""Each target: what it builds passes its own check, and the corruptions seen in the wild do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from energon_prep.errors import PrepError
from energon_prep.samples import EncodedSample, SampleInfo, Size, TextEmbedding
from energon_prep.targets import TARGETS, ContractError, get_target


def encoded(*, frames: int = 1, metadata: dict[str, Any] | None = None) -> EncodedSample:
    info = SampleInfo(
        serial=7,
        key="cats/1",
        source="cats/1.jpg",
        caption="a cat",
        metadata=metadata or {},
        clip=None,
        num_frames=frames,
        framerate=None if frames == 1 else 24.0,
        start=None if frames == 1 else 0.0,
        original_height=640,
        original_width=960,
        sizes={"64x96": Size(height=64, width=96, crop=(0, 0, 640, 960))},
    )
    hidden = torch.randn(3, 1024).bfloat16()
    text = TextEmbedding(hidden=hidden, pooled=None, num_tokens=3, truncated=False)
    latent = torch.randn(16, 1 + (frames - 1) // 4, 8, 12).bfloat16()
    return EncodedSample(info=info, latents={"64x96": latent}, texts={"t5": text})


@pytest.mark.parametrize("frames", [1, 9])
@pytest.mark.parametrize("name", TARGETS)
def test_what_a_target_builds_it_accepts(name: str, frames: int) -> None:
    target = get_target(name)
    parts = target.build(encoded(frames=frames))
    assert tuple(parts) == target.part_names
    target.check(parts)
    info = next(value for part, value in parts.items() if part.endswith("json"))
    assert info["latent_shape"] == [16, 1 + (frames - 1) // 4, 8, 12]
    assert (info["height"], info["width"], info["aspect_ratio"]) == (64, 96, 1.5)
    assert info["media"] == ("image" if frames == 1 else "video")


def test_the_json_has_the_same_keys_in_every_target() -> None:
    common = set(get_target("dit").build(encoded())["json"])
    assert common <= set(get_target("nemo-dit").build(encoded())[".json"])


def test_nemo_dit_stores_what_nemo_reads() -> None:
    target = get_target("nemo-dit")
    image = target.build(encoded(metadata={"aesthetic": 6}))
    assert isinstance(image[".pickle"], np.ndarray)
    assert image[".pickle"].dtype == np.float16
    assert image[".json"]["aesthetic_score"] == 6.0
    assert (image[".json"]["image_height"], image[".json"]["image_width"]) == (64, 96)
    video = target.build(encoded(frames=9))
    assert isinstance(video[".pickle"], list)
    assert video[".pickle"][0].shape == (3, 1024)
    assert video[".json"]["aesthetic_score"] == 0.0
    assert (video[".json"]["num_frames"], video[".json"]["framerate"]) == (9, 24.0)


def _nan(parts: dict[str, Any]) -> None:
    parts["pth"][0, 0, 0, 0] = float("nan")


def _huge(parts: dict[str, Any]) -> None:
    parts["pth"][0, 0, 0, 0] = 2000


def _set(part: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    def damage(parts: dict[str, Any]) -> None:
        parts[part] = change(parts[part])

    return damage


DIT_DAMAGE = [
    (_nan, "pth has NaN or Inf"),
    (_huge, "pth is empty or exceeds 1000 in magnitude"),
    (_set("pth", lambda x: x[None]), r"pth has shape \[1, 16, 1, 8, 12\], 5 dimensions instead of 4"),
    (_set("pth", lambda x: x[:, :, :7].clone()), "height and width must be multiples of 2"),
    (_set("pth", lambda x: torch.stack([x, x])[0]), "pth is a view: 6144 bytes are stored for 1536 numbers"),
    (_set("pth", lambda x: x.to(torch.int8)), "pth is torch.int8, not a float dtype"),
    (_set("pth", lambda x: x.float().numpy()), "pth is a ndarray, not a torch.Tensor"),
    (_set("pickle", lambda x: x[None]), r"pickle has shape \[1, 3, 1024\], not \[S, D\]"),
    (_set("pickle", lambda x: torch.ones(513, 8)), "pickle has 513 tokens, not 1 to 512"),
    (_set("pickle", lambda x: x[:0]), "pickle has 0 tokens, not 1 to 512"),
    (_set("pickle", lambda x: x * 0), "pickle is all zero"),
    (_set("pickle", lambda x: x * float("inf")), "pickle has NaN or Inf"),
    (_set("pickle", lambda x: [x]), "pickle is a list, not embeddings"),
    (_set("pickle", lambda x: np.array([[object()]])), "pickle is object, not a float dtype"),
    (_set("json", lambda x: [x]), "json is a list, not an object"),
    (lambda parts: parts.pop("pickle"), "part 'pickle' is missing"),
]


@pytest.mark.parametrize(("damage", "message"), DIT_DAMAGE)
def test_dit_refuses(damage: Callable[[dict[str, Any]], None], message: str) -> None:
    target = get_target("dit")
    parts = target.build(encoded())
    damage(parts)
    with pytest.raises(ContractError, match=message):
        target.check(parts)


NEMO_DAMAGE = [
    (lambda parts: parts[".json"].pop("aesthetic_score"), 1, "lacks the key 'aesthetic_score'"),
    (lambda parts: parts[".json"].pop("image_height"), 1, "lacks the key 'image_height'"),
    (lambda parts: parts[".json"].pop("framerate"), 9, "lacks the key 'framerate'"),
    (_set(".pickle", torch.from_numpy), 1, "holds a Tensor, not an np.ndarray"),
    (_set(".pickle", lambda x: x[None]), 1, r"has shape \[1, 3, 1024\]"),
    (_set(".pickle", lambda x: x[0]), 9, "of a video is a ndarray, not a list"),
    (_set(".pth", lambda x: x[None]), 1, "5 dimensions instead of 4"),
]


@pytest.mark.parametrize(("damage", "frames", "message"), NEMO_DAMAGE)
def test_nemo_dit_refuses(damage: Callable[[dict[str, Any]], None], frames: int, message: str) -> None:
    target = get_target("nemo-dit")
    parts = target.build(encoded(frames=frames))
    damage(parts)
    with pytest.raises(ContractError, match=message):
        target.check(parts)


def test_an_unknown_target_names_those_there_are() -> None:
    with pytest.raises(PrepError, match="no target 'wam': the targets are dit, nemo-dit"):
        get_target("wam")
