from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from energon_prep.demo.tiny import build_pipeline
from energon_prep.errors import PrepError
from tests.encoders.loading import load_texts, load_visual
from tests.encoders.recipes import FLUX1, SMALL, recipe
from tests.encoders.text_models import embed, load_text


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("kind", ["text", "visual"])
def test_pickled_weights_run_no_code(kind: str, t5_folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "exploded"
    if kind == "text":
        (t5_folder / "model.safetensors").unlink()
        torch.save({"bomb": Bomb(mark)}, t5_folder / "pytorch_model.bin")
        with pytest.raises(PrepError, match="loading it failed"):
            load_text(t5_folder)
    else:
        folder = tmp_path / "vae"
        folder.mkdir()
        shutil.copy(build_pipeline(SMALL, "tiny") / "vae/config.json", folder)
        torch.save({"bomb": Bomb(mark)}, folder / "diffusion_pytorch_model.bin")
        with pytest.raises(PrepError, match="loading it failed"):
            load_visual(recipe(str(folder), {"model": "t5-small"}), weights=None, device="cpu")
    assert not mark.exists()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(next(tmp_path.rglob("*.bin")), weights_only=True)


def test_plain_pickled_weights_load(t5_folder: Path) -> None:
    expected = embed(load_text(t5_folder))
    torch.save(load_file(t5_folder / "model.safetensors"), t5_folder / "pytorch_model.bin")
    (t5_folder / "model.safetensors").unlink()
    assert torch.equal(embed(load_text(t5_folder)), expected)


def test_code_beside_a_model_is_not_run(t5_folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "exploded"
    (t5_folder / "evil.py").write_text(f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n")
    for name, key in (("config.json", "AutoModel"), ("tokenizer_config.json", "AutoTokenizer")):
        config = json.loads((t5_folder / name).read_text())
        target = "evil.Evil" if key == "AutoModel" else ["evil.Evil", None]
        (t5_folder / name).write_text(json.dumps({**config, "auto_map": {key: target}}))
    embed(load_text(t5_folder))
    assert not mark.exists()


def test_damaged_weights_are_named(t5_folder: Path) -> None:
    weights = t5_folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(PrepError, match=f"text encoder '{t5_folder}': loading it failed"):
        load_text(t5_folder)
    weights.unlink()
    with pytest.raises(PrepError, match=r"loading it failed: .*model.safetensors"):
        load_text(t5_folder)


def test_weights_that_leave_the_model_random_are_refused(t5_folder: Path, tmp_path: Path) -> None:
    state = load_file(t5_folder / "model.safetensors")
    del state["encoder.block.0.layer.0.SelfAttention.q.weight"]
    save_file(state, t5_folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PrepError, match=r"weights lack 1 tensors of the model: encoder.block.0"):
        load_text(t5_folder)
    folder = tmp_path / "vae"
    shutil.copytree(build_pipeline(SMALL, "tiny") / "vae", folder)
    state = load_file(folder / "diffusion_pytorch_model.safetensors")
    del state["encoder.conv_in.weight"]
    save_file(state, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PrepError, match=r"visual encoder .*encoder\.conv_in\.weight"):
        load_visual(recipe(str(folder), {"model": "t5-small"}), weights=None, device="cpu")


def test_weights_of_another_shape_are_refused(t5_folder: Path) -> None:
    config = json.loads((t5_folder / "config.json").read_text())
    (t5_folder / "config.json").write_text(json.dumps({**config, "d_ff": 32}))
    with pytest.raises(PrepError, match="loading it failed"):
        load_text(t5_folder)


def test_a_tokenizer_of_another_model_is_refused(t5_folder: Path) -> None:
    shutil.copytree(build_pipeline(FLUX1, "tiny") / "tokenizer", t5_folder, dirs_exist_ok=True)
    with pytest.raises(PrepError, match=r"its tokenizer has \d+ tokens, the model only \d+"):
        load_text(t5_folder)


def test_what_the_model_cannot_do_is_refused(t5_folder: Path) -> None:
    with pytest.raises(PrepError, match="T5 and UMT5 overflow in fp16"):
        load_text(t5_folder, compute_dtype="fp16")
    with pytest.raises(PrepError, match="max_tokens is 128, and CLIP has 77 positions"):
        load_texts(
            recipe("sdxl", {"model": "clip-l", "max_tokens": 128}), weights="tiny", device="cpu"
        )
    with pytest.raises(PrepError, match="cannot put the T5EncoderModel on cuda:99"):
        load_texts(SMALL, weights="tiny", device="cuda:99")
