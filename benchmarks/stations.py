"""The stations of an encode one after the other, each by itself, to see which is slow."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from energon_prep.device.devices import num_cpus
from energon_prep.pipeline.encoding import add_texts, encode_pixels
from energon_prep.pipeline.reading import decode_one, number_samples
from energon_prep.pipeline.stations import Stations
from energon_prep.pipeline.tally import Tally
from energon_prep.pipeline.writing import write_window
from energon_prep.plan.shards import Cut, make_plan
from energon_prep.samples import PendingSample
from energon_prep.shards.writer import ShardWriter
from energon_prep.storage import LocalStorage

#: Serial numbers and samples that are encoded together.
Window = list[tuple[int, PendingSample]]


def make_windows(stations: Stations, num: int) -> list[Window]:
    """The first ``num`` samples in the windows that an encode works in."""
    shard = next(make_plan(stations.source, Cut(samples_per_shard=num)))
    samples = list(number_samples(shard, stations.source))
    return [samples[start : start + stations.window] for start in range(0, len(samples), stations.window)]


def time_stations(windows: list[Window], stations: Stations) -> dict[str, float]:
    """Seconds of each station for all windows. ``decode`` reads as well, since it works on what was read."""
    seconds = dict.fromkeys(("read", "decode", "visual", "text", "write"), 0.0)

    @contextmanager
    def timed(station: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds[station] += time.perf_counter() - started

    with tempfile.TemporaryDirectory() as dest, ThreadPoolExecutor(num_cpus()) as pool:
        for index, window in enumerate(windows):
            with timed("read"):
                for _, sample in window:
                    sample.load()
            with timed("decode"):
                outcomes = list(pool.map(lambda numbered: decode_one(*numbered, stations), window))
            with timed("visual"):
                latents = encode_pixels(outcomes, stations)
            with timed("text"):
                encoded = list(add_texts(latents, stations))
            with timed("write"), ShardWriter(LocalStorage(Path(dest)), index=index, num_planned=len(window)) as writer:
                write_window(encoded, stations, writer, Tally())
                writer.finish()
    return seconds
