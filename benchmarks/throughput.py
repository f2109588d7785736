"""Samples a second of encode against the sequential script and the bare models, in one run: `make bench`.

    sequential  what the published scripts do, on the same models and files
    ceiling     the bare models on decoded, batched input: nothing can be faster on this device
    encode      energon-prep, from files to finished shards
    stations    read, decode, text, visual and write, each by itself
    load        the dataset read back by Energon, with our decoder and with its default

The three ways are run in turn, several rounds; medians and spread are printed and written as JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

import energon_prep
from benchmarks.sequential import encode_clips, encode_images, load_models
from benchmarks.workload import make_clips, make_images
from energon_prep.encoders.weights import resolve
from energon_prep.engine import job as jobs
from energon_prep.engine.encoding import encode_window
from energon_prep.engine.plan import make_plan
from energon_prep.engine.reading import number_samples
from energon_prep.engine.writing import write_window
from energon_prep.recipes.load import load_recipe
from energon_prep.sources.detect import open_source

FLUX_TEXTS = {
    "t5": ("T5EncoderModel", "text_encoder_2", "tokenizer_2"),
    "clip": ("CLIPTextModel", "text_encoder", "tokenizer"),
}
WAN_TEXTS = {"umt5": ("UMT5EncoderModel", "text_encoder", "tokenizer")}


class Recorder:
    """An encoder that notes the batches it is given, to give them to the bare model later."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode(self, *args: Any) -> Any:
        self.calls.append(args)
        return self._encoder.encode(*args)

    def replay(self) -> None:
        for call in self.calls:
            self._encoder.encode(*call)


class Case:
    """One recipe on its files: the three ways to encode them, and each station."""

    def __init__(self, name: str, raw: Path, changes: dict[str, Any], sequential: Callable[[Path, Path], int]) -> None:
        self.name, self.raw, self.sequential = name, raw, sequential
        self.changes = changes
        self.recipe = load_recipe(name, changes)
        self.job = jobs.Job(
            recipe=self.recipe,
            source=open_source(str(raw)).describe(),
            weights="tiny",
            device="cpu",
            torch_threads=jobs.num_cpus(),
            workers=jobs.num_cpus(),
        )
        encoders = jobs.load_encoders(self.job)
        self.visual = Recorder(encoders.visual)
        self.texts = [Recorder(text) for text in encoders.texts]
        self.stations = jobs.build_stations(self.job, jobs.Encoders(visual=self.visual, texts=tuple(self.texts)))
        self.shards = list(make_plan(self.stations.source, samples_per_shard=self.recipe.samples_per_shard))
        self.num = sum(shard.num_samples for shard in self.shards)
        self.decoded = [list(self._decode(shard)) for shard in self.shards]
        self.encoded = [list(encode_window(outcomes, self.stations)) for outcomes in self.decoded]

    def _decode(self, shard: Any) -> Any:
        from energon_prep.engine.reading import decode_one

        for serial, sample in number_samples(shard, self.stations.source):
            yield decode_one(serial, sample, decode=self.stations.decode, carry=())

    def run_sequential(self, dest: Path) -> None:
        self.sequential(self.raw, dest)

    def run_ceiling(self, dest: Path) -> None:
        self.visual.replay()
        for text in self.texts:
            text.replay()

    def run_encode(self, dest: Path) -> float:
        return energon_prep.encode(self.raw, dest, recipe=self.name, changes=self.changes, weights="tiny").seconds

    def run_read(self, dest: Path) -> None:
        for shard in self.shards:
            for _, sample in number_samples(shard, self.stations.source):
                sample.load()

    def run_decode(self, dest: Path) -> None:
        from energon_prep.engine.reading import decode_one

        with ThreadPoolExecutor(self.job.workers) as pool:
            for shard in self.shards:
                tasks = [
                    pool.submit(decode_one, serial, sample, decode=self.stations.decode, carry=())
                    for serial, sample in number_samples(shard, self.stations.source)
                ]
                for task in tasks:
                    task.result()

    def run_text(self, dest: Path) -> None:
        for text in self.texts:
            text.replay()

    def run_visual(self, dest: Path) -> None:
        self.visual.replay()

    def run_write(self, dest: Path) -> None:
        from energon_prep.engine.tally import Tally
        from energon_prep.shards.writer import ShardWriter
        from energon_prep.storage import LocalStorage

        for shard, outcomes in zip(self.shards, self.encoded, strict=True):
            writer = ShardWriter(LocalStorage(dest), index=shard.index, num_planned=shard.num_samples)
            write_window(outcomes, self.stations.target, writer, Tally(num_planned=self.num))
            writer.finish()


WAYS = ("sequential", "ceiling", "encode")
STATIONS = ("read", "decode", "text", "visual", "write")


def measure(case: Case, place: Path, ways: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, the ways in turn; the first round warms up and does not count."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way in ways:
            dest = place / f"{way}-{turn}"
            started = time.perf_counter()
            own = getattr(case, f"run_{way}")(dest)
            taken = own if isinstance(own, float) else time.perf_counter() - started
            if turn:
                seconds[way].append(taken)
            shutil.rmtree(dest, ignore_errors=True)
    return seconds


def measure_loading(place: Path, raw: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds to read the dataset back through Energon: with our cooker, and with its default decoder."""
    from megatron.energon import Cooker, DefaultTaskEncoder, SampleDecoder, WorkerConfig, get_loader, get_train_dataset

    from cookers import cook_latents
    from task_encoders import LatentTaskEncoder

    class Default(LatentTaskEncoder):
        decoder = SampleDecoder()
        cookers = (Cooker(cook_latents),)

    del DefaultTaskEncoder
    dest = place / "loading"
    energon_prep.encode(raw, dest, recipe="dit", weights="tiny", changes={"resize.resolution": 256})
    energon_prep.index(dest)
    seconds: dict[str, list[float]] = {"ours": [], "default decoder": []}
    for turn in range(rounds + 1):
        for name, encoder in (("ours", LatentTaskEncoder), ("default decoder", Default)):
            dataset = get_train_dataset(
                dest,
                worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
                task_encoder=encoder(),
                batch_size=8,
                shuffle_buffer_size=None,
                max_samples_per_sequence=None,
                repeat=False,
            )
            started = time.perf_counter()
            for _ in get_loader(dataset):
                pass
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def table(case: str, num: int, seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Print and return a row a way: median samples/s, and the slowest and fastest round."""
    rows = []
    for way, times in seconds.items():
        rates = sorted(num / taken for taken in times)
        rows.append({"case": case, "way": way, "samples": num, "rate": statistics.median(rates), "rates": rates})
        print(f"{case:<10} {way:<16} {rows[-1]['rate']:>9.2f} samples/s   ({rates[0]:.2f} to {rates[-1]:.2f})")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--json", type=Path, default=Path("bench.json"))
    parser.add_argument("--only", choices=["flux1", "wan2.1", "loading"])
    args = parser.parse_args()
    torch.set_num_threads(jobs.num_cpus())
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="energon-prep-bench-") as folder:
        place = Path(folder)
        images, clips = place / "images", place / "clips"
        make_images(images, num=args.images)
        make_clips(clips, num=args.clips)
        if args.only in (None, "flux1"):
            rows += bench(flux_case(images), place, args.rounds)
        if args.only in (None, "wan2.1"):
            rows += bench(wan_case(clips), place, args.rounds)
        if args.only in (None, "loading"):
            rows += table("loading", args.images, measure_loading(place, images, args.rounds))
    machine = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpus": jobs.num_cpus(),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2))
    print(f"{machine} -> {args.json}")


def flux_case(images: Path) -> Case:
    changes = {"visual.dtype": "fp32", "text.dtype": "fp32", "resize.mode": "crop", "resize.resolution": 512}
    pipeline = Path(resolve(load_recipe("flux1", changes), weights="tiny").visual.location)
    models = load_models(pipeline, "AutoencoderKL", FLUX_TEXTS)
    return Case("flux1", images, changes, lambda raw, dest: encode_images(raw, dest, models))


def wan_case(clips: Path) -> Case:
    changes = {
        "visual.dtype": "fp32",
        "text.dtype": "fp32",
        "resize.mode": "crop",
        "resize.resolution": "240x416",
        "frames.num_frames": 33,
        "frames.fps": None,
    }
    pipeline = Path(resolve(load_recipe("wan2.1", changes), weights="tiny").visual.location)
    models = load_models(pipeline, "AutoencoderKLWan", WAN_TEXTS)
    return Case("wan2.1", clips, changes, lambda raw, dest: encode_clips(raw, dest, models))


def bench(case: Case, place: Path, rounds: int) -> list[dict[str, Any]]:
    rows = table(case.name, case.num, measure(case, place, WAYS, rounds))
    rate = {row["way"]: row["rate"] for row in rows}
    print(
        f"{case.name:<10} encode is {rate['encode'] / rate['sequential']:.2f} x sequential, "
        f"{rate['encode'] / rate['ceiling']:.2f} of ceiling"
    )
    return rows + table(case.name, case.num, measure(case, place, STATIONS, rounds))


if __name__ == "__main__":
    main()
