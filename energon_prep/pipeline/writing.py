"""An encoded sample -> the target's parts, checked -> the shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from energon_prep.errors import SampleError
from energon_prep.pipeline.reading import to_reject
from energon_prep.pipeline.stations import Stations
from energon_prep.pipeline.tally import Counts
from energon_prep.samples import CAPTION_CUT, EncodedSample, Reject
from energon_prep.shards.writer import ShardWriter
from energon_prep.targets.base import ContractError, Target
from energon_prep.targets.serialize import serialize


def write_window(
    outcomes: Iterable[list[EncodedSample] | Reject], stations: Stations, writer: ShardWriter, counts: Counts
) -> None:
    """Write the encoded samples of a window in order, and note the rejects."""
    with stations.profile.station("write"):
        for outcome in outcomes:
            _write(outcome, stations.target, writer, counts)


def _write(outcome: list[EncodedSample] | Reject, target: Target, writer: ShardWriter, counts: Counts) -> None:
    """Lay the sample's clips out as the target wants them, check them, write them all; or note the reject."""
    if not isinstance(outcome, Reject):
        try:
            members = [(sample.info.clip, _parts(sample, target)) for sample in outcome]
        except SampleError as error:
            info = outcome[0].info
            outcome = to_reject(error, serial=info.serial, key=info.key, source=info.source)
        else:
            notes = _notes(outcome)
            writer.write(outcome[0].info.serial, members, notes=notes)
            counts.add_written(notes)
            return
    writer.reject(outcome)
    counts.add_reject(outcome)


def _notes(samples: Sequence[EncodedSample]) -> dict[str, int]:
    """What one raw sample's part in the account is, besides that it was written."""
    notes = Counter(note for sample in samples for note in sample.info.notes)
    notes[CAPTION_CUT] += any(text.truncated for sample in samples for text in sample.texts.values())
    return dict(+notes)


def _parts(sample: EncodedSample, target: Target) -> dict[str, bytes]:
    try:
        values = target.build(sample)
        target.check(values)
    except ContractError as error:
        raise SampleError("target", f"not what {target.name} reads", str(error)) from error
    return {**serialize(values), **sample.info.carried}
