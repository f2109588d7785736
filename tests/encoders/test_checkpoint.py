from __future__ import annotations

import json
from pathlib import Path

import pytest

from energon_prep.encoders.checkpoint import (
    EncoderSource,
    open_checkpoint,
    text_subfolders,
    tokenizer_subfolders,
    weights_identity,
)
from energon_prep.errors import PrepError


def visual(location: Path | str, *subfolders: str) -> EncoderSource:
    return EncoderSource(
        kind="visual", location=str(location), subfolders=subfolders or ("", "vae")
    )


def text(location: Path | str) -> EncoderSource:
    return EncoderSource(kind="text", location=str(location), subfolders=("", "text_encoder"))


def write_config(folder: Path, **config: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_the_first_subfolder_with_a_config_is_taken(tmp_path: Path) -> None:
    write_config(tmp_path / "vae", _class_name="AutoencoderKL")
    found = open_checkpoint(visual(tmp_path))
    assert (found.family, found.main.subfolder, found.main.commit) == ("AutoencoderKL", "vae", None)
    assert found.pretrained(found.main) == (str(tmp_path / "vae"), {})


def test_a_jit_file_makes_a_cosmos_tokenizer_unless_the_config_names_another_class(
    tmp_path: Path,
) -> None:
    write_config(tmp_path, architectures="CosmosTokenizer")
    (tmp_path / "encoder.jit").touch()
    assert open_checkpoint(visual(tmp_path)).family == "cosmos-jit"
    (tmp_path / "config.json").unlink()
    assert open_checkpoint(visual(tmp_path)).family == "cosmos-jit"
    write_config(tmp_path, _class_name="AutoencoderKLCosmos")
    assert open_checkpoint(visual(tmp_path)).family == "AutoencoderKLCosmos"
    write_config(tmp_path, _class_name="AutoencoderOobleck")
    with pytest.raises(
        PrepError, match=r"config.json says AutoencoderOobleck, .* Supported are AutoencoderKL, "
    ):
        open_checkpoint(visual(tmp_path))


def test_a_text_encoder_needs_its_tokenizer_beside_it_or_in_its_own_folder(tmp_path: Path) -> None:
    write_config(tmp_path / "text_encoder", model_type="t5")
    with pytest.raises(
        PrepError,
        match=r"no tokenizer, tried tokenizer/tokenizer.json, .*text_encoder/spiece.model",
    ):
        open_checkpoint(text(tmp_path))
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer/spiece.model").touch()
    found = open_checkpoint(text(tmp_path))
    assert found.tokenizer is not None
    assert found.tokenizer.subfolder == "tokenizer"
    assert (tokenizer_subfolders("text_encoder_2")[0], tokenizer_subfolders("")) == (
        "tokenizer_2",
        ("", "tokenizer"),
    )


@pytest.mark.parametrize(
    ("kind", "config"),
    [("visual", {"model_type": "t5"}), ("text", {"_class_name": "AutoencoderKL"})],
)
def test_an_encoder_of_the_other_kind_is_refused(
    kind: str, config: dict[str, str], tmp_path: Path
) -> None:
    write_config(tmp_path, **config)
    with pytest.raises(PrepError, match=f"is no {kind} encoder that this tool can run"):
        open_checkpoint(visual(tmp_path) if kind == "visual" else text(tmp_path))


def test_a_folder_without_a_model_says_what_was_tried(tmp_path: Path) -> None:
    with pytest.raises(
        PrepError,
        match=r"nothing there, tried config.json, encoder.jit, vae/config.json.*weights tiny",
    ):
        open_checkpoint(visual(tmp_path))


@pytest.mark.parametrize("content", ["{", "[]", "\udcff"])
def test_a_config_that_is_no_json_object_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(PrepError, match=r"config\.json is not"):
        open_checkpoint(text(tmp_path))


def test_quantized_weights_are_refused(tmp_path: Path) -> None:
    config = {"model_type": "t5", "quantization_config": {"quant_method": "bitsandbytes"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        PrepError, match=r"quantized \(bitsandbytes\).* name the repository that it was made from"
    ):
        open_checkpoint(text(tmp_path))


def test_without_the_hub_the_download_line_is_given() -> None:
    with pytest.raises(
        PrepError,
        match=r"neither on a reachable hub nor in its local cache.*hf download owner/name",
    ):
        open_checkpoint(text("owner/name"))


def test_text_encoders_without_a_named_folder_get_the_free_ones() -> None:
    assert text_subfolders([None, None]) == ["text_encoder", "text_encoder_2"]
    assert text_subfolders(["text_encoder_2", None, None]) == [
        "text_encoder_2",
        "text_encoder",
        "text_encoder_3",
    ]


def test_the_identity_of_weights_sees_names_sizes_and_both_ends(tmp_path: Path) -> None:
    content = bytearray(3 * 2**20)
    path = tmp_path / "model.safetensors"
    seen = []
    for position in (None, 0, -1):
        if position is not None:
            content[position] = 1
        path.write_bytes(content)
        seen.append(weights_identity(tmp_path)["sha256"])
    (tmp_path / "README.md").write_text("not weights")
    assert weights_identity(tmp_path) == {"bytes": 3 * 2**20, "sha256": seen[-1]}
    path.rename(tmp_path / "renamed.safetensors")
    assert len({*seen, weights_identity(tmp_path)["sha256"]}) == 4
