from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from energon_prep.demo.tiny import build_pipeline
from energon_prep.encoders.locate import locate
from energon_prep.errors import PrepError
from energon_prep.recipes.load import load_recipe
from tests.encoders.loading import load_texts, load_visual, resolve
from tests.encoders.recipes import DIT, FLUX1, SMALL, UMT5, recipe
from tests.encoders.text_models import embed, load_text, whole_clip

PIXELS = torch.randint(
    0, 256, (1, 1, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def test_plain_model_folders_load_as_their_pipeline_does(t5_folder: Path, tmp_path: Path) -> None:
    vae = AutoencoderKL.from_pretrained(build_pipeline(SMALL, "tiny") / "vae")
    vae.save_pretrained(tmp_path / "plain vae")
    own = recipe(str(tmp_path / "plain vae"), {"model": str(t5_folder)})
    latents = [
        load_visual(r, weights=w, device="cpu").encode(PIXELS, [0])
        for r, w in ((own, None), (SMALL, "tiny"))
    ]
    assert torch.equal(*latents)
    assert torch.equal(
        *(
            embed(load_texts(r, weights=w, device="cpu")[0])
            for r, w in ((own, None), (SMALL, "tiny"))
        )
    )


def test_a_pipeline_folder_serves_as_weights_and_as_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "pipeline"
    shutil.copytree(build_pipeline(FLUX1, "tiny"), folder)
    tiny, given = (
        load_texts(FLUX1, weights=weights, device="cpu") for weights in ("tiny", str(folder))
    )
    assert all(torch.equal(embed(a), embed(b)) for a, b in zip(tiny, given, strict=True))
    assert torch.equal(embed(load_text(folder, name="clip")), embed(tiny[1]))
    assert torch.equal(embed(load_text(folder, subfolder="text_encoder_2", **KEPT)), embed(tiny[0]))
    assert (
        load_visual(recipe(str(folder), {"model": "t5-small"}), weights=None, device="cpu").channels
        == 16
    )


KEPT = {"padding": "max_length", "attention_mask": False}


def test_resolve_says_where_each_encoder_is_looked_for() -> None:
    own = resolve(FLUX1, weights=None)
    assert (own.visual.location, own.visual.subfolders) == (
        "black-forest-labs/FLUX.1-dev",
        ("vae",),
    )
    assert [source.location for source in own.texts] == [
        "google/t5-v1_1-xxl",
        "openai/clip-vit-large-patch14",
    ]
    assert [source.subfolders for source in own.texts] == [("",), ("",)]
    pipeline = resolve(FLUX1, weights="owner/pipeline")
    assert [source.subfolders for source in (pipeline.visual, *pipeline.texts)] == [
        ("vae",),
        ("text_encoder_2",),
        ("text_encoder",),
    ]
    pinned = resolve(
        recipe({"model": "o/vae", "revision": "v1"}, {"model": "o/t5", "subfolder": "enc"}),
        weights=None,
    )
    assert (pinned.visual.revision, pinned.visual.subfolders) == ("v1", ("", "vae"))
    assert pinned.texts[0].subfolders == ("enc", "")


def test_an_alias_comes_from_the_recipes_pipeline_as_far_as_that_has_it() -> None:
    flux, dit = (locate(load_recipe(name), weights=None) for name in ("flux1", "dit"))
    assert {source.location for source in flux} == {"black-forest-labs/FLUX.1-dev"}
    assert [source.subfolders for source in flux.texts] == [("text_encoder_2",), ("text_encoder",)]
    assert dit.visual.location == "nvidia/Cosmos-0.1-Tokenizer-CV4x8x8"
    assert [(source.location, source.subfolders) for source in dit.texts] == [
        ("nvidia/Cosmos-1.0-Diffusion-7B-Text2World", ("text_encoder",))
    ]
    others = load_recipe(
        "dit", {"text.0.model": "t5-xxl", "pipeline": "nvidia/Cosmos-1.0-Diffusion-7B-Text2World"}
    )
    assert locate(others, weights=None).texts[0].location == "google/t5-v1_1-xxl"
    same = load_recipe("flux1", {"text.0.model": "t5-xxl"})
    assert locate(same, weights=None).texts[0].location == "black-forest-labs/FLUX.1-dev"


def test_what_is_named_wins_over_weights(t5_folder: Path) -> None:
    named = load_recipe(
        "dit", {"text.0.model": str(t5_folder), "text.compute_dtype": "fp32", "text.dtype": "fp32"}
    )
    (text,) = load_texts(named, weights="tiny", device="cpu")
    assert torch.equal(embed(text), embed(load_text(t5_folder)))
    assert text.describe()["model"] == str(t5_folder)
    assert text.describe()["weights"]["bytes"] > 0
    visual = load_visual(named, weights="tiny", device="cpu")
    assert (visual.describe()["model"], visual.channels) == ("tiny", 16)
    pipeline = locate(load_recipe("dit", {"visual.model": "owner/vae"}), weights="owner/pipeline")
    assert (pipeline.visual.location, pipeline.texts[0].location) == ("owner/vae", "owner/pipeline")
    built = locate(load_recipe("dit", {"visual.model": "wan2.1"}), weights="tiny")
    assert [source.built for source in built] == ["tiny", "tiny"]


def test_weights_that_are_no_pipeline_are_refused() -> None:
    with pytest.raises(
        PrepError, match="--weights 'tinny' is neither a pipeline's folder or hub id"
    ):
        resolve(DIT, weights="tinny")
    with pytest.raises(PrepError, match="--model or --vae"):
        resolve(DIT, weights="t5-small")


def test_describe_of_tiny_weights_is_the_same_for_every_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    abouts = []
    for user in ("ann", "bob"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / user))
        encoders = [
            load_visual(DIT, weights="tiny", device="cpu"),
            *load_texts(DIT, weights="tiny", device="cpu"),
        ]
        abouts.append(json.dumps([encoder.describe() for encoder in encoders], sort_keys=True))
    assert abouts[0] == abouts[1]
    assert str(tmp_path) not in abouts[0]
    assert [about["model"] for about in json.loads(abouts[0])] == ["tiny", "tiny"]


def test_describe_of_a_folder_tells_its_weights_apart(t5_folder: Path) -> None:
    before = load_text(t5_folder).describe()
    assert (before["model"], before["revision"], before["class"]) == (
        str(t5_folder),
        None,
        "T5EncoderModel",
    )
    state = load_file(t5_folder / "model.safetensors")
    state["encoder.final_layer_norm.weight"] *= 2
    save_file(state, t5_folder / "model.safetensors", metadata={"format": "pt"})
    after = load_text(t5_folder).describe()
    assert before["weights"] != after["weights"]
    assert {**before, "weights": None} == {**after, "weights": None}
    json.dumps(before)


def test_whole_models_give_the_same_as_their_text_encoders_alone(tmp_path: Path) -> None:
    """The repositories of T5 and CLIP hold decoders and vision towers besides."""
    flux, umt5 = build_pipeline(FLUX1, "tiny"), build_pipeline(UMT5, "tiny")
    t5 = transformers.T5EncoderModel.from_pretrained(flux / "text_encoder_2")
    whole = transformers.T5ForConditionalGeneration(
        transformers.T5Config.from_pretrained(flux / "text_encoder_2")
    )
    whole.load_state_dict(t5.state_dict(), strict=False)
    _save(whole, tmp_path / "a", flux / "tokenizer_2")
    clip = transformers.CLIPTextModel.from_pretrained(flux / "text_encoder")
    whole = whole_clip(clip, projection_dim=16)
    whole.text_model.load_state_dict(
        {k.removeprefix("text_model."): v for k, v in clip.state_dict().items()}
    )
    _save(whole, tmp_path / "b", flux / "tokenizer")
    multilingual = transformers.UMT5EncoderModel.from_pretrained(umt5 / "text_encoder")
    whole = transformers.UMT5ForConditionalGeneration(
        transformers.UMT5Config.from_pretrained(umt5 / "text_encoder")
    )
    whole.load_state_dict(multilingual.state_dict(), strict=False)
    _save(whole, tmp_path / "c", umt5 / "tokenizer")
    tiny = [
        *load_texts(FLUX1, weights="tiny", device="cpu"),
        *load_texts(UMT5, weights="tiny", device="cpu"),
    ]
    given = [
        load_text(tmp_path / "a", **KEPT),
        load_text(tmp_path / "b", name="clip"),
        load_text(tmp_path / "c"),
    ]
    for ours, theirs in zip(given, tiny, strict=True):
        torch.testing.assert_close(embed(ours), embed(theirs))


def test_a_checkpoint_that_names_its_embeddings_otherwise_is_tied_or_refused(
    tmp_path: Path,
) -> None:
    """Some UMT5 and T5 files have only ``encoder.embed_tokens``: never a table of random values in
    its place.
    """
    folder = tmp_path / "model"
    built = build_pipeline(UMT5, "tiny")
    shutil.copytree(built / "text_encoder", folder)
    shutil.copytree(built / "tokenizer", folder, dirs_exist_ok=True)
    state = load_file(folder / "model.safetensors")
    state["encoder.embed_tokens.weight"] = state.pop("shared.weight")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    try:
        embeddings = embed(load_text(folder))
    except PrepError as error:
        assert "lack" in str(error)
    else:
        assert torch.equal(embeddings, embed(load_texts(UMT5, weights="tiny", device="cpu")[0]))


def test_loading_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    load_visual(FLUX1, weights="tiny", device="cpu")
    load_texts(FLUX1, weights="tiny", device="cpu")
    assert capfd.readouterr() == ("", "")


def _save(model: Any, folder: Path, tokenizer: Path) -> None:
    model.save_pretrained(folder)
    shutil.copytree(tokenizer, folder, dirs_exist_ok=True)
