"""How long an index takes: from the ledger, beside Energon's own preparation of the same tars; and
how it grows.

    python -m benchmarks.index_speed                       20 tars x 5,000 samples x 3 parts; 1, 2
    and 4 million samples python -m benchmarks.index_speed --rounds 5 --json FILE
    python -m benchmarks.index_speed --tars 2 --samples 200 --millions 0.001,0.002

Both run in one process after their imports, in turn, each from the state in which encoding leaves
the dataset. The larger datasets have ledgers and no content: their tars are holes of the right
size.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from benchmarks.children import peak_memory
from energon_prep.indexing import index
from energon_prep.shards.ledger import LedgerEntry, record
from energon_prep.shards.rows import ShardRows
from energon_prep.shards.writer import ShardWriter
from energon_prep.storage import LocalStorage

PARTS = {"json": b"{}" * 200, "pickle": bytes(300), "pth": bytes(480)}
PER_SHARD = 10_000  #: samples of the datasets without content


def main() -> None:
    options = _parse()
    work = Path(tempfile.mkdtemp(prefix="index-speed-", dir=options.work))
    try:
        report = {
            "processors": os.cpu_count(),
            "compare": compare(work, options),
            "growth": grow(work, options),
        }
    finally:
        shutil.rmtree(work)
    _print(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def compare(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each round, and the ratios of the medians."""
    from megatron.energon import BaseWebdatasetFactory

    ours, theirs = work / "ours", work / "energon"
    write_dataset(ours, tars=options.tars, samples=options.samples)
    theirs.mkdir()
    tars = sorted(path.name for path in ours.glob("*.tar"))
    for tar in tars:
        os.link(ours / tar, theirs / tar)

    def prepare() -> None:
        ratio = [("train", 1.0), ("val", 0.0), ("test", 0.0)]
        with open(os.devnull, "w") as null, redirect_stdout(null):  # noqa: PTH123
            BaseWebdatasetFactory.prepare_dataset(
                theirs, tars, split_parts_ratio=ratio, shuffle_seed=None, workers=options.workers
            )

    ways: dict[str, tuple[Path, Callable[[], object]]] = {
        "energon prepare": (theirs, prepare),
        "index": (ours, lambda: index(ours)),
        "index --no-sqlite": (ours, lambda: index(ours, sqlite=False)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, (root, run) in ways.items():
            shutil.rmtree(root / ".nv-meta", ignore_errors=True)
            os.sync()
            started = time.perf_counter()
            run()
            seconds[name].append(round(time.perf_counter() - started, 4))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "tars": options.tars,
        "samples": options.tars * options.samples,
        "parts": options.tars * options.samples * len(PARTS),
        "workers": options.workers,
        "seconds": seconds,
        "medians": medians,
        "times_faster": {
            name: round(medians["energon prepare"] / median, 1) for name, median in medians.items()
        },
    }


def grow(work: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds and peak memory of one process each."""
    report = []
    for millions in options.millions:
        root = work / f"{millions}"
        write_holes(root, num_samples=round(millions * 1_000_000))
        for flag in ("--sqlite", "--no-sqlite"):
            shutil.rmtree(root / ".nv-meta", ignore_errors=True)
            command = [sys.executable, "-m", "benchmarks.index_speed", "--measure", str(root), flag]
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]
            )
            report.append(json.loads(done.stdout))
        shutil.rmtree(root)
    return report


def measure(root: Path, *, sqlite: bool) -> dict[str, Any]:
    """Index, and tell what it took of this process."""
    before = peak_memory()["peak_mib"]
    started, worked = time.perf_counter(), time.process_time()
    report = index(root, sqlite=sqlite)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked
    database = root / ".nv-meta" / "index.sqlite"
    return {
        "samples": report.samples,
        "rows": report.samples * (1 + len(PARTS)),
        "sqlite": sqlite,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "peak_mib": peak_memory()["peak_mib"],
        "imports_mib": before,
        "sqlite_mib": database.stat().st_size // 2**20 if sqlite else 0,
    }


def write_dataset(root: Path, *, tars: int, samples: int) -> None:
    """A dataset as ``encode`` leaves it."""
    storage = LocalStorage(root)
    for shard in range(tars):
        with ShardWriter(storage, index=shard, num_planned=samples) as writer:
            for i in range(samples):
                writer.write(shard * samples + i, [(None, PARTS)])
            writer.finish()
    _write_run(root)


def write_holes(root: Path, *, num_samples: int) -> None:
    """The same without content, as for tars of 25 KB a sample."""
    storage = LocalStorage(root)
    for shard, first in enumerate(range(0, num_samples, PER_SHARD)):
        rows, name = ShardRows(), f"shard_{shard:06d}.tar"
        for i in range(first, min(first + PER_SHARD, num_samples)):
            start = (i - first) * 25_600
            parts = [
                ("json", start + 512, 700),
                ("pickle", start + 2048, 8000),
                ("pth", start + 10752, 14800),
            ]
            rows.add(f"samples/sample_{i:09d}", start, parts)
        rows.end = len(rows.keys) * 25_600
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with (root / name).open("wb") as tar:
            tar.truncate(rows.end + 1024)
        entry = LedgerEntry(
            index=shard,
            shard=name,
            num_planned=len(rows.keys),
            num_written=len(rows.keys),
            num_samples=len(rows.keys),
            num_rejected=0,
            num_parts=rows.num_parts,
            bytes=rows.end + 1024,
            sha256=f"{shard:064x}",
            mtime_ns=None,
            rows_bytes=0,
            rejects={},
        )
        record(storage, entry, rows, [])
    _write_run(root)


def _write_run(root: Path) -> None:
    run = {"schema": 1, "target": {"name": "dit", "subflavors": {"target": "dit"}}}
    (root / ".energon-prep" / "run.json").write_text(json.dumps(run))


def _print(report: dict[str, Any]) -> None:
    compared = report["compare"]
    print(
        f"{compared['tars']} tars, {compared['samples']:,} samples, {compared['parts']:,} "
        "parts; medians"
    )
    for name, median in compared["medians"].items():
        rounds = ", ".join(f"{seconds:.3f}" for seconds in compared["seconds"][name])
        print(
            f"  {name:<18} {median:>8.3f} s  {compared['times_faster'][name]:>7.1f} x   ({rounds})"
        )
    print(
        "growth: samples, rows of index.sqlite, seconds (of the CPU), samples/s, peak memory "
        "(imports), index.sqlite"
    )
    for row in report["growth"]:
        size = f"{row['sqlite_mib']:,} MiB" if row["sqlite"] else "left out"
        rate = row["samples"] / row["seconds"]
        memory = f"{row['peak_mib']:>5} MiB ({row['imports_mib']})"
        seconds = f"{row['seconds']:>8.2f} s ({row['cpu_seconds']:.2f})"
        print(
            f"  {row['samples']:>10,} {row['rows']:>11,} {seconds} {rate:>10,.0f}/s {memory}  "
            f"{size}"
        )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--tars", type=int, default=20)
    parser.add_argument("--samples", type=int, default=5_000, help="in each tar")
    parser.add_argument("--workers", type=int, default=2, help="of Energon's preparation")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--millions", type=lambda text: list(map(float, text.split(","))), default=[1.0, 2.0, 4.0]
    )
    parser.add_argument(
        "--work",
        type=Path,
        help="folder for the datasets; by default the system's for temporary files",
    )
    parser.add_argument("--json", type=Path, help="also write the report here")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--sqlite", action=argparse.BooleanOptionalAction, default=True, help=argparse.SUPPRESS
    )
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _parse()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, sqlite=arguments.sqlite)))
    else:
        main()
