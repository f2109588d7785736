from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub.constants
import torch

from energon_prep.demo.tiny import build_pipeline
from tests.encoders.loading import load_texts, load_visual
from tests.encoders.recipes import DIT, FLUX1
from tests.encoders.text_models import embed, load_text

PIXELS = torch.randint(
    0, 256, (1, 1, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)

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
