"""One process on one device, which loads the models once and encodes the shards it is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterable
from typing import Any

from energon_prep.device.batch_sizes import BatchSizes, best_pixels, best_tokens, given_sizes
from energon_prep.device.devices import num_cpus
from energon_prep.device.threads import start_pool
from energon_prep.device.turns import Turns
from energon_prep.executors.base import Ready
from energon_prep.executors.job import Job, build_stations, load_encoders
from energon_prep.pipeline.decode import Ahead, decode_one
from energon_prep.pipeline.encode import encode_captions
from energon_prep.pipeline.line import encode_shards
from energon_prep.pipeline.read import number_samples
from energon_prep.pipeline.stations import Stations
from energon_prep.pipeline.tally import Counts, Profile
from energon_prep.plan.shards import Cut, ShardPlan, make_plan
from energon_prep.samples import Reject
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.storage import Storage
from energon_prep.targets.caption_files import caption_files

_AHEAD = 8  #: samples decoded in advance, for each decode worker
_IN_TURN = 32  #: where decoding and models take turns
_LOOKED_AT = 100  #: samples of which the first that can be decoded is used in trials


class Worker:
    """Loads the models when it is made; ``prepare`` comes before ``encode``."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._encoders = load_encoders(job)
        self._stations: Stations | None = None

    def describe(self) -> dict[str, Any]:
        """The encoders, for run.json."""
        return self._encoders.describe()

    def prepare(self, sizes: BatchSizes | None) -> Ready:
        """Settle the batch sizes, by trial if need be, and encode the empty caption."""
        job, encoders = self._job, self._encoders
        turns = (
            Turns([encoders.visual], encoders.texts, device=job.device) if job.phases else Turns()
        )
        stations = build_stations(
            job, encoders, sizes or given_sizes(job.recipe, job.device), turns
        )
        self._stations = stations
        if sizes is None and job.recipe.batch_size == "auto":
            stations = dataclasses.replace(stations, sizes=_find_sizes(stations))
        self._stations = stations
        turns.begin("text")
        texts = {
            text.name: encode_captions([""], text, encoder, stations)[""]
            for text, encoder in stations.texts
        }
        files = caption_files(stations.target, stations.target.build_text(texts))
        return Ready(encoders=self.describe(), sizes=stations.sizes, caption_files=files)

    def encode(
        self, shards: Iterable[ShardPlan], *, storage: Storage, counts: Counts
    ) -> Generator[LedgerEntry, None, None]:
        """Encode and publish each shard; closed, it comes to rest first."""
        assert self._stations is not None, "prepare comes first"
        workers = self._job.workers
        # A device of its own works while the pool decodes; the pool must have work while the texts
        # are encoded.
        on_cpu = self._job.device == "cpu"
        ahead = Ahead(
            least=_AHEAD * workers,
            most=_IN_TURN * workers if on_cpu else self._stations.window,
            num_bytes=self._stations.budget.num_bytes,
            in_turn=on_cpu and self._job.torch_threads >= num_cpus(),
        )
        pool = start_pool(workers, "decode")
        try:
            yield from encode_shards(
                shards,
                self._stations,
                storage=storage,
                pool=pool,
                ahead=ahead,
                counts=counts,
            )
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Let go of what it noted."""
        if self._stations is not None:
            self._stations.notes.close()

    @property
    def profile(self) -> Profile:
        return Profile() if self._stations is None else self._stations.profile


def _find_sizes(stations: Stations) -> BatchSizes:
    """By trial, with samples of the size that the source's first one has."""
    stations.turns.begin("text")
    tokens = {text.name: best_tokens(text, encoder) for text, encoder in stations.texts}
    stations.turns.begin("visual")
    cut = Cut(samples_per_shard=_LOOKED_AT, limit=_LOOKED_AT)
    first = next(make_plan(stations.source, cut), None)
    for serial, sample in number_samples(first, stations.source) if first is not None else ():
        outcome = decode_one(serial, sample, stations)
        if not isinstance(outcome, Reject):
            frames, height, width, _ = max(
                view.shape for clip in outcome for view in clip.pixels.values()
            )
            return BatchSizes(
                pixels=best_pixels(stations.visual, (frames, height, width)), tokens=tokens
            )
    # for samples that cannot be decoded, any will do
    return dataclasses.replace(stations.sizes, tokens=tokens)
