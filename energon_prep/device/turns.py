"""Where the encoders do not fit on the device together, they take turns there."""

from __future__ import annotations

from collections.abc import Sequence

from energon_prep.device.out_of_memory import free_memory
from energon_prep.encoders.base import TextEncoder, VisualEncoder

#: Bytes of latents that are kept while the visual encoder is on the device, before its turn ends.
GROUP_BYTES = 2 * 2**30

_Party = Sequence[VisualEncoder | TextEncoder]


class Turns:
    """Puts the encoders whose turn it is on the device, and the others into the computer's memory.

    Without encoders, all are on the device all the time.
    """

    def __init__(self, visual: _Party = (), texts: _Party = (), *, device: str = "cpu") -> None:
        self._parties = {"visual": visual, "text": texts}
        self._device = device
        self._on = ""

    @property
    def taken(self) -> bool:
        """Whether there are turns."""
        return any(self._parties.values())

    def begin(self, turn: str) -> None:
        """``turn``: "visual" or "text"."""
        if self._on == turn or not self.taken:
            return
        for name, party in self._parties.items():
            if name != turn:
                for encoder in party:
                    encoder.move_to("cpu")
        free_memory()
        for encoder in self._parties[turn]:
            encoder.move_to(self._device)
        self._on = turn
