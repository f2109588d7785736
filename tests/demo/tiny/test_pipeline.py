from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from energon_prep.demo.tiny import build_pipeline
from energon_prep.errors import PrepError
from tests.encoders.recipes import DIT, FLUX1, SMALL, recipe


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_pipeline_folder_has_the_layout_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    flux, dit = build_pipeline(FLUX1, "tiny"), build_pipeline(DIT, "tiny")
    assert flux.parent == dit.parent == tmp_path / "energon-prep/tiny"
    assert set(files(flux)) == {
        "model_index.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        *(
            f"{name}/{file}"
            for name in ("text_encoder", "text_encoder_2")
            for file in ("config.json", "model.safetensors")
        ),
        *(
            f"{name}/{file}"
            for name in ("tokenizer", "tokenizer_2")
            for file in ("tokenizer.json", "tokenizer_config.json")
        ),
    }
    assert (dit / "vae/encoder.jit").is_file()
    assert json.loads((flux / "text_encoder_2/config.json").read_text())["d_model"] == 4096
    assert json.loads((flux / "model_index.json").read_text())["vae"] == [
        "diffusers",
        "AutoencoderKL",
    ]


def test_weights_and_tokenizers_are_the_same_every_time(tmp_path: Path) -> None:
    folders = [build_pipeline(SMALL, "tiny", tmp_path / name) for name in "ab"]
    assert folders[0] != folders[1]
    assert files(folders[0]) == files(folders[1])
    # TorchScript writes its code in an order that changes, so of the Cosmos tokenizer the tensors
    # are compared.
    states = [
        torch.jit.load(
            str(build_pipeline(DIT, "tiny", tmp_path / name) / "vae/encoder.jit")
        ).state_dict()
        for name in "ab"
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_callers_random_numbers_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build_pipeline(
        recipe("sd3", {"model": "umt5-xxl"}, {"name": "clip", "model": "clip-l"}), "tiny", tmp_path
    )
    assert torch.equal(torch.rand(3), expected)


def test_a_pipeline_is_built_once(tmp_path: Path) -> None:
    folder = build_pipeline(SMALL, "tiny", tmp_path)
    (folder / "mark").touch()
    assert build_pipeline(SMALL, "tiny", tmp_path) == folder
    assert (folder / "mark").exists()
    assert build_pipeline(DIT, "tiny", tmp_path) != folder


def test_two_builders_at_once_both_get_a_whole_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: build_pipeline(SMALL, "tiny", tmp_path), range(2))
    assert first == second
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == [first.name]


def test_a_build_that_fails_leaves_nothing_under_a_final_name(tmp_path: Path) -> None:
    (tmp_path / "tiny").write_text("a file where the folder should be")
    with pytest.raises(PrepError, match=r"cannot build the tiny weights in .*XDG_CACHE_HOME"):
        build_pipeline(SMALL, "tiny", tmp_path)


def test_what_a_killed_build_left_is_removed_a_day_later(tmp_path: Path) -> None:
    old, young = tmp_path / "tiny/.building-old", tmp_path / "tiny/.building-young"
    old.mkdir(parents=True)
    young.mkdir()
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    build_pipeline(SMALL, "tiny", tmp_path)
    assert not old.exists()
    assert young.exists()


def test_random_has_the_published_sizes(tmp_path: Path) -> None:
    folder = build_pipeline(SMALL, "random", tmp_path)
    config = json.loads((folder / "text_encoder/config.json").read_text())
    assert (config["num_layers"], config["d_ff"], config["vocab_size"]) == (6, 2048, 32128)
    assert json.loads((folder / "vae/config.json").read_text())["block_out_channels"] == [
        128,
        256,
        512,
        512,
    ]
    assert (folder / "text_encoder/model.safetensors").stat().st_size == pytest.approx(
        2 * 35.3e6, rel=0.01
    )


def test_encoders_without_a_tiny_variant_are_named() -> None:
    with pytest.raises(
        PrepError, match="no tiny or random variant of the text encoder 'owner/unknown'"
    ):
        build_pipeline(recipe("sdxl", {"model": "owner/unknown"}), "tiny")
    with pytest.raises(PrepError, match="visual encoder 't5-small'"):
        build_pipeline(recipe("t5-small", {"model": "t5-small"}), "tiny")


def test_two_encoders_for_one_subfolder_are_refused() -> None:
    texts = [
        {"name": name, "model": model, "subfolder": "text_encoder"}
        for name, model in (("a", "t5-small"), ("b", "clip-l"))
    ]
    with pytest.raises(PrepError, match="both to be in text_encoder/"):
        build_pipeline(recipe("sdxl", *texts), "tiny")
