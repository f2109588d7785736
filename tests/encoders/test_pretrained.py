from __future__ import annotations

from pathlib import Path

import pytest
import torch

from energon_prep.encoders.checkpoint import EncoderSource
from energon_prep.encoders.pretrained import loading
from energon_prep.errors import PrepError
from tests.encoders.loading import load_texts, load_visual
from tests.encoders.recipes import recipe
from tests.published import t5, tokenizer_files
from tests.published.autoencoders import autoencoder


def embed(folder: Path) -> torch.Tensor:
    encoder = load_texts(recipe("sdxl", {"model": str(folder)}), weights=None, device="cpu")[0]
    return encoder.encode(encoder.tokenize(["a photo of a cat"]))[0].tokens


def encode(folder: Path) -> torch.Tensor:
    encoder = load_visual(recipe(str(folder), {"model": "t5-small"}), weights=None, device="cpu")
    return encoder.encode(torch.full((1, 1, 64, 64, 3), 99, dtype=torch.uint8), [0])


def rename_to_fp16(folder: Path) -> None:
    """As hubs name them: model.fp16.safetensors, model.fp16-00001-of-00002.safetensors,
    ....index.fp16.json.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        (folder / "model.safetensors.index.fp16.json").write_text(
            index.read_text().replace("model-", "model.fp16-")
        )
        index.unlink()
    for path in list(folder.glob("model*.safetensors")):
        path.rename(folder / path.name.replace("model", "model.fp16", 1))


@pytest.mark.parametrize("shards", [1, 2])
def test_copies_of_lower_precision_serve_where_there_are_no_others(
    shards: int, tmp_path: Path
) -> None:
    t5.encoder(tmp_path, "t5-small", tokenizer_files.t5(tmp_path), shards=shards)
    expected = embed(tmp_path)
    rename_to_fp16(tmp_path)
    assert torch.equal(embed(tmp_path), expected)


def test_copies_of_lower_precision_are_passed_over_where_there_are_others(tmp_path: Path) -> None:
    autoencoder(tmp_path, "flux1")
    expected = encode(tmp_path)
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    (tmp_path / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"never read")
    assert torch.equal(encode(tmp_path), expected)
    (tmp_path / "diffusion_pytorch_model.bf16.safetensors").write_bytes(weights.read_bytes())
    weights.unlink()
    assert torch.equal(encode(tmp_path), expected)


def test_a_library_that_is_not_installed_is_told_in_its_own_words() -> None:
    source = EncoderSource(kind="text", location="owner/name", subfolders=("",))
    with (
        pytest.raises(
            PrepError, match=r"'owner/name' needs what is not installed: .*pip install optimum"
        ),
        loading(source),
    ):
        raise ImportError("it is read with optimum: pip install optimum")
