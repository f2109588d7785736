"""CPU milliseconds that a sample costs Energon's loader, by who decodes and encodes it.

    python -m benchmarks.loading [flux wan dit] [--against CHECKOUT] [--rounds 5]

    bytes    read from the tars, nothing decoded
    default  Energon's own decoding, which runs what a pickle asks for
    cookers  ours, which do not
    latent   and LatentTaskEncoder
    trainer  or FluxTaskEncoder, WanTaskEncoder (packs of 70,000 tokens), DiTTaskEncoder (8,192)

The parts are as large as in training: flux 4.7 MB (1024x1024, text of 512 tokens), wan 4.7 to 8.4
MB (81 frames of 480x832, text of 60 to 512), dit 0.2 MB (512x512, text of 40). Each way has a
process of its own, which reads the dataset twice before anything counts; the ways take turns. It is
CPU time of the one process that reads, and so hardly depends on what else the machine does.
``--against`` measures ``cookers`` and ``task_encoders`` of another checkout in the same turns.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from megatron.energon import (
    Cooker,
    SampleDecoder,
    TaskEncoder,
    WorkerConfig,
    basic_sample_keys,
    get_loader,
    get_train_dataset,
    stateless,
)

import energon_prep
from benchmarks.children import Round, serve
from benchmarks.tables import markdown_table
from benchmarks.throughput import machine, take_turns
from energon_prep.targets.serialize import serialize

WAYS = ("bytes", "default", "cookers", "latent", "trainer")
#: Samples, batch size and packing buffer.
SIZES = {"flux": (60, 4, None), "wan": (60, 1, 8), "dit": (600, 8, 32)}


def main() -> None:
    args = _arguments()
    print(json.dumps(machine()))
    print()
    with tempfile.TemporaryDirectory(prefix="energon-prep-bench-") as folder:
        for line in markdown_table(["ms a sample", *WAYS], rows(Path(folder), args)):
            print(line, flush=True)


def rows(folder: Path, args: argparse.Namespace) -> Iterator[list[str]]:
    for kind in args.kinds:
        make_dataset(kind, folder / kind, SIZES[kind][0])
        yield from measure(kind, folder / kind, args)


def measure(kind: str, dataset: Path, args: argparse.Namespace) -> Iterator[list[str]]:
    """A row for this checkout, and one for the other."""
    checkouts = {"": Path(__file__).parents[1]}
    if args.against:
        checkouts = {", before": args.against, **checkouts}
    ways = {
        (name, way): ("benchmarks.loading", "--child", kind, way, str(dataset), str(checkout))
        for way in WAYS
        for name, checkout in checkouts.items()
    }
    answers = take_turns(ways, args.rounds)
    for name in checkouts:
        cells = []
        for way in WAYS:
            told = sorted(answer["milliseconds"] for answer in answers[name, way])
            cells.append(f"{statistics.median(told):.2f} ({told[0]:.2f} to {told[-1]:.2f})")
        yield [f"{kind}{name}", *cells]


def make_dataset(kind: str, dataset: Path, num: int) -> None:
    """Of random numbers."""
    parts = (make_parts(kind, serial) for serial in range(num))
    write_dataset(dataset, parts, subflavor={"target": kind})


def write_dataset(
    dataset: Path, samples: Iterable[dict[str, Any]], *, subflavor: dict[str, str]
) -> None:
    """In one tar, with its index."""
    dataset.mkdir(parents=True)
    with tarfile.open(dataset / "shard_000000.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for serial, parts in enumerate(samples):
            for name, data in serialize(parts).items():
                member = tarfile.TarInfo(f"{serial:09d}.{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    energon_prep.index(dataset, split="1,0,0", subflavor=subflavor)


def make_parts(kind: str, serial: int) -> dict[str, Any]:
    """The parts of one sample."""
    generator = torch.Generator().manual_seed(serial)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).bfloat16()

    info: dict[str, Any] = {"key": f"{serial:09d}"}
    if kind == "flux":
        text = {"prompt_embeds": numbers(512, 4096), "pooled_prompt_embeds": numbers(768)}
        return {"json": info, "pickle": text, "pth": numbers(16, 128, 128)}
    if kind == "wan":
        text_length = 60 + serial * 37 % 453
        return {"json": info, "pickle": numbers(text_length, 4096), "pth": numbers(16, 21, 60, 104)}
    return {"json": info, "pickle": numbers(40, 1024), "pth": numbers(16, 1, 64, 64)}


def load(kind: str, way: str, dataset: Path, num: int) -> Round:
    """About as many samples as an epoch has, one epoch going over into the next, in one process and
    one thread, as torch's DataLoader has its workers.
    """
    _, batch_size, packing_buffer_size = SIZES[kind]
    packs = way == "trainer" and packing_buffer_size is not None
    samples = get_train_dataset(
        dataset,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
        task_encoder=make_encoder(kind, way),
        batch_size=1 if packs else batch_size,
        packing_buffer_size=packing_buffer_size if packs else None,
        shuffle_buffer_size=None,
        max_samples_per_sequence=None,
    )
    torch.set_num_threads(1)
    batches = iter(get_loader(samples))

    def do_round() -> dict[str, Any]:
        started, found = time.process_time(), 0
        while found < num:
            found += num_samples(next(batches))
        seconds = time.process_time() - started
        return {"seconds": seconds, "milliseconds": 1000 * seconds / found}

    for _ in range(2):
        do_round()
    return do_round


def make_encoder(kind: str, way: str) -> Any:
    """Our packages are imported here, so that it can be those of another checkout."""
    from cookers import latent_cooker
    from task_encoders import DiTTaskEncoder, FluxTaskEncoder, LatentTaskEncoder, WanTaskEncoder

    if way == "latent":
        return LatentTaskEncoder()
    if way == "trainer":
        makes: dict[str, Callable[[], Any]] = {
            "flux": FluxTaskEncoder,
            "wan": lambda: WanTaskEncoder(seq_length=70_000),
            "dit": lambda: DiTTaskEncoder(seq_length=8192),
        }
        return makes[kind]()
    return counting_encoder(
        latent_cooker if way == "cookers" else Cooker(keep_parts),
        SampleDecoder() if way == "default" else None,
    )


@stateless  # type: ignore[untyped-decorator]
def keep_parts(sample: dict[str, Any]) -> dict[str, Any]:
    parts = {name: value for name, value in sample.items() if not name.startswith("__")}
    return {**basic_sample_keys(sample), **parts}


def counting_encoder(cooker: Any, sample_decoder: Any) -> Any:
    """One whose batches are the numbers of their samples: nothing is encoded or stacked."""

    class CountingEncoder(TaskEncoder):  # type: ignore[misc]
        cookers = (cooker,)
        decoder = sample_decoder

        @stateless  # type: ignore[untyped-decorator]
        def batch(self, samples: list[Any]) -> int:
            return len(samples)

    return CountingEncoder()


def num_samples(batch: Any) -> int:
    if isinstance(batch, int):
        return batch
    if isinstance(batch, dict):
        return len(batch["seq_len_q"])
    return len(batch.latents)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", default=list(SIZES), help="flux, wan or dit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another checkout of this repository")
    return parser.parse_args()


def _child(kind: str, way: str, dataset: str, checkout: str) -> None:
    sys.path.insert(0, checkout)
    logging.disable(logging.CRITICAL)
    serve(lambda: load(kind, way, Path(dataset), SIZES[kind][0]))


if __name__ == "__main__":
    if "--child" in sys.argv:
        _child(*sys.argv[2:])
    else:
        main()
