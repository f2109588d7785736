"""What a worker needs to encode any shard of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from energon_prep.decode.image import Take
from energon_prep.device.batch_sizes import BatchSizes
from energon_prep.device.budget import Budget, make_budget
from energon_prep.device.out_of_memory import Halving
from energon_prep.device.turns import Turns
from energon_prep.encoders.base import TextEncoder, VisualEncoder
from energon_prep.pipeline.suspects import Notes
from energon_prep.pipeline.tally import Profile
from energon_prep.recipes.model import Text
from energon_prep.samples import Frames, RawSample
from energon_prep.sources.base import Source
from energon_prep.targets.base import Target

#: Decodes a raw sample into its clips, each by resolution, and asks for the memory before.
Decode = Callable[[RawSample, Take], Sequence[Mapping[str, Frames]]]


@dataclass(frozen=True, kw_only=True)
class Stations:
    """What a worker needs to encode any shard of a run; built once per worker."""

    source: Source
    decode: Decode
    visual: VisualEncoder
    texts: Sequence[tuple[Text, TextEncoder]]  #: each encoder with its section of the recipe
    target: Target
    window: int  #: samples that are batched together and held in memory
    sizes: BatchSizes
    seed: int
    moments: bool = False  #: the latents are means and log-variances of posteriors
    carry: Sequence[str] = ()  #: originals to keep: "media", "caption"
    allow_unreadable: bool = False  #: windows of which no sample can be read
    budget: Budget = field(default_factory=make_budget)  #: of all threads that decode
    notes: Notes = field(default_factory=Notes)  #: of what is being decoded
    turns: Turns = field(default_factory=Turns)
    halving: Halving = field(default_factory=Halving)
    profile: Profile = field(default_factory=Profile)
