from __future__ import annotations

import dataclasses
import io
import itertools
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cookers.safe import load_json, load_pickle, load_pth
from energon_prep.decode.image import Take, take_nothing
from energon_prep.device.batch_sizes import BatchSizes
from energon_prep.errors import PrepError
from energon_prep.pipeline.decode import Ahead, decode
from energon_prep.pipeline.line import encode_shards
from energon_prep.pipeline.read import read
from energon_prep.pipeline.stations import Stations
from energon_prep.pipeline.tally import Tally
from energon_prep.pipeline.window import Clips
from energon_prep.plan.shards import Cut, make_plan
from energon_prep.recipes.load import load_recipe
from energon_prep.samples import (
    CAPTION_LEFT_OUT,
    DecodedSample,
    Frames,
    PendingSample,
    RawSample,
    Reject,
    SampleInfo,
)
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.storage import LocalStorage
from energon_prep.targets import get_target
from tests.fakes import HashText, MeanVisual, Numbers, decode_number
from tests.runs import tar_digests

TEXT = load_recipe("dit", {"text.max_tokens": 5}).text[0]
INFO: dict[str, Any] = {
    "key": "",
    "source": "",
    "caption": "",
    "metadata": {},
    "clip": None,
    "num_frames": 1,
    "framerate": None,
    "start": None,
    "original_height": 1,
    "original_width": 1,
    "sizes": {},
}


def stations(source: Numbers, *, window: int = 8, **changes: Any) -> Stations:
    fields: dict[str, Any] = {
        "source": source,
        "decode": decode_number,
        "visual": MeanVisual(),
        "texts": ((TEXT, HashText(max_tokens=TEXT.max_tokens)),),
        "target": get_target("dit"),
        "window": window,
        "sizes": BatchSizes(pixels=3 * 64 * 64, tokens={"t5": 8192}),
        "seed": 0,
    }
    return Stations(**(fields | changes))


def run(
    dest: Path, line: Stations, *, workers: int = 1, size: int = 20, in_turn: bool = False
) -> tuple[list[LedgerEntry], Tally]:
    shards = list(make_plan(line.source, Cut(samples_per_shard=size)))
    tally = Tally(num_planned=sum(shard.num_samples for shard in shards))
    with ThreadPoolExecutor(workers) as pool:
        ahead = Ahead(least=4, most=4, in_turn=in_turn)
        entries = list(
            encode_shards(
                shards, line, storage=LocalStorage(dest), pool=pool, ahead=ahead, counts=tally
            )
        )
    tally.finish()
    return entries, tally


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]


def test_every_sample_arrives_with_its_own_latent_and_text(tmp_path: Path) -> None:
    entries, _ = run(tmp_path, stations(Numbers(50)))
    assert [entry.num_written for entry in entries] == [20, 20, 10]
    seen = 0
    for entry in entries:
        parts = members(tmp_path / entry.shard)
        for name in [name for name in parts if name.endswith(".json")]:
            info = load_json(parts[name])
            number = int(info["key"])
            assert name == f"samples/sample_{number:09d}.json"
            latent = load_pth(parts[name.replace(".json", ".pth")])
            place = latent.float() - number % 251 / 255
            assert torch.allclose(place, place.round(), atol=0.02), "the latent is of other pixels"
            text = load_pickle(parts[name.replace(".json", ".pickle")])
            assert len(text) == info["text_tokens"]["t5"] == min(5, number % 7 + 1)
            seen += 1
    assert seen == 50


@pytest.mark.parametrize("workers", [2, 5])
def test_bytes_do_not_depend_on_the_workers(tmp_path: Path, workers: int) -> None:
    def slow_at_random(raw: RawSample, take: Take = take_nothing) -> Any:
        time.sleep(0.001 * (hash(raw.media.read() + bytes([workers])) % 4))
        return decode_number(raw)

    one, _ = run(tmp_path / "one", stations(Numbers(50)))
    many, _ = run(tmp_path / "many", stations(Numbers(50), decode=slow_at_random), workers=workers)
    assert [entry.sha256 for entry in one] == [entry.sha256 for entry in many]
    assert all(
        (tmp_path / "one" / e.shard).read_bytes() == (tmp_path / "many" / e.shard).read_bytes()
        for e in one
    )


def test_rejects_are_recorded_and_leave_the_others_alone(tmp_path: Path) -> None:
    broken = frozenset({0, 7, 8, 19, 33})
    entries, tally = run(tmp_path, stations(Numbers(40, broken=broken)))
    assert [(e.num_written, e.num_rejected) for e in entries] == [(16, 4), (19, 1)]
    assert tally.rejects == {"read: broken": 5}
    lines = (tmp_path / ".energon-prep/rejects/shard_000000.jsonl").read_text().splitlines()
    assert [load_json(line.encode())["key"] for line in lines] == ["0", "7", "8", "19"]
    keys = {name.split(".")[0] for name in members(tmp_path / "shard_000000.tar")}
    assert keys == {f"samples/sample_{i:09d}" for i in range(20) if i not in broken}


def test_a_window_of_which_nothing_can_be_read_stops_the_run(tmp_path: Path) -> None:
    source = Numbers(60, broken=frozenset({1, *range(28, 36)}))  # of 20: 8, 8, 4
    with pytest.raises(PrepError, match=r"none of 8 samples.*the first is 28: broken"):
        run(tmp_path / "stopped", stations(source))
    assert set(tar_digests(tmp_path / "stopped")) == {"shard_000000.tar"}
    names = {path.name for path in (tmp_path / "stopped/.energon-prep/ledger").glob("*.json")}
    assert names == {"shard_000000.json"}
    entries, _ = run(tmp_path / "allowed", stations(source, allow_unreadable=True))
    assert [entry.num_rejected for entry in entries] == [1, 8, 0]


def test_one_sample_or_one_that_is_read_says_nothing_of_the_source(tmp_path: Path) -> None:
    source = Numbers(17, broken=frozenset({*range(7), 16}))
    (entry,), _ = run(tmp_path, stations(source))
    assert (entry.num_written, entry.num_rejected) == (9, 8)


def test_what_the_trainer_would_refuse_is_rejected_by_the_target(tmp_path: Path) -> None:
    class Overflowing(MeanVisual):
        def encode(self, pixels: torch.Tensor, seeds: Any) -> torch.Tensor:
            latents = super().encode(pixels, seeds).clone()
            latents[[(seed >> 12) % 10 == 3 for seed in seeds]] = float("inf")
            return latents

    entries, tally = run(tmp_path, stations(Numbers(20), visual=Overflowing()))
    assert tally.rejects == {"target: not what dit reads": 2}
    assert entries[0].num_written == 18


def test_equal_shapes_share_batches_within_the_budget(tmp_path: Path) -> None:
    line = stations(Numbers(24), window=12)
    run(tmp_path, line, size=24)
    assert isinstance(line.visual, MeanVisual)
    assert max(shape[0] for shape in line.visual.batches) == 3
    assert all(b * t * h * w <= 3 * 64 * 64 for b, t, h, w, _ in line.visual.batches)
    assert sum(shape[0] for shape in line.visual.batches) == 24


def test_equal_captions_are_encoded_once(tmp_path: Path) -> None:
    line = stations(Numbers(24), window=24)
    run(tmp_path, line, size=24)
    (_, encoder) = line.texts[0]
    assert isinstance(encoder, HashText)
    assert len(encoder.captions) == 7


def test_an_unexpected_error_stops_the_shard_and_publishes_nothing(tmp_path: Path) -> None:
    class Dying(MeanVisual):
        def encode(self, pixels: torch.Tensor, seeds: Any) -> torch.Tensor:
            raise RuntimeError("device lost")

    with pytest.raises(RuntimeError, match="device lost"):
        run(tmp_path, stations(Numbers(20), visual=Dying()))
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("bytes_each", "expected"), [(0, 30), (2**26, 16), (2**29, 10), (2**30, 5), (2**33, 1)]
)
def test_decoding_runs_ahead_but_not_away(bytes_each: int, expected: int) -> None:
    source = Numbers(100)
    (shard,) = make_plan(source, Cut(samples_per_shard=100))
    started: list[int] = []
    frame = np.lib.stride_tricks.as_strided(
        np.zeros(1, np.uint8), (1, bytes_each, 1, 1), (0, 0, 0, 0)
    )

    def counting(serial: int, sample: PendingSample) -> Clips:
        started.append(serial)
        return [DecodedSample(info=SampleInfo(serial=serial, **INFO), pixels={"64": frame})]

    with ThreadPoolExecutor(1) as pool:
        ahead = Ahead(least=10, most=30, num_bytes=2**32 + 2**30)
        windows = decode(read([shard], source, window=100), counting, pool=pool, ahead=ahead)
        outcomes = next(windows).outcomes
        seen = [next(outcomes) for _ in range(20)]
        time.sleep(0.2)
        assert len(started) == 20 + expected, (
            "a slow consumer must not fill the memory, nor find it empty"
        )
        seen += outcomes
    assert [clips[0].info.serial for clips in seen if not isinstance(clips, Reject)] == list(
        range(100)
    )


def test_decoding_and_models_take_turns_on_the_same_processors(tmp_path: Path) -> None:
    source = Numbers(100, broken=frozenset({3}))
    (shard,) = make_plan(source, Cut(samples_per_shard=100))
    started: list[int] = []

    def counting(serial: int, sample: PendingSample) -> Clips:
        started.append(serial)
        return []

    with ThreadPoolExecutor(2) as pool:
        ahead = Ahead(least=10, most=40, in_turn=True)
        seen = []
        windows = decode(read([shard], source, window=30), counting, pool=pool, ahead=ahead)
        for _ in itertools.chain.from_iterable(window.outcomes for window in windows):
            time.sleep(0.0005)
            seen.append(len(started))
    assert seen == [10] * 10 + [50] * 40 + [90] * 40 + [100] * 10, (
        "nothing is decoded while there is something left"
    )
    run(tmp_path / "ahead", stations(source))
    run(tmp_path / "in turn", stations(source), in_turn=True)
    assert tar_digests(tmp_path / "in turn") == tar_digests(tmp_path / "ahead")


def test_tars_are_plain(tmp_path: Path) -> None:
    entries, _ = run(tmp_path, stations(Numbers(3)))
    data = (tmp_path / entries[0].shard).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    assert names[:4] == [
        f"samples/sample_000000000.{part}" for part in ("json", "pickle", "pth")
    ] + ["samples/sample_000000001.json"]


def test_a_video_of_several_clips_is_one_sample_in_and_several_out(tmp_path: Path) -> None:
    def clips(raw: RawSample, take: Take = take_nothing) -> list[dict[str, Frames]]:
        return decode_number(raw) * (1 + int(raw.media.read()) % 3)

    (entry,), tally = run(tmp_path, stations(Numbers(9), decode=clips))
    assert (entry.num_planned, entry.num_written, entry.num_samples) == (9, 9, 18)
    assert tally.num_written == 9
    names = [name for name in members(tmp_path / entry.shard) if name.endswith("pth")]
    assert names[:4] == [
        "samples/sample_000000000.pth",
        "samples/sample_000000001_0000.pth",
        "samples/sample_000000001_0001.pth",
        "samples/sample_000000002_0000.pth",
    ]


def test_originals_are_carried(tmp_path: Path) -> None:
    (entry,), _ = run(tmp_path, stations(Numbers(2), carry=("media", "caption")))
    parts = members(tmp_path / entry.shard)
    assert (parts["samples/sample_000000001.media"], parts["samples/sample_000000001.txt"]) == (
        b"1",
        b"word ",
    )


def test_decoding_goes_on_beyond_the_end_of_a_shard(tmp_path: Path) -> None:
    decoded: list[int] = []
    at_first_shard: list[int] = []

    def noting(raw: RawSample, take: Take = take_nothing) -> Any:
        decoded.append(int(raw.media.read()))
        return decode_number(raw)

    class Noting(HashText):
        def encode(self, token_ids: Any) -> Any:
            time.sleep(0.05)
            at_first_shard.append(max(decoded))
            return super().encode(token_ids)

    run(
        tmp_path,
        stations(
            Numbers(40),
            decode=noting,
            texts=((TEXT, Noting(max_tokens=TEXT.max_tokens)),),
            window=20,
        ),
    )
    assert at_first_shard[0] > 19, "the second shard must be decoded while the first is encoded"


def test_an_error_in_the_writing_thread_stops_the_run_and_publishes_nothing_more(
    tmp_path: Path,
) -> None:
    class Unwritable:
        def __getattr__(self, name: str) -> Any:
            return getattr(get_target("dit"), name)

        def check(self, parts: Any) -> None:
            if parts["json"]["key"] == "25":
                raise RuntimeError("broken in the writing thread")

    with pytest.raises(RuntimeError, match="broken in the writing thread"):
        run(tmp_path, stations(Numbers(60), target=Unwritable()))
    assert not (tmp_path / "shard_000001.tar").exists()
    assert not list((tmp_path / ".energon-prep/tmp").glob("*"))


class ManyCaptions(Numbers):
    """Every sample has three captions."""

    def _load(self, i: int) -> RawSample:
        captions = tuple(f"{'word ' * n}of {i}" for n in range(3))
        return dataclasses.replace(super()._load(i), captions=captions, num_captions_left_out=2)


def test_every_caption_makes_a_sample_and_pixels_are_encoded_once(tmp_path: Path) -> None:
    line = stations(ManyCaptions(10))
    (entry,), tally = run(tmp_path, line)
    assert (entry.num_written, entry.num_samples) == (10, 30)
    assert sum(shape[0] for shape in line.visual.batches) == 10  # type: ignore[attr-defined]
    assert entry.notes[CAPTION_LEFT_OUT] == tally.notes[CAPTION_LEFT_OUT] == 20
    parts = members(tmp_path / entry.shard)
    for number in range(10):
        of_one = [f"samples/sample_{number:09d}_{clip:04d}" for clip in range(3)]
        assert len({parts[f"{key}.pth"] for key in of_one}) == 1
        captions = [load_json(parts[f"{key}.json"])["caption"] for key in of_one]
        assert captions == [f"of {number}", f"word of {number}", f"word word of {number}"]
        assert len({parts[f"{key}.pickle"] for key in of_one}) == 3


def named_clips(raw: RawSample, take: Take = take_nothing) -> list[dict[str, Frames]]:
    """Three clips that the metadata name."""
    (clip,) = decode_number(raw)
    return [
        {name: dataclasses.replace(view, span=n) for name, view in clip.items()} for n in range(3)
    ]


def test_each_of_several_clips_has_its_own_caption(tmp_path: Path) -> None:
    (entry,), _ = run(tmp_path, stations(ManyCaptions(4), decode=named_clips))
    assert entry.num_samples == 12
    parts = members(tmp_path / entry.shard)
    captions = [
        load_json(parts[f"samples/sample_000000003_{clip:04d}.json"])["caption"]
        for clip in range(3)
    ]
    assert captions == ["of 3", "word of 3", "word word of 3"]


def test_clips_do_not_share_the_caption_of_the_first(tmp_path: Path) -> None:
    class FirstCaption(ManyCaptions):
        def _load(self, i: int) -> RawSample:
            raw = super()._load(i)
            return dataclasses.replace(raw, captions=raw.captions[: 1 if i == 2 else 3])

    _, tally = run(tmp_path, stations(FirstCaption(4), decode=named_clips))
    assert tally.rejects == {
        "caption: each of several clips has its own caption: give --captions all": 1
    }
