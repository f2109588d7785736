"""The parts of examples/own_parts: by their place on two worker processes, and by an entry
point.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from megatron.energon import WorkerConfig, get_loader, get_train_dataset

import energon_prep
from energon_prep.errors import PrepError
from energon_prep.plugins import GROUPS
from tests.runs import command, tar_digests

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
RECIPE = EXAMPLES / "own_parts" / "recipe.yaml"
NUM = 20
POINTS = {
    "visual": "own_parts.vae:PatchVae",
    "text": "own_parts.words:HashedWords",
    "target": "own_parts.trainer:ShapesTrainer",
    "source": "own_parts.shapes:Shapes",
}


def run(*args: object, cwd: Path) -> str:
    """``energon-prep ARGS`` with nothing importable but the packages."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(EXAMPLES)])}
    done = subprocess.run(
        command(*args), cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    args = ("--source-kind", POINTS["source"], "--recipe", RECIPE, "--torch-threads", 1)
    run("encode", NUM, "dst", *args, "--device", "cpu,cpu", "--split", "1,0,0", cwd=folder)
    return folder / "dst"


def install(folder: Path, version: str) -> None:
    """What pip leaves of a distribution with these entry points."""
    info = folder / "own_parts.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: own-parts\nVersion: {version}\n")
    points = "".join(f"[{GROUPS[kind]}]\nmine = {POINTS[kind]}\n" for kind in GROUPS)
    (info / "entry_points.txt").write_text(points)


def test_verify_needs_the_package_alone(encoded: Path) -> None:
    report = json.loads(run("verify", encoded, "--json", cwd=encoded.parent))
    assert (report["ok"], report["samples"], report["notes"]) == (True, NUM, [])
    told = json.loads((encoded / ".energon-prep" / "run.json").read_bytes())
    for about in (told["encoders"]["visual"], told["target"]["plugin"], told["source"]["plugin"]):
        assert about["class"] in POINTS.values()
        assert len(about["sha256"]) == 64


def test_the_trainer_reads_it(encoded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    from own_parts.shapes import make
    from own_parts.training import ShapesTaskEncoder

    dataset = get_train_dataset(
        encoded,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
        task_encoder=ShapesTaskEncoder(),
        batch_size=4,
        shuffle_buffer_size=None,
        max_samples_per_sequence=None,
        repeat=False,
    )
    batches = list(get_loader(dataset))
    assert sum(len(batch.latent) for batch in batches) == NUM
    assert batches[0].latent.shape == (4, 4, 16, 16)
    captions = {caption for batch in batches for caption in batch.caption}
    assert captions == {make(number).captions[0] for number in range(NUM)}


def test_an_entry_point_gives_the_same_and_another_version_is_refused(
    encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "1.2")
    changes = {"visual.model": "mine", "text.model": "mine", "target": "mine"}

    def encode() -> None:
        energon_prep.encode(
            str(NUM),
            tmp_path / "dst",
            recipe=RECIPE,
            set=changes,
            source_kind="mine",
            split="1,0,0",
            device="cpu",
            torch_threads=1,
        )

    encode()
    assert tar_digests(tmp_path / "dst") == tar_digests(encoded)
    run_json = json.loads((tmp_path / "dst" / ".energon-prep" / "run.json").read_bytes())
    visual = run_json["encoders"]["visual"]
    assert (visual["class"], visual["distribution"], visual["version"]) == (
        POINTS["visual"],
        "own-parts",
        "1.2",
    )
    energon_prep.index(tmp_path / "dst", split="1,0,0")
    assert energon_prep.verify(tmp_path / "dst").ok
    install(tmp_path, "1.3")
    with pytest.raises(PrepError, match=r'version: "1\.2" there, "1\.3" now'):
        encode()


def test_a_dataset_that_brings_its_own_target_does_not_get_it_run(
    encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = shutil.copytree(encoded, tmp_path / "dst")
    module = dataset / "stranger.py"
    module.write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    path = dataset / ".energon-prep" / "run.json"
    told = json.loads(path.read_bytes())
    told["target"]["name"] = "stranger:Target"
    told["target"]["plugin"] = {"sha256": hashlib.sha256(module.read_bytes()).hexdigest()}
    path.write_text(json.dumps(told))
    monkeypatch.syspath_prepend(dataset)
    report = energon_prep.verify(dataset)
    assert not report.ok
    assert any("the dataset names the target stranger:Target" in line for line in report.problems)
    assert not (dataset / "ran").exists()
