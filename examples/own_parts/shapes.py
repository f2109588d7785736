"""A source that makes its samples: squares of one colour on a ground of another."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial

from PIL import Image, ImageColor

from energon_prep.samples import Media, PendingSample, RawSample
from energon_prep.sources.account import Account
from energon_prep.sources.base import Entry, Piece
from energon_prep.sources.options import SourceOptions

COLOURS = ("red", "green", "blue", "gold", "black")


class Shapes:
    """As many samples as SRC says: ``--source-kind own_parts.shapes:Shapes 24``."""

    def __init__(self, *, root: str, options: SourceOptions) -> None:
        self.num = int(root)

    def list(self, account: Account) -> Iterator[Entry]:
        """Every sample, in the same order each time; ``size`` shows that a source was changed."""
        for number in range(self.num):
            yield Entry("shapes", number, self.num)

    def read(self, piece: Piece) -> Iterator[PendingSample]:
        """Those of a piece of the plan; what costs time is left to ``load``."""
        for number in range(piece.start, piece.start + piece.count):
            load = partial(make, number)
            yield PendingSample(key=f"shape {number}", source=piece.path, load=load)


def make(number: int) -> RawSample:
    colour, ground = COLOURS[number % 5], COLOURS[(number // 5 + number + 1) % 5]
    image = Image.new("RGB", (80, 64), ground)
    image.paste(ImageColor.getrgb(colour), (number % 40, 8, number % 40 + 32, 40))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return RawSample(
        key=f"shape {number}",
        source="shapes",
        media_name=f"{number}.png",
        media=Media.of(buffer.getvalue()),
        captions=(f"a {colour} square on {ground}",),
    )
