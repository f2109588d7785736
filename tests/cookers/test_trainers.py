from __future__ import annotations

from typing import Any

import pytest
import torch

from cookers import LatentSample, all_cookers, trainer_cookers
from tests.task_encoders.trainers import IMAGE, serialized, stored

TARGETS = ("wan", "flux", "dit", "nemo-dit")


def matching(cookers: list[Any], subflavors: dict[str, Any]) -> Any:
    """As Energon chooses: the first that takes them."""
    return next(cooker for cooker in cookers if cooker.is_match(subflavors))


def cook(target: str, subflavors: dict[str, Any], parts: dict[str, Any]) -> LatentSample:
    base = {"__key__": "7", "__restore_key__": (7,), "__subflavors__": subflavors}
    cooked: LatentSample = matching(trainer_cookers(target), subflavors).cook(
        {**base, **serialized(parts)}
    )
    return cooked


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("subflavors", ["target", "generic", "none"])
def test_what_a_trainer_reads(target: str, subflavors: str) -> None:
    stored_as = "generic" if subflavors == "generic" else target
    chosen = {} if subflavors == "none" else {"target": stored_as}
    parts = stored(stored_as, 1, IMAGE)
    sample = cook(target, chosen, parts)
    assert sample.latent.shape == IMAGE
    assert sample.text.shape == (3, 8)
    assert (sample.pooled is None) == (stored_as not in ("flux", "generic"))


@pytest.mark.parametrize("target", TARGETS)
def test_another_target_is_refused(target: str) -> None:
    other = "wan" if target == "dit" else "dit"
    with pytest.raises(ValueError, match=f"says target: '{other}' in .* reads {target}, generic"):
        matching(trainer_cookers(target), {"target": other})


def test_energon_5_and_6_ask_with_a_sample() -> None:
    foreign = trainer_cookers("wan")[-1]
    assert foreign.is_match({"__key__": "7", "__subflavors__": {}})
    assert foreign.is_match({"__key__": "7", "__subflavors__": None})
    with pytest.raises(ValueError, match="says target: 'dit'"):
        foreign.is_match({"__key__": "7", "__subflavors__": {"target": "dit"}})


def test_flux_reads_primus_and_mlperf_too() -> None:
    for name in ("primus-flux", "mlperf-flux"):
        assert matching(trainer_cookers("flux"), {"target": name}).has_subflavors == {
            "target": name
        }
        assert matching(all_cookers(), {"target": name}).has_subflavors == {"target": name}
        with pytest.raises(ValueError, match="reads wan, generic;"):
            matching(trainer_cookers("wan"), {"target": name})


@pytest.mark.parametrize(
    ("target", "part", "batched", "taken"),
    [
        ("wan", "pth", True, False),
        ("wan", "pickle", True, False),
        ("nemo-dit", ".pth", True, False),
        ("nemo-dit", ".pickle", True, False),
        ("dit", "pth", True, True),  # whose trainer squeezes
        ("dit", "pickle", True, True),
        ("flux", "pth", True, False),
    ],
)
def test_a_target_is_held_to_its_contract(
    target: str, part: str, batched: bool, taken: bool
) -> None:
    parts = stored(target, 1, IMAGE)
    parts[part] = parts[part][None]
    if taken:
        assert cook(target, {"target": target}, parts).latent.shape == IMAGE
        return
    with pytest.raises(ValueError, match=rf"sample 7, part '{part}': .*shape \[1, "):
        cook(target, {"target": target}, parts)
    if target != "flux":
        # [1, 16, 4, 4] is no latent with a batch dimension, but a clip of one channel
        # a foreign dataset is read as it was meant
        assert cook(target, {}, parts).latent.shape == IMAGE


def test_padding_outputs_that_flux_needs_are_kept() -> None:
    parts = stored("flux", 1, IMAGE)
    parts["pickle"]["prompt_embeds"] = torch.cat(
        [parts["pickle"]["prompt_embeds"], torch.zeros(2, 8).bfloat16()]
    )
    assert len(cook("flux", {"target": "flux"}, parts).text) == 5
    assert len(cook("flux", {}, parts).text) == 3
