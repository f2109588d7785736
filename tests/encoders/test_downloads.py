"""What a recipe needs is told and located before it is downloaded: against a hub on the loopback
interface.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from energon_prep.cli import main
from energon_prep.cli.downloads import download_lines, tell_downloads
from energon_prep.demo.data import make_raw_dataset
from energon_prep.demo.tiny import build_pipeline
from energon_prep.encoders.downloads import catalogued_downloads, plan_downloads
from energon_prep.encoders.weights import find_checkpoints
from energon_prep.errors import PrepError
from energon_prep.recipes.load import load_recipe, recipe_names
from tests.encoders.loading import load_texts, load_visual
from tests.encoders.recipes import FLUX1, recipe
from tests.fake_hub import COMMIT, TOKEN, FakeHub, serve

PIPELINE = "owner/pipeline"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """FLUX.1's encoders, the T5 in two shards, beside what is not read: another variant, a
    transformer.
    """
    folder = tmp_path / "repository"
    shutil.copytree(build_pipeline(FLUX1, "tiny"), folder)
    text = folder / "text_encoder_2"
    state = load_file(text / "model.safetensors")
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    names = sorted(state)
    weight_map = {name: shards[names.index(name) % 2] for name in names}
    for shard in shards:
        save_file(
            {n: state[n] for n in names if weight_map[n] == shard},
            text / shard,
            metadata={"format": "pt"},
        )
    (text / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    (text / "model.safetensors").rename(text / "model.fp16.safetensors")
    (folder / "transformer").mkdir()
    (folder / "transformer/diffusion_pytorch_model.safetensors").write_bytes(b"x" * 1000)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serve(FakeHub(folders={PIPELINE: folder})) as running:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", running.url)
        template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield running


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def size_of(folder: Path, *patterns: str) -> int:
    return sum(path.stat().st_size for pattern in patterns for path in folder.glob(pattern))


READ = ("vae/*", "text_encoder/*", "text_encoder_2/*-of-*", "text_encoder_2/*.json", "tokenizer*/*")


def test_the_hub_says_what_is_read_of_a_repository_and_what_is_cached(hub: FakeHub) -> None:
    (before,) = plan_downloads(FLUX1, weights=PIPELINE)
    assert (before.repository, before.encoders, before.problem) == (
        PIPELINE,
        ("visual", "t5", "clip"),
        "",
    )
    assert before.exact
    assert before.num_bytes == size_of(hub.folders[PIPELINE], *READ)
    assert (before.num_cached, hub.downloaded) == (0, [])
    find_checkpoints(FLUX1, weights=PIPELINE, build=build_pipeline)
    assert not [name for name in hub.downloaded if name.endswith(".safetensors")]
    load_texts(FLUX1, weights=PIPELINE, device="cpu")
    (after,) = plan_downloads(FLUX1, weights=PIPELINE)
    assert after.num_missing == size_of(hub.folders[PIPELINE], "vae/*.safetensors")
    load_visual(FLUX1, weights=PIPELINE, device="cpu")
    (whole,) = plan_downloads(FLUX1, weights=PIPELINE)
    assert whole.num_missing == 0
    read = {
        str(path.relative_to(hub.folders[PIPELINE]))
        for pattern in READ
        for path in hub.folders[PIPELINE].glob(pattern)
    }
    assert {name.removeprefix(f"{PIPELINE}/") for name in hub.downloaded} == read


def test_a_licence_is_to_be_accepted_before_anything_is_downloaded(
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    hub.gated = frozenset({PIPELINE})
    with pytest.raises(
        PrepError, match=rf"licence of {PIPELINE} .*co/{PIPELINE}, then log in with `hf auth login`"
    ):
        tell_downloads(FLUX1, weights=PIPELINE, dest=str(tmp_path / "new"))
    tell_downloads(FLUX1, weights=PIPELINE, dest=None)  # a dry run
    assert (
        "warning: the licence of owner/pipeline is to be accepted first" in capsys.readouterr().err
    )
    assert not hub.downloaded
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    tell_downloads(FLUX1, weights=PIPELINE, dest=str(tmp_path / "new"))
    assert "to be accepted first at" in capsys.readouterr().err


def test_all_encoders_are_located_before_the_first_is_downloaded(hub: FakeHub) -> None:
    recipe = load_recipe("flux1", {"visual.model": "owner/missing"})
    (plan, missing) = sorted(
        plan_downloads(recipe, weights=PIPELINE), key=lambda d: d.repository, reverse=True
    )
    assert plan.problem == ""
    assert "owner/missing cannot be had" in missing.problem
    with pytest.raises(PrepError, match="visual encoder 'owner/missing'"):
        find_checkpoints(recipe, weights=PIPELINE, build=build_pipeline)
    assert not [name for name in hub.downloaded if name.endswith(".safetensors")]


def test_without_a_hub_it_is_said_what_its_cache_lacks(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_offline(monkeypatch)
    (nothing,) = plan_downloads(FLUX1, weights=PIPELINE)
    places = ("vae", "text_encoder_2", "tokenizer_2", "text_encoder", "tokenizer")
    patterns = " ".join(f"--include '{place}/*'" for place in places)
    assert f"run `hf download {PIPELINE} {patterns}`" in nothing.problem
    assert nothing.problem.endswith("--local-dir DIR, and name DIR with --weights")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    find_checkpoints(FLUX1, weights=PIPELINE, build=build_pipeline)
    files = ["model.safetensors.index.json", "model-00001-of-00002.safetensors"]
    for name in (*(f"text_encoder_2/{file}" for file in files), "text_encoder/model.safetensors"):
        huggingface_hub.hf_hub_download(PIPELINE, name)
    huggingface_hub.hf_hub_download(PIPELINE, "vae/diffusion_pytorch_model.safetensors")
    go_offline(monkeypatch)
    (part,) = plan_downloads(FLUX1, weights=PIPELINE)
    shard = "text_encoder_2/model-00002-of-00002.safetensors"
    assert f"its local cache lacks {shard} of {PIPELINE}: where" in part.problem
    assert f"run `hf download {PIPELINE} {shard}`" in part.problem
    with pytest.raises(PrepError, match=f"its local cache lacks {shard}"):
        find_checkpoints(FLUX1, weights=PIPELINE, build=build_pipeline)
    snapshot = (
        Path(huggingface_hub.constants.HF_HUB_CACHE) / f"models--owner--pipeline/snapshots/{COMMIT}"
    )
    shutil.copy(hub.folders[PIPELINE] / shard, snapshot / shard)
    (whole,) = plan_downloads(FLUX1, weights=PIPELINE)
    assert (whole.problem, whole.num_missing) == ("", 0)
    for path in (snapshot / "tokenizer").iterdir():
        path.unlink()
    (untold,) = plan_downloads(FLUX1, weights=PIPELINE)
    assert (
        f"lacks tokenizer/ of {PIPELINE}: where there is a network, run `hf download "
        f"{PIPELINE} --incl" in untold.problem
    )
    assert next(download_lines([whole])).endswith("all of it cached")


def test_a_hub_out_of_reach_is_as_none(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    (download,) = plan_downloads(FLUX1, weights=PIPELINE)
    assert "no hub can be reached" in download.problem


def test_a_cached_model_loads_at_once_where_no_hub_answers(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    load_visual(FLUX1, weights=PIPELINE, device="cpu")
    (online,) = load_texts(recipe(PIPELINE, {"model": PIPELINE}), weights=None, device="cpu")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    def no_pause(seconds: float) -> None:
        raise AssertionError(f"waits {seconds} s before another try")

    monkeypatch.setattr("time.sleep", no_pause)
    load_visual(FLUX1, weights=PIPELINE, device="cpu")
    (offline,) = load_texts(recipe(PIPELINE, {"model": PIPELINE}), weights=None, device="cpu")
    assert offline.describe() == online.describe()
    with pytest.raises(PrepError, match="neither on a reachable hub nor in its local cache"):
        load_visual(FLUX1, weights="owner/other", device="cpu")
    assert "Retrying" not in "".join(capfd.readouterr())


def test_the_command_line_tells_it_first(hub: FakeHub, tmp_path: Path) -> None:
    make_raw_dataset(tmp_path / "raw", num=1)
    args = [
        *("encode", str(tmp_path / "raw"), str(tmp_path / "out")),
        "--recipe",
        "flux1",
        "--weights",
        PIPELINE,
    ]
    done = CliRunner().invoke(main, [*args, "--dry-run"])
    assert done.exit_code == 0, done.stderr
    size = size_of(hub.folders[PIPELINE], *READ) / 1e9
    assert f"models   {PIPELINE} (visual, t5, clip): {size:.2f} GB to download" in done.stderr
    assert "plan     1 sample in 1 shard" in done.stdout
    hub.folders = {}
    refused = CliRunner().invoke(main, args)
    assert refused.exit_code == 1
    assert f"{PIPELINE} cannot be had" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_a_hub_that_is_too_busy_to_say_stops_nothing(hub: FakeHub) -> None:
    hub.busy = True
    (download,) = plan_downloads(load_recipe("flux1"), weights=None)
    assert (download.problem, download.exact, download.gated) == ("", False, True)
    assert next(download_lines([download])).startswith(
        "black-forest-labs/FLUX.1-dev (visual, t5, clip): about 9.9 GB"
    )


def test_folders_and_built_weights_download_nothing(tmp_path: Path) -> None:
    assert (
        plan_downloads(FLUX1, weights="tiny") == plan_downloads(FLUX1, weights=str(tmp_path)) == []
    )


@pytest.mark.parametrize("name", recipe_names())
def test_every_preset_says_its_size_and_needs_no_more_than_one_pipeline(name: str) -> None:
    downloads = catalogued_downloads(load_recipe(name))
    assert all(download.num_bytes and download.licence for download in downloads)
    assert sum(download.num_bytes or 0 for download in downloads) < 25e9
    assert len(downloads) == (2 if name in ("dit", "nemo-dit", "microdit") else 1)
