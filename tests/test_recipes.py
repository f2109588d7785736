"""Every recipe, the whole way: raw files, encode on tiny weights, index, verify, a batch as its
trainer reads it.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import energon_prep
from docs import recipe_table, stored
from energon_prep.recipes.load import load_recipe, recipe_names
from task_encoders import (
    DiTTaskEncoder,
    FluxTaskEncoder,
    LatentTaskEncoder,
    NeMoDiTTaskEncoder,
    WanTaskEncoder,
)

ENCODERS = {
    "dit": DiTTaskEncoder,
    "nemo-dit": lambda: NeMoDiTTaskEncoder(seq_length=4096),
    "wan": lambda: WanTaskEncoder(seq_length=4096),
    "flux": FluxTaskEncoder,
}
KEYS = {
    "dit": {"video", "context_embeddings", "context_mask", "loss_mask", "pos_ids", "seq_len_q"},
    "nemo-dit": {
        "video",
        "t5_text_embeddings",
        "t5_text_mask",
        "loss_mask",
        "pos_ids",
        "latent_shape",
    },
    "wan": {"video_latents", "context_embeddings", "loss_mask", "grid_sizes", "seq_len_q_padded"},
    "flux": {"latents", "prompt_embeds", "pooled_prompt_embeds", "text_ids", "loss_mask"},
}


@pytest.fixture(scope="module")
def raws(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    root = tmp_path_factory.mktemp("raws")
    for videos in (False, True):
        stored.make_raw(root / str(videos), videos=videos)
    return {videos: root / str(videos) for videos in (False, True)}


def batches(dest: Path, encoder: Any, **options: Any) -> list[Any]:
    from megatron.energon import WorkerConfig, get_loader, get_train_dataset
    from megatron.energon.errors import reraise_exception

    dataset = get_train_dataset(
        dest,
        worker_config=WorkerConfig(
            rank=0, world_size=1, num_workers=0, global_error_handler=reraise_exception
        ),
        task_encoder=encoder,
        batch_size=1,
        shuffle_buffer_size=None,
        max_samples_per_sequence=None,
        repeat=False,
        **options,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(get_loader(dataset))


@pytest.mark.parametrize("name", recipe_names())
def test_the_trainer_reads_what_the_recipe_stores(
    name: str, raws: dict[bool, Path], tmp_path: Path
) -> None:
    recipe = load_recipe(name)
    videos = recipe.frames.num_frames > 1
    report = stored.encode_tiny(name, raws[videos], tmp_path)
    assert (report.num_written, report.num_rejected) == (2 + videos, 0), report
    energon_prep.index(tmp_path)
    proof = energon_prep.verify(tmp_path)
    assert proof.ok, proof.problems
    encoder = ENCODERS.get(recipe.target, LatentTaskEncoder)()
    found = batches(tmp_path, encoder)
    assert len(found) == 2 + videos
    if recipe.target in KEYS:
        assert KEYS[recipe.target] <= set(found[0])
    else:
        assert all(torch.isfinite(batch.latents).all() for batch in found)
    page = stored.PAGE.read()
    section = page.partition(f"### {name}\n")[2].partition("\n### ")[0]
    for part, shape, dtype in stored.stored_rows(tmp_path):
        assert f"| `{part}` | {shape} | {dtype} |" in section, (
            f"docs/trainers.md is not current: {part} {shape} {dtype}"
        )


@pytest.mark.parametrize("name", ["primus-flux", "mlperf-flux"])
def test_the_example_reads_preencoded_flux(
    name: str, raws: dict[bool, Path], tmp_path: Path
) -> None:
    stored.encode_tiny(name, raws[False], tmp_path)
    energon_prep.index(tmp_path)
    script = Path(__file__).parent.parent / "examples" / "read_preencoded_flux.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "latents [2, 16, 1, 8, 8]" in done.stdout
    assert "pooled  [2, 768]" in done.stdout


def test_a_clip_and_images_train_in_one_loop(raws: dict[bool, Path], tmp_path: Path) -> None:
    changes = {"resize.resolution": 64, "frames.num_frames": 17, "frames.fps": None}
    energon_prep.encode(
        raws[True], tmp_path, recipe="wan2.1", weights="tiny", torch_threads=1, set=changes
    )
    energon_prep.index(tmp_path)
    grids = [
        tuple(batch["grid_sizes"][0].tolist())
        for batch in batches(tmp_path, WanTaskEncoder(seq_length=4096))
    ]
    assert sorted(frames for frames, _, _ in grids) == [1, 1, 5]
    packed = batches(tmp_path, WanTaskEncoder(seq_length=4096), packing_buffer_size=3)
    assert [len(batch["grid_sizes"]) for batch in packed] == [3]
    shapes = [tuple(batch.latents.shape) for batch in batches(tmp_path, LatentTaskEncoder())]
    assert {shape[2] for shape in shapes} == {1, 5}


def test_verify_checks_others_datasets_against_a_contract(
    raws: dict[bool, Path], tmp_path: Path
) -> None:
    stored.encode_tiny("dit", raws[True], tmp_path / "dit")
    energon_prep.index(tmp_path / "dit")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for tar in (tmp_path / "dit").glob("*.tar"):
        (foreign / tar.name).write_bytes(tar.read_bytes())
    energon_prep.index(foreign)
    assert energon_prep.verify(foreign, target="dit").ok
    proof = energon_prep.verify(foreign, target="wan")
    assert not proof.ok
    assert any("is 1024 wide, the trainer reads 4096" in problem for problem in proof.problems)


def test_the_table_of_recipes_is_current() -> None:
    page = recipe_table.PAGE
    assert page.read() == page.holding(recipe_table.table()), (
        "run python -m docs.recipe_table --write"
    )
