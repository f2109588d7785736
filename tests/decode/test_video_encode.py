"""From video files to latents, by the command line."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from energon_prep.demo.data import make_raw_videos
from energon_prep.run.encode import encode
from energon_prep.verifying import verify
from tests.runs import SMALL, prep, tar_digests

CHANGES = {
    "resize.resolution": 64,
    "samples_per_shard": 10,
    "frames.num_frames": 13,
    "frames.fps": 8,
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four whole videos, and one that is cut."""
    root = tmp_path_factory.mktemp("videos")
    make_raw_videos(root, num=4, side=96, seconds=1.5)
    first = next(iter(sorted(root.rglob("*.mp4"))))
    cut = root / "cut.mp4"
    cut.write_bytes(first.read_bytes()[:-500])
    cut.with_suffix(".txt").write_text("half a film", encoding="utf-8")
    return root


def infos(dest: Path) -> list[dict[str, object]]:
    with tarfile.open(dest / "shard_000000.tar") as tar:
        members = [member for member in tar if member.name.endswith(".json")]
        return [json.load(tar.extractfile(member)) for member in members]  # type: ignore[arg-type]


def test_clips_and_rejects(videos: Path, tmp_path: Path) -> None:
    options = ("--recipe", "dit", *SMALL, "--frames", "13", "--fps", "8", "--frame-mode", "head")
    report = json.loads(
        prep("encode", videos, tmp_path / "one", *options, "--workers", 4, "--json").stdout
    )
    assert (report["num_written"], report["rejects"]) == (4, {"decode: damaged video": 1})
    (line,) = (tmp_path / "one/.energon-prep/rejects/shard_000000.jsonl").read_text().splitlines()
    assert json.loads(line)["detail"].startswith("decoded ")
    assert "of 13 frames" in line
    for info in infos(tmp_path / "one"):
        assert (info["media"], info["framerate"], info["start"], info["clip"]) == (
            "video",
            8.0,
            0.0,
            None,
        )
        assert info["num_frames"] in (9, 13)  # 1.2 to 1.8 seconds, cut to the rule
        assert info["latent_shape"][1] == 1 + info["num_frames"] // 4  # type: ignore[index, operator]
    assert verify(tmp_path / "one").ok
    encode(
        videos,
        tmp_path / "many",
        recipe="dit",
        weights="tiny",
        set=CHANGES,
        workers=1,
        torch_threads=1,
    )
    assert tar_digests(tmp_path / "one") == tar_digests(tmp_path / "many")


def test_chunks_are_samples_of_one_video(videos: Path, tmp_path: Path) -> None:
    changes = {
        **CHANGES,
        "frames.mode": "chunks",
        "frames.num_frames": 5,
        "frames.fps": None,
        "frames.max_clips": 3,
    }
    encode(
        videos,
        tmp_path / "out",
        recipe="dit",
        weights="tiny",
        set=changes,
        limit=2,
        torch_threads=1,
    )
    found = infos(tmp_path / "out")
    assert [info["clip"] for info in found] == [0, 1, 2]  # the other one is damaged
    starts = [float(str(info["start"])) for info in found]
    assert starts == pytest.approx(
        [0, 5 / float(str(found[0]["framerate"])), 10 / float(str(found[0]["framerate"]))]
    )
    assert {info["num_frames"] for info in found} == {5}
