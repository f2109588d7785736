"""Each target: what it builds passes its own check, and the corruptions seen in the wild do not."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cookers.safe import load_json, load_pickle, load_pth
from energon_prep.errors import PrepError
from energon_prep.samples import EncodedSample, SampleInfo, Size, TextEmbedding
from energon_prep.targets import TARGETS, ContractError, get_target, require_fit
from energon_prep.targets.serialize import serialize

CHANNELS = {"mlperf-flux": 32}
VIDEO = ("dit", "nemo-dit", "wan", "generic")
WIDTHS = {"dit": 1024, "nemo-dit": 1024, "generic": 8}


def encoded(
    name: str = "dit", *, frames: int = 1, metadata: dict[str, Any] | None = None
) -> EncodedSample:
    """A sample as the recipes of that target make it."""
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
    hidden = torch.randn(3, WIDTHS.get(name, 4096)).bfloat16()
    text = TextEmbedding(hidden=hidden, pooled=None, num_tokens=3, truncated=False)
    clip = TextEmbedding(
        hidden=None, pooled=torch.randn(768).bfloat16(), num_tokens=3, truncated=False
    )
    texts = {
        key: clip if key == "clip" else text
        for key in get_target(name).text_names or ("t5", "clip")
    }
    latent = torch.randn(CHANNELS.get(name, 16), 1 + (frames - 1) // 4, 8, 12).bfloat16()
    return EncodedSample(info=info, latents={"64x96": latent}, texts=texts)


def read_back(parts: dict[str, Any]) -> dict[str, Any]:
    """The parts as they come from the tar."""
    loaders: dict[str, Callable[[bytes], Any]] = {
        "pth": load_pth,
        "pickle": load_pickle,
        "json": load_json,
    }
    return {
        part: loaders.get(part.rpartition(".")[2], bytes)(data)
        for part, data in serialize(parts).items()
    }


@pytest.mark.parametrize(("name", "frames"), [(n, 1) for n in TARGETS] + [(n, 9) for n in VIDEO])
def test_what_a_target_builds_it_accepts(name: str, frames: int) -> None:
    target = get_target(name)
    sample = encoded(name, frames=frames)
    parts = target.build(sample)
    assert set(target.part_names) <= set(parts)
    target.check(parts)
    target.check(read_back(parts))
    info = next(value for part, value in parts.items() if part.endswith("json"))
    assert info["latent_shape"] == list(sample.latent.shape)
    assert (info["height"], info["width"], info["aspect_ratio"]) == (64, 96, 1.5)
    assert info["media"] == ("image" if frames == 1 else "video")


@pytest.mark.parametrize("name", sorted(set(TARGETS) - set(VIDEO)))
def test_a_clip_is_refused_where_images_are_trained(name: str) -> None:
    with pytest.raises(ContractError, match="the latent has 3 frames: this target takes images"):
        get_target(name).build(encoded(name, frames=9))


def test_the_subflavors_name_the_target() -> None:
    assert get_target("primus-flux").subflavors() == {
        "target": "primus-flux",
        "encoding": "preencoded",
    }
    assert get_target("mlperf-flux").subflavors() == {
        "target": "mlperf-flux",
        "encoding": "preencoded_numpy",
    }
    assert all(get_target(name).subflavors()["target"] == name for name in TARGETS)


def test_the_json_has_the_same_keys_in_every_target() -> None:
    common = set(get_target("dit").build(encoded())["json"])
    for name in TARGETS:
        parts = get_target(name).build(encoded(name))
        assert common <= set(parts.get("json") or parts[".json"]), name


def test_nemo_dit_stores_what_nemo_reads() -> None:
    target = get_target("nemo-dit")
    image = target.build(encoded("nemo-dit", metadata={"aesthetic": 6}))
    assert isinstance(image[".pickle"], np.ndarray)
    assert image[".pickle"].dtype == np.float16
    assert image[".json"]["aesthetic_score"] == 6.0
    assert (image[".json"]["image_height"], image[".json"]["image_width"]) == (64, 96)
    video = target.build(encoded("nemo-dit", frames=9))
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
    (_huge, "pth exceeds 1000 in magnitude"),
    (
        _set("pth", lambda x: x[None]),
        "pth has 5 dimensions, the trainer reads 4",
    ),
    (_set("pth", lambda x: x[:, :, :7].clone()), "height and width must be multiples of 2"),
    (
        _set("pth", lambda x: torch.stack([x, x])[0]),
        "pth is a view: 6144 bytes are stored for 1536 numbers",
    ),
    (_set("pth", lambda x: x.to(torch.int8)), "pth is torch.int8, not a float dtype"),
    (_set("pth", lambda x: x.float().numpy()), "pth is a ndarray, not a torch.Tensor"),
    (_set("pickle", lambda x: x[None]), r"pickle has shape \[1, 3, 1024\], not \[S, D\]"),
    (_set("pickle", lambda x: torch.ones(513, 8)), "pickle has 513 tokens, not 1 to 512"),
    (_set("pickle", lambda x: x[:0]), "pickle has 0 tokens, not 1 to 512"),
    (_set("pickle", lambda x: x * 0), "pickle is all zero"),
    (_set("pickle", lambda x: x * float("inf")), "pickle has NaN or Inf"),
    (_set("pickle", lambda x: [x]), "pickle is a list, not a torch.Tensor"),
    (_set("pickle", lambda x: x.float().numpy()), "pickle is a ndarray, not a torch.Tensor"),
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
    (_set(".pth", lambda x: x[None]), 1, "5 dimensions, the trainer reads 4"),
]


@pytest.mark.parametrize(("damage", "frames", "message"), NEMO_DAMAGE)
def test_nemo_dit_refuses(
    damage: Callable[[dict[str, Any]], None], frames: int, message: str
) -> None:
    target = get_target("nemo-dit")
    parts = target.build(encoded("nemo-dit", frames=frames))
    damage(parts)
    with pytest.raises(ContractError, match=message):
        target.check(parts)


def _key(part: str, key: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    def damage(parts: dict[str, Any]) -> None:
        parts[part] = {**parts[part], key: change(parts[part][key])}

    return damage


OTHER_DAMAGE = [
    ("wan", _set("pth", lambda x: x[:15].clone()), "15 channels, the trainer reads 16"),
    ("wan", _set("pth", lambda x: x[..., :7].clone()), "multiples of 2"),
    ("wan", _set("pickle", lambda x: x[None]), r"\[1, 3, 4096\], not \[S, D\]"),
    ("wan", _set("pickle", lambda x: x[:, :1024].clone()), "is 1024 wide, the trainer reads 4096"),
    ("wan", _set("pickle", lambda x: torch.ones(600, 4096)), "600 tokens, not 1 to 512"),
    ("flux", _set("pth", lambda x: x[:, None]), "4 dimensions, the trainer reads 3"),
    ("flux", _set("pth", lambda x: x[:, :7].clone()), "multiples of 2"),
    ("flux", _set("pickle", lambda x: x["prompt_embeds"]), "pickle is a Tensor, not an object"),
    (
        "flux",
        _key("pickle", "prompt_embeds", lambda x: x[None]),
        r"prompt_embeds has shape \[1, 3, 4096\]",
    ),
    (
        "flux",
        _key("pickle", "pooled_prompt_embeds", lambda x: x[None]),
        r"has shape \[1, 768\], not \[768\]",
    ),
    ("flux", _key("pickle", "pooled_prompt_embeds", lambda x: x * float("nan")), "has NaN or Inf"),
    ("primus-flux", lambda parts: parts.pop("latents.pth"), "part 'latents.pth' is missing"),
    (
        "primus-flux",
        lambda parts: parts.update({"mean.pth": parts["latents.pth"]}),
        "one without the other",
    ),
    ("primus-flux", _set("caption.txt", lambda x: b"\xff"), "not UTF-8"),
    ("mlperf-flux", _set("t5.bytes", lambda x: b"junk"), "t5.bytes is no npy file"),
    (
        "mlperf-flux",
        _set("mean.bytes", lambda x: _npy(np.zeros((16, 8, 12), np.float32))),
        "is float32, not uint16",
    ),
    (
        "mlperf-flux",
        _set("mean.bytes", lambda x: _npy(np.full((16, 8, 12), 0x7FC0, np.uint16))),
        "has NaN",
    ),
    (
        "mlperf-flux",
        _set("mean.bytes", lambda x: _npy(np.ones((16, 8, 10), np.uint16))),
        "different shapes",
    ),
    ("mlperf-flux", lambda parts: parts["json"].pop("key"), "lacks the key 'key'"),
    ("mlperf-flux", lambda parts: parts["json"].pop("timestep"), "lacks the key 'timestep'"),
    (
        "mlperf-flux",
        _key("json", "timestep", lambda t: 8),
        "timestep is 8, not a whole number from 0 to 7",
    ),
    (
        "mlperf-flux",
        _key("json", "timestep", lambda t: True),
        "timestep is True, not a whole number",
    ),
    ("mlperf-flux", _key("json", "timestep", lambda t: 0.5), "timestep is 0.5, not a whole number"),
    ("generic", lambda parts: parts.pop("pth"), "there is no latent"),
    ("generic", _key("pickle", "t5", lambda x: {}), "'t5' is not a dict of hidden and pooled"),
    (
        "generic",
        _key("pickle", "t5", lambda x: {"hidden": x["hidden"] * 0}),
        "pickle t5 hidden is all zero",
    ),
]


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(("name", "damage", "message"), OTHER_DAMAGE)
def test_others_refuse(name: str, damage: Callable[[dict[str, Any]], None], message: str) -> None:
    target = get_target(name)
    parts = target.build(encoded(name))
    damage(parts)
    with pytest.raises(ContractError, match=message):
        target.check(parts)


def test_mlperf_needs_moments_and_keeps_the_bits() -> None:
    target = get_target("mlperf-flux")
    sample = encoded("mlperf-flux")
    parts = target.build(sample)
    bits = np.load(io.BytesIO(parts["logvar.bytes"]))
    assert bits.dtype == np.uint16
    assert torch.equal(torch.from_numpy(bits).view(torch.bfloat16), sample.latent[16:, 0])
    with pytest.raises(ContractError, match=r"set visual\.posterior=moments"):
        target.build(encoded("flux"))


@pytest.mark.parametrize(("given", "stored"), [(3, 3), (0, 0), ("5", 5), (2.0, 2)])
def test_mlperf_takes_the_timestep_of_the_source(given: Any, stored: int) -> None:
    timestep = get_target("mlperf-flux").build(
        encoded("mlperf-flux", metadata={"timestep": given})
    )["json"]["timestep"]
    assert (timestep, type(timestep)) == (stored, int)


@pytest.mark.parametrize("given", [8, -1, 500, "t", 2.5, True, [1]])
def test_mlperf_refuses_other_timesteps(given: Any) -> None:
    with pytest.raises(ContractError, match="not a whole number from 0 to 7"):
        get_target("mlperf-flux").build(encoded("mlperf-flux", metadata={"timestep": given}))


def test_without_one_mlperf_gives_the_eight_in_turn() -> None:
    target, sample = get_target("mlperf-flux"), encoded("mlperf-flux")
    infos = [dataclasses.replace(sample.info, serial=serial) for serial in range(7, 17)]
    timesteps = [
        target.build(dataclasses.replace(sample, info=info))["json"]["timestep"] for info in infos
    ]
    assert timesteps == [7, 0, 1, 2, 3, 4, 5, 6, 7, 0]


def test_primus_stores_no_timestep() -> None:
    """Its training step takes a batch with one for validation."""
    info = get_target("primus-flux").build(encoded("primus-flux", metadata={"timestep": 3}))["json"]
    assert "timestep" not in info
    assert info["meta"] == {"timestep": 3}


@pytest.mark.parametrize("name", ["primus-flux", "mlperf-flux"])
def test_the_empty_caption_is_what_the_model_build_reads(name: str) -> None:
    """``torch.from_numpy(numpy.load(path))[0]``, then to the training's dtype."""
    target, texts = get_target(name), encoded(name).texts
    files = {path: make(target.build_text(texts)) for path, make in target.caption_files.items()}
    t5, clip = (
        np.load(io.BytesIO(files[f"empty_encodings/{kind}_empty.npy"])) for kind in ("t5", "clip")
    )
    assert (t5.dtype, t5.shape, clip.dtype, clip.shape) == (
        np.float32,
        (1, 3, 4096),
        np.float32,
        (1, 768),
    )
    assert torch.equal(torch.from_numpy(t5)[0].bfloat16(), texts["t5"].tokens)
    assert torch.equal(torch.from_numpy(clip)[0].bfloat16(), texts["clip"].pooled)


def test_primus_stores_moments_when_there_are() -> None:
    parts = get_target("primus-flux").build(encoded("mlperf-flux"))
    assert torch.equal(parts["latents.pth"], parts["mean.pth"])
    assert parts["logvar.pth"].shape == (16, 8, 12)
    get_target("primus-flux").check(parts)


def test_generic_names_the_latents_of_several_resolutions() -> None:
    sample = encoded("generic")
    sample = dataclasses.replace(
        sample, latents={"512": sample.latent, "256": sample.latent[..., :4, :6].clone()}
    )
    parts = get_target("generic").build(sample)
    assert [part for part in parts if part.endswith("pth")] == ["512.pth", "256.pth"]
    get_target("generic").check(parts)
    assert set(parts["pickle"]) == {"t5", "clip"}
    assert set(parts["pickle"]["clip"]) == {"pooled"}


def test_a_recipe_that_does_not_fit_is_told_before_it_runs() -> None:
    require_fit(get_target("flux"), text_names=["clip", "t5"], num_sizes=1)
    with pytest.raises(PrepError, match="text encoders named t5, clip; the recipe has t5"):
        require_fit(get_target("flux"), text_names=["t5"], num_sizes=1)
    with pytest.raises(PrepError, match="latents of one resolution, the recipe has 2"):
        require_fit(get_target("dit"), text_names=["t5"], num_sizes=2)


def test_an_unknown_target_names_those_there_are() -> None:
    with pytest.raises(PrepError, match="no target 'wam': the targets are dit, nemo-dit, wan"):
        get_target("wam")


def test_the_json_of_moments_has_the_shape_of_a_draw() -> None:
    """By which cookers tell them from latents."""
    sample = encoded("generic")
    moments = torch.cat([sample.latent, sample.latent])
    stored = dataclasses.replace(sample, latents={"64x96": moments}, moments=True)
    info = get_target("generic").build(stored)["json"]
    assert info["latent_shape"] == list(sample.latent.shape)
