from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
import transformers
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from energon_prep.encoders.base import TextEncoder
from energon_prep.encoders.tiny import build_pipeline
from energon_prep.encoders.weights import load_texts, load_visual, locate, resolve
from energon_prep.errors import PrepError
from energon_prep.recipes.load import load_recipe
from tests.encoders.recipes import DIT, FLUX1, SMALL, UMT5, recipe
from tests.encoders.text_models import whole_clip

PIXELS = torch.randint(
    0, 256, (1, 1, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def load_text(model: Path | str, **spec: Any) -> TextEncoder:
    return load_texts(recipe("sdxl", {"model": str(model), **spec}), weights=None, device="cpu")[0]


def embed(encoder: TextEncoder) -> torch.Tensor:
    (embedding,) = encoder.encode(encoder.tokenize(["a photo of a cat"]))
    return embedding.hidden if embedding.pooled is None else embedding.pooled


@pytest.fixture
def t5_folder(tmp_path: Path) -> Path:
    """A T5 with its tokenizer beside it, as a model's own repository is laid out."""
    built = build_pipeline(SMALL, "tiny")
    shutil.copytree(built / "text_encoder", tmp_path / "model")
    shutil.copytree(built / "tokenizer", tmp_path / "model", dirs_exist_ok=True)
    return tmp_path / "model"


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


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cache_on_hub(repository: str) -> Path:
    """The snapshot folder of a repository in the hub's local cache, of which ``main`` is COMMIT."""
    folder = (
        Path(huggingface_hub.constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    )
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text(COMMIT)
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    return folder / "snapshots" / COMMIT


def test_a_model_in_the_hubs_cache_loads_offline_and_its_commit_is_recorded(
    t5_folder: Path,
) -> None:
    shutil.copytree(t5_folder, cache_on_hub("google-t5/t5-small"), dirs_exist_ok=True)
    expected = load_text(t5_folder)
    encoder = load_text("t5-small")
    assert torch.equal(embed(encoder), embed(expected))
    about = encoder.describe()
    assert (about["model"], about["revision"], about["subfolder"]) == (
        "google-t5/t5-small",
        COMMIT,
        "",
    )
    assert about["config_sha256"] == expected.describe()["config_sha256"]


def test_a_cosmos_tokenizer_in_the_hubs_cache_needs_its_jit_file_alone() -> None:
    shutil.copy(
        build_pipeline(DIT, "tiny") / "vae/encoder.jit",
        cache_on_hub("nvidia/Cosmos-0.1-Tokenizer-CV4x8x8"),
    )
    encoder = load_visual(DIT, weights=None, device="cpu")
    assert (encoder.temporal_factor, encoder.describe()["revision"]) == (4, COMMIT)
    assert encoder.describe()["config_sha256"] is None


def test_a_pipeline_in_the_hubs_cache_serves_as_weights() -> None:
    shutil.copytree(
        build_pipeline(FLUX1, "tiny"), cache_on_hub("owner/pipeline"), dirs_exist_ok=True
    )
    given, tiny = (
        load_visual(FLUX1, weights=weights, device="cpu") for weights in ("owner/pipeline", "tiny")
    )
    assert torch.equal(given.encode(PIXELS, [0]), tiny.encode(PIXELS, [0]))
    texts = load_texts(FLUX1, weights="owner/pipeline", device="cpu")
    assert [(text.describe()["revision"], text.describe()["subfolder"]) for text in texts] == [
        (COMMIT, "text_encoder_2"),
        (COMMIT, "text_encoder"),
    ]


def test_loading_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    load_visual(FLUX1, weights="tiny", device="cpu")
    load_texts(FLUX1, weights="tiny", device="cpu")
    assert capfd.readouterr() == ("", "")


def _save(model: Any, folder: Path, tokenizer: Path) -> None:
    model.save_pretrained(folder)
    shutil.copytree(tokenizer, folder, dirs_exist_ok=True)
