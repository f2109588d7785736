from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import growth
from benchmarks.cases import Case, clip_case, dummy_case, image_cases
from benchmarks.children import Round
from benchmarks.ways import WAYS
from benchmarks.workload import make_clips, make_images, make_squares
from tests.sources.reading import write_tar

SMALL = {"resize.resolution": 64}


@pytest.fixture(scope="module", autouse=True)
def same_threads_afterwards() -> Any:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bench") / "images"
    make_images(root, num=3, smallest=80, largest=100)
    return root


def round_of(way: str, case: Case) -> dict[str, Any]:
    do_round: Round = WAYS[way](Case.from_json(case.to_json()))
    return do_round()


def test_every_way_encodes_images(images: Path) -> None:
    full, trimmed = image_cases(images)
    case = Case(**{**vars(trimmed), "changes": {**trimmed.changes, **SMALL}})
    assert "text.t5.padding" not in full.changes
    assert round_of("sequential", case)["seconds"] > 0
    assert round_of("encode", case)["seconds"] > 0
    assert [name.split(",")[0] for name in round_of("ceiling", case)["parts"]] == [
        "visual",
        "t5",
        "clip",
    ]


def test_clips_are_what_the_case_says(tmp_path: Path) -> None:
    make_clips(tmp_path / "clips", num=1)
    case = clip_case(tmp_path / "clips")
    small = Case(
        **{
            **vars(case),
            "changes": {**case.changes, "resize.resolution": 32, "frames.num_frames": 5},
        }
    )
    ceiling = round_of("ceiling", small)
    assert list(ceiling["parts"]) == ["visual, batches", "umt5, batches"]
    assert ceiling["seconds"] == sum(ceiling["parts"].values())


def test_dummies_encode_and_every_station_is_timed(tmp_path: Path) -> None:
    make_squares(tmp_path / "squares", num=30, size=128, per_tar=20)
    case = dummy_case("dummy", tmp_path / "squares", samples_per_shard=20)
    assert round_of("encode", case)["limited_by"]
    stations = round_of("stations", case)["stations"]
    assert list(stations) == ["read", "decode", "visual", "text", "write"]
    assert min(stations.values()) > 0


def test_a_rejected_sample_ends_the_benchmark(tmp_path: Path) -> None:
    make_squares(tmp_path / "squares", num=4, size=128, words=1)
    write_tar(
        tmp_path / "squares" / "broken.tar", [("0.jpg", b"\xff\xd8\xff cut"), ("0.txt", b"cut")]
    )
    with pytest.raises(SystemExit, match="1 samples were rejected"):
        WAYS["encode"](dummy_case("dummy", tmp_path / "squares"))


def test_points_of_growth_have_their_sources(tmp_path: Path) -> None:
    points = [*growth.with_samples(tmp_path, [30, 300]), *growth.with_shards(tmp_path, 300)]
    assert [num for _, num in points] == [30, 300, 300, 300, 300]
    assert [case.changes.get("samples_per_shard") for case, _ in points[2:]] == [300, 30, 3]
    assert all(Path(case.source).is_dir() for case, _ in points)
