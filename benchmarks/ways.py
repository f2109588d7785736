"""The ways to encode a case: each function makes ready, warms up and returns what does one round.

    python -m benchmarks.ways WAY CASE      as a child of benchmarks.throughput, CASE in JSON

The samples of the warm-up do not count. Seconds are of encoding: the models are loaded before.
"""

from __future__ import annotations

import sys

# How torch's threads wait is settled here, before it is imported; those two have torch as it comes.
if sys.argv[1:2] not in (["sequential"], ["ceiling"]):
    from energon_prep.device.tuning import tune_process

    tune_process()

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import energon_prep
from benchmarks.cases import Case
from benchmarks.children import Round, serve
from benchmarks.recorder import BareModel, Call
from benchmarks.stations import make_windows, time_stations
from energon_prep.demo.tiny import build_pipeline
from energon_prep.encoders.locate import resolve
from energon_prep.executors import worker
from energon_prep.executors.job import Encoders, Job, load_encoders
from energon_prep.pipeline import line
from energon_prep.pipeline.stations import Stations
from energon_prep.recipes.load import load_recipe

_FEW = 2  #: samples that warm up what does one at a time
#: samples at most that are encoded one at a time: the next ones would take as long
_SEQUENTIAL = 40
_TRIAL = 32  #: samples, or a few more, that show which batches are fastest
_STATIONS = 64  #: samples that the stations are measured with
_DUMMIES = 1000  #: that warm up what has no models


def sequential(case: Case) -> Round:
    """The published scripts' way: see benchmarks/sequential.py."""
    from benchmarks.sequential import SCRIPTS

    assert case.script is not None
    script = SCRIPTS[case.script]
    recipe = load_recipe(case.recipe, case.changes)
    found = resolve(recipe, weights=case.weights, build=build_pipeline)
    pipeline = Path(found.visual.location)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[case.changes["visual.dtype"]]
    models = script.load(pipeline, device=case.device, dtype=dtype)

    def do_round(limit: int = _SEQUENTIAL) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as dest:
            started = time.perf_counter()
            num = script.encode(Path(case.source), Path(dest), models, limit=limit)
            return {"seconds": time.perf_counter() - started, "samples": num}

    do_round(_FEW)
    return do_round


def ceiling(case: Case) -> Round:
    """The bare models on the very tensors that encode gives them: nothing else is left to do.

    An encode of the whole source comes first, in which every call of a model is noted with its
    inputs, on the device; it leaves the process with the same allocator settings and the same torch
    threads. In a round the models are called with them again, one after the other, and what they
    return is dropped. There is no reading, decoding, tokenizing, conversion of pixels, copying
    back, normalisation, checking or writing in it. Each model also tries other batches of the same
    samples, and takes the fastest. So what is faster than this runs the models otherwise: compiled,
    say.
    """
    bare: list[BareModel] = []

    def noted(shards: Any, stations: Stations, **options: Any) -> Iterator[Any]:
        bare[:] = [
            BareModel(encoder)
            for encoder in (stations.visual, *(encoder for _, encoder in stations.texts))
        ]
        yield from line.encode_shards(shards, stations, **options)

    run_encode(case, encode_shards=noted)
    for model in bare:
        model.finish()
    if case.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    chosen = {model.name: _fastest(model, case.device) for model in bare}

    def do_round() -> dict[str, Any]:
        parts = {
            model.name: seconds_of(partial(model.run, chosen[model.name][1]), case.device)
            for model in bare
        }
        return {
            "seconds": sum(parts.values()),
            "parts": {f"{name}, {chosen[name][0]}": parts[name] for name in parts},
        }

    return do_round


def _fastest(model: BareModel, device: str) -> tuple[str, list[Call]]:
    """How to call the model, by a trial with some of its samples."""
    variants = model.variants()
    trials: dict[str, float] = {}
    for name, calls in variants.items():
        model.run(calls[:_FEW])
        some = calls[: max(1, len(calls) * _TRIAL // max(_TRIAL, model.num_samples))]
        trials[name] = (
            seconds_of(partial(model.run, some), device) / sum(map(len, some))
            if len(variants) > 1
            else 0.0
        )
    best = min(trials, key=trials.__getitem__)
    return best, variants[best]


def encode(case: Case) -> Round:
    """energon-prep as its users call it, from files to the finished dataset; its models are loaded
    once.
    """
    loaded: list[Encoders] = []

    def load(job: Job) -> Encoders:
        if not loaded:
            loaded.append(load_encoders(job))
        return loaded[0]

    def do_round() -> dict[str, Any]:
        report = run_encode(case, load_encoders=load)
        return {"seconds": report.seconds, "limited_by": report.limited_by}

    run_encode(case, load_encoders=load, limit=_DUMMIES if case.weights is None else None)
    return do_round


def stations_alone(case: Case) -> Round:
    """Every station by itself, one after the other, each with all samples and all processors."""
    seen: list[Stations] = []

    def noted(shards: Any, stations: Stations, **options: Any) -> Iterator[Any]:
        seen.append(stations)
        yield from line.encode_shards(shards, stations, **options)

    run_encode(case, encode_shards=noted)
    windows = make_windows(seen[0], _STATIONS)

    def do_round() -> dict[str, Any]:
        return {
            "stations": time_stations(windows, seen[0]),
            "samples": sum(len(samples) for _, samples in windows),
        }

    return do_round


def run_encode(
    case: Case,
    *,
    limit: int | None = None,
    load_encoders: Callable[[Job], Encoders] = load_encoders,
    encode_shards: Callable[..., Iterator[Any]] = line.encode_shards,
) -> Any:
    """One encode into a folder that is removed, with these in the place of the worker's own.

    Raises SystemExit unless every sample is written.
    """
    parts = {"load_encoders": load_encoders, "encode_shards": encode_shards}
    with tempfile.TemporaryDirectory() as dest, mock.patch.multiple(worker, **parts):
        report = energon_prep.encode(
            case.source,
            dest,
            recipe=case.recipe,
            set=case.changes,
            weights=case.weights,
            device=case.device,
            limit=limit,
        )
    if report.num_rejected:
        raise SystemExit(f"{report.num_rejected} samples were rejected: {report.rejects}")
    return report


def seconds_of(work: Callable[[], object], device: str) -> float:
    """Wall-clock seconds until the device has done it."""
    started = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started


WAYS = {"sequential": sequential, "ceiling": ceiling, "encode": encode, "stations": stations_alone}


def main() -> None:
    way, case = sys.argv[1:]
    serve(lambda: WAYS[way](Case.from_json(case)))


if __name__ == "__main__":
    main()
