from __future__ import annotations

from pathlib import Path

import pytest
import torch

from energon_prep.device.turns import Turns
from energon_prep.pipeline import encode
from tests.fakes import HashText, MeanVisual, Numbers
from tests.pipeline.test_line import TEXT, run, stations
from tests.runs import tar_digests


class Diary:
    """Where each encoder was when it worked; "gpu" has room for one of them."""

    def __init__(self) -> None:
        self.on = {"visual": "cpu", "text": "gpu"}
        self.turns: list[str] = []

    def moved(self, name: str, device: torch.device | str) -> None:
        self.on[name] = str(device)
        assert list(self.on.values()).count("gpu") <= 1, "both are on the device"

    def works(self, name: str) -> None:
        assert self.on[name] == "gpu", f"{name} works where it waits"
        if self.turns[-1:] != [name]:
            self.turns.append(name)


class Visual(MeanVisual):
    def __init__(self, diary: Diary) -> None:
        super().__init__()
        self._diary = diary

    def encode(self, *args: object) -> torch.Tensor:
        self._diary.works("visual")
        return super().encode(*args)  # type: ignore[arg-type]

    def move_to(self, device: torch.device | str) -> None:
        self._diary.moved("visual", device)


class Texts(HashText):
    def __init__(self, diary: Diary) -> None:
        super().__init__(max_tokens=TEXT.max_tokens)
        self._diary = diary

    def encode(self, *args: object) -> list[object]:  # type: ignore[override]
        self._diary.works("text")
        return super().encode(*args)  # type: ignore[arg-type, return-value]

    def move_to(self, device: torch.device | str) -> None:
        self._diary.moved("text", device)


@pytest.mark.parametrize(("group_bytes", "turns"), [(2**30, 1), (20_000, 4)])
def test_encoders_take_turns_and_the_bytes_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_bytes: int, turns: int
) -> None:
    run(tmp_path / "together", stations(Numbers(50)))
    monkeypatch.setattr(encode, "GROUP_BYTES", group_bytes)
    diary = Diary()
    visual, text = Visual(diary), Texts(diary)
    line = stations(
        Numbers(50),
        visual=visual,
        texts=((TEXT, text),),
        turns=Turns([visual], [text], device="gpu"),
    )
    run(tmp_path / "turns", line)
    assert diary.turns == ["visual", "text"] * turns
    assert tar_digests(tmp_path / "turns") == tar_digests(tmp_path / "together")
