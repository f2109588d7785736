"""The stations of an encode one after the other, each by itself, to see which is slow."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from energon_prep.device.devices import num_cpus
from energon_prep.pipeline.decode import decode_one
from energon_prep.pipeline.encode import encode_pixels, encode_texts
from energon_prep.pipeline.read import read
from energon_prep.pipeline.stations import Stations
from energon_prep.pipeline.tally import Tally
from energon_prep.pipeline.window import DecodedWindow
from energon_prep.pipeline.write import write_window
from energon_prep.plan.shards import Cut, ShardPlan, make_plan
from energon_prep.samples import PendingSample
from energon_prep.shards.writer import ShardWriter
from energon_prep.storage import LocalStorage

#: Serial numbers and samples that are encoded together, with their shard.
Window = tuple[ShardPlan, list[tuple[int, PendingSample]]]


def make_windows(stations: Stations, num: int) -> list[Window]:
    """The first ``num`` samples in the windows that an encode works in."""
    shard = next(make_plan(stations.source, Cut(samples_per_shard=num)))
    windows = read([shard], stations.source, window=stations.window)
    return [(window.shard, list(window.samples)) for window in windows]


def time_stations(windows: list[Window], stations: Stations) -> dict[str, float]:
    """Seconds of each station for all windows. ``decode`` reads as well, since it works on what was
    read.
    """
    seconds = dict.fromkeys(("read", "decode", "visual", "text", "write"), 0.0)

    @contextmanager
    def timed(station: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds[station] += time.perf_counter() - started

    with tempfile.TemporaryDirectory() as dest, ThreadPoolExecutor(num_cpus()) as pool:
        for index, (shard, window) in enumerate(windows):
            with timed("read"):
                for _, sample in window:
                    sample.load()
            with timed("decode"):
                outcomes = list(pool.map(lambda numbered: decode_one(*numbered, stations), window))
            with timed("visual"):
                decoded = DecodedWindow(shard=shard, is_last=True, outcomes=iter(outcomes))
                (latents,) = encode_pixels([decoded], stations, Tally())
            with timed("text"):
                (encoded,) = encode_texts([latents], stations, Tally())
            with (
                timed("write"),
                ShardWriter(
                    LocalStorage(Path(dest)), index=index, num_planned=len(window)
                ) as writer,
            ):
                write_window(encoded.outcomes, stations, writer, Tally())
                writer.finish()
    return seconds
