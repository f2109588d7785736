from __future__ import annotations

import io

import pytest
from PIL import Image

from energon_prep.errors import PrepError
from energon_prep.pipeline.carrying import (
    carried_caption,
    carried_media,
    check_carry,
    missing_parts,
)
from energon_prep.recipes.load import load_recipe
from energon_prep.samples import Media, RawSample
from energon_prep.targets import get_target


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def raw(name: str, content: bytes, parts: dict[str, bytes] | None = None) -> RawSample:
    media = Media.of(content)
    return RawSample(
        key="k", source="s", media_name=name, media=media, captions=("a cat",), parts=parts or {}
    )


@pytest.mark.parametrize("name", ["a.png", "a.pickle", "a.json", "a.pth", "a", "a.jpg"])
def test_media_are_named_by_their_content(name: str) -> None:
    assert carried_media(raw(name, png()), ("media",)) == {"png": png()}


def test_what_is_no_media_is_called_so() -> None:
    assert carried_media(raw("evil.pickle", b"cos\nsystem\n."), ("media", "caption")) == {
        "media": b"cos\nsystem\n."
    }
    assert carried_caption("a cat", ("media", "caption")) == {"txt": b"a cat"}


def test_further_parts_are_kept_by_name_and_noted_where_they_are_missing() -> None:
    sample = raw("a.png", png(), {"mask.png": b"mask"})
    carry = ("mask.png", "depth.npy")
    assert carried_media(sample, carry) == {"mask.png": b"mask"}
    assert missing_parts(sample, carry) == ("without the part depth.npy (--carry)",)


@pytest.mark.parametrize(
    ("carry", "target"),
    [
        (("mask.pth",), "dit"),
        (("mask.pickle",), "dit"),
        (("a.b.pkl",), "dit"),
        (("json",), "dit"),
        (("boxes.json",), "dit"),
        (("clip.bytes",), "mlperf-flux"),
        (("caption", "txt"), "dit"),
        (("media", "png"), "dit"),
    ],
)
def test_parts_that_could_be_run_or_mistaken_are_refused(
    carry: tuple[str, ...], target: str
) -> None:
    with pytest.raises(PrepError, match=f"--carry {carry[-1]}: "):
        check_carry(carry, get_target(target))
    check_carry(("media", "caption", "mask.png", "cls"), get_target(target))


@pytest.mark.parametrize(
    "name", ["../x.png", "Mask.png", "a b", "", ".png", "x/mask.png", "m\u00fcsk.png", "x" * 41]
)
def test_a_part_is_called_by_plain_characters(name: str) -> None:
    with pytest.raises(PrepError, match="carry"):
        load_recipe("dit", {"carry": [name]})


def test_the_name_of_every_target_s_parts_is_refused() -> None:
    for target in ("dit", "mlperf-flux", "primus-flux", "wan", "nemo-dit", "generic"):
        for part in get_target(target).part_names:
            with pytest.raises(PrepError):
                check_carry((part,), get_target(target))
