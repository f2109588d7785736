"""Samples a second of encode against the published scripts' way and the bare models: `make bench`.

    sequential  one sample at a time, as the published scripts do, with the same models and files
    ceiling     the bare models on tensors that lie ready in batches
    encode      energon-prep, from files to the finished dataset
    stations    read, decode, visual, text and write, each by itself
    growth      encodes of more samples, shards, pixels and words

Every way has a process of its own, which warms up before it counts; the ways of a case take turns
for some rounds. Medians, slowest and fastest round and each process's peak of memory are printed,
and written as JSON, which `python -m benchmarks.tables` turns into the tables of
docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import growth
from benchmarks.cases import Case, clip_case, image_cases
from benchmarks.children import Child
from benchmarks.workload import make_clips, make_images

Rows = list[dict[str, Any]]


def main() -> None:
    args = _arguments()
    started = time.monotonic()
    sections = {
        "flux1": lambda folder: bench_images(folder, args),
        "wan2.1": lambda folder: bench_clips(folder, args),
        "growth": lambda folder: bench_growth(folder, args),
    }
    rows: Rows = []
    with tempfile.TemporaryDirectory(prefix="energon-prep-bench-") as folder:
        for name, bench in sections.items():
            if not args.only or name in args.only:
                rows += bench(Path(folder))
    about = {**machine(), "device": args.device, "seconds": round(time.monotonic() - started)}
    args.json.write_text(json.dumps({"machine": about, "rows": rows}, indent=2) + "\n")
    print(f"\n{about}\n-> {args.json}")


def bench_images(folder: Path, args: argparse.Namespace) -> Rows:
    source = folder / "images"
    make_images(source, num=args.images)
    return compare(image_cases(source, **_place(args)), args.images, args.rounds)


def bench_clips(folder: Path, args: argparse.Namespace) -> Rows:
    source = folder / "clips"
    make_clips(source, num=args.clips)
    return compare([clip_case(source, **_place(args))], args.clips, args.rounds)


def bench_growth(folder: Path, args: argparse.Namespace) -> Rows:
    """Each point by itself: they have nothing to be compared with but themselves."""
    nums = [args.samples // 10, args.samples, *([10 * args.samples] if args.full else [])]
    points = [
        *growth.with_samples(folder, nums),
        *growth.with_shards(folder, args.samples // 2),
        *growth.with_image_size(folder, 100),
        *growth.with_resolution(folder, 16),
        *growth.with_caption_length(folder, 128),
    ]
    rows: Rows = []
    for case, num in points:
        rounds = 1 if num > args.samples else args.rounds
        answers = take_turns({"encode": _way("encode", case)}, rounds)["encode"]
        rows.append(table_row("growth", case.name, "encode", num, answers))
    return rows


def compare(cases: list[Case], num: int, rounds: int) -> Rows:
    """The three ways of each case, in turns; then the stations of each, once: they only show which
    is slow.
    """
    # the same for all: it knows one way only
    ways = {(cases[0].name, "sequential"): _way("sequential", cases[0])}
    ways |= {(case.name, way): _way(way, case) for case in cases for way in ("ceiling", "encode")}
    answers = take_turns(ways, rounds)
    rows = [table_row("ways", case, way, num, of_way) for (case, way), of_way in answers.items()]
    rate = {(row["case"], row["way"]): row["rate"] for row in rows}
    for case in cases:
        encode = rate[case.name, "encode"]
        over, of = encode / rate[cases[0].name, "sequential"], encode / rate[case.name, "ceiling"]
        print(f"{case.name:<24} encode is {over:.2f} x sequential, {of:.2f} of ceiling")
    for case in cases:
        stations = take_turns({"stations": _way("stations", case)}, 1)["stations"]
        for name in stations[0]["stations"]:
            of_station = [{**answer, "seconds": answer["stations"][name]} for answer in stations]
            rows.append(table_row("stations", case.name, name, num, of_station))
    return rows


def take_turns(ways: Mapping[Any, tuple[str, ...]], rounds: int) -> dict[Any, list[dict[str, Any]]]:
    """What each way's process told of each round; they start, and then work, one at a time."""
    with contextlib.ExitStack() as stack:
        children = {way: stack.enter_context(Child(*command)) for way, command in ways.items()}
        answers: dict[Any, list[dict[str, Any]]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, child in children.items():
                answers[way].append(child.round())
    return answers


def table_row(
    table: str, case: str, way: str, num: int, answers: list[dict[str, Any]]
) -> dict[str, Any]:
    """Print and return a row: median samples/s, the slowest and the fastest round, the peak of
    memory.
    """
    rates = sorted(answer.get("samples", num) / answer["seconds"] for answer in answers)
    rate, last = statistics.median(rates), answers[-1]
    spread = f"({rates[0]:.2f} to {rates[-1]:.2f})"
    device = f" {last['device_peak_mib']:>7} MiB on the device" if "device_peak_mib" in last else ""
    print(
        f"{case:<24} {way:<11} {rate:>9.2f} samples/s {spread:>22} {last['peak_mib']:>7} "
        f"MiB{device}",
        flush=True,
    )
    return {
        "table": table,
        "case": case,
        "way": way,
        "samples": num,
        "rate": rate,
        "rates": rates,
        "answers": answers,
    }


def machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": models[0] if models else platform.processor(),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        **{
            name: importlib.metadata.version(name)
            for name in ("torch", "transformers", "diffusers")
        },
    }


def _way(way: str, case: Case) -> tuple[str, ...]:
    return ("benchmarks.ways", way, case.to_json())


def _place(args: argparse.Namespace) -> dict[str, str]:
    return {"dtype": args.dtype, "weights": args.weights, "device": args.device}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=["flux1", "wan2.1", "growth"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=128, help="of flux1")
    parser.add_argument("--clips", type=int, default=2, help="of wan2.1")
    parser.add_argument("--samples", type=int, default=10_000, help="without models")
    parser.add_argument("--full", action="store_true", help="ten times as many of these, too")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, one device")
    parser.add_argument("--weights", default="tiny", help="as encode's: tiny, random or a pipeline")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--json", type=Path, default=Path("bench.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
