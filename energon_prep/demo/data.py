"""A small raw dataset of simple scenes with captions that say what is in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from energon_prep.errors import PrepError

Color = tuple[int, int, int]

_SHAPES = ("circle", "square", "triangle")
_COLORS: dict[str, Color] = {
    "red": (214, 40, 40),
    "blue": (36, 84, 200),
    "yellow": (250, 214, 40),
    "purple": (124, 50, 160),
    "white": (248, 248, 244),
    "black": (20, 20, 24),
}
_RATES = (16, 24, 30)  # frames per second
_MOVES = {
    "left to right": (0, 1),
    "right to left": (0, -1),
    "top to bottom": (1, 0),
    "bottom to top": (-1, 0),
}
_CODECS = {
    "mp4": ("libx264", {"crf": "20"}),
    "webm": ("libvpx-vp9", {"crf": "24", "b:v": "0", "cpu-used": "8"}),
}
_SIZES = {"small": 0.45, "": 0.7, "large": 0.95}  # share of the room that a thing has


@dataclass(frozen=True, kw_only=True)
class _Sky:
    words: str
    top: Color
    bottom: Color
    hides: tuple[str, ...]  #: colors that would not stand out


_SKIES = {
    "day": _Sky(
        words="a pale blue daytime sky",
        top=(96, 160, 226),
        bottom=(206, 228, 244),
        hides=("blue", "white"),
    ),
    "dusk": _Sky(
        words="an orange evening sky",
        top=(226, 110, 60),
        bottom=(250, 196, 130),
        hides=("red", "yellow"),
    ),
    "night": _Sky(
        words="a dark night sky",
        top=(10, 12, 34),
        bottom=(44, 48, 84),
        hides=("blue", "black", "purple"),
    ),
}
_GROUNDS: dict[str, Color] = {
    "green field": (84, 152, 60),
    "yellow desert": (222, 190, 110),
    "gray road": (120, 120, 122),
    "white snowfield": (236, 240, 244),
}


@dataclass(frozen=True, kw_only=True)
class _Thing:
    color: str
    shape: str
    size: str
    center: tuple[float, float]  #: (y, x) in pixels
    radius: float


@dataclass(frozen=True, kw_only=True)
class _Scene:
    height: int
    width: int
    sky: str
    ground: str
    ground_percent: int  #: of the height
    things: tuple[_Thing, ...]  #: from left to right, in the sky, not overlapping


def make_raw_dataset(
    root: Path,
    *,
    num: int = 48,
    seed: int = 0,
    min_side: int = 200,
    max_side: int = 900,
    formats: Sequence[str] = ("jpg", "png", "webp"),
) -> None:
    """Write ``num`` images of mixed sizes to ``root``/{day,dusk,night}, the ``formats`` (suffixes)
    in turn.

    Beside each lies a .txt with its caption, 5 to 60 words, and beside every fourth a .json with
    metadata (``aesthetic_score``, ``license``). A sample depends on ``seed`` and its number alone,
    not on ``num``.
    """
    for suffix in formats:
        if f".{suffix}" not in Image.registered_extensions():
            raise PrepError(
                f"formats: Pillow writes no .{suffix} files: use suffixes such as jpg, png, webp"
            )
    for number in range(num):
        rng = np.random.default_rng((seed, number))
        height, width = (
            int(side) for side in rng.integers(min_side, max_side, size=2, endpoint=True)
        )
        scene = _draw_lots(rng, height, width)
        folder = root / scene.sky
        folder.mkdir(parents=True, exist_ok=True)
        suffix = formats[number % len(formats)]
        _paint(scene).save(folder / f"{number:05d}.{suffix}", quality=90)
        (folder / f"{number:05d}.txt").write_text(
            _caption(scene, detail=number % 4), encoding="utf-8"
        )
        if number % 4 == 0:
            metadata = {
                "aesthetic_score": round(float(rng.uniform(4.5, 7.0)), 2),
                "license": "CC0-1.0",
            }
            (folder / f"{number:05d}.json").write_text(
                json.dumps(metadata) + "\n", encoding="utf-8"
            )


def make_raw_videos(
    root: Path,
    *,
    num: int = 8,
    seed: int = 0,
    side: int = 256,
    seconds: float = 2.0,
    formats: Sequence[str] = ("mp4", "webm"),
) -> None:
    """Write ``num`` videos of one moving shape each to ``root``/{day,dusk,night}, the ``formats``
    (suffixes) in turn.

    They are H.264 in MP4 and VP9 in WebM, of about ``seconds`` at 16, 24 or 30 frames per second,
    wide or tall or square, the longer side ``side`` pixels. Beside each lies a .txt with its
    caption and a .json with ``aesthetic_score``, ``license`` and ``clip`` (start and end, in
    seconds, for the frame mode of that name). A sample depends on ``seed`` and its number alone,
    not on ``num``.
    """
    for suffix in formats:
        if suffix not in _CODECS:
            raise PrepError(
                f"formats: there is no demo video as .{suffix}: use {' or '.join(_CODECS)}"
            )
    for number in range(num):
        rng = np.random.default_rng((seed, number, 1))
        height, width = [(side, side), (side * 9 // 16, side), (side, side * 9 // 16)][number % 3]
        scene = _draw_lots(rng, height // 2 * 2, width // 2 * 2, num_things=1)
        direction = str(rng.choice(list(_MOVES)))
        rate = int(rng.choice(_RATES))
        num_frames = round(float(rng.uniform(0.8, 1.2)) * seconds * rate)
        stem = root / scene.sky / f"{number:05d}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        suffix = formats[number % len(formats)]
        _film(scene, direction, rate, num_frames, stem.with_suffix(f".{suffix}"))
        stem.with_suffix(".txt").write_text(
            _video_caption(scene, direction, detail=number % 3), encoding="utf-8"
        )
        end = num_frames / rate
        metadata = {
            "aesthetic_score": round(float(rng.uniform(4.5, 7.0)), 2),
            "license": "CC0-1.0",
            "clip": [round(0.25 * end, 3), round(0.75 * end, 3)],
        }
        stem.with_suffix(".json").write_text(json.dumps(metadata) + "\n", encoding="utf-8")


def _film(scene: _Scene, direction: str, rate: int, num_frames: int, path: Path) -> None:
    """The scene's thing crosses its sky at an even pace."""
    import av  # here, since images do without it

    codec, options = _CODECS[path.suffix[1:]]
    (thing,) = scene.things
    thing = replace(thing, radius=thing.radius / 2)  # so that there is room to move
    horizon = scene.height * (1 - scene.ground_percent / 100)
    down, across = _MOVES[direction]
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(
            codec, rate=rate, options={"threads": "1", "flags": "+bitexact", **options}
        )
        stream.height, stream.width, stream.pix_fmt = scene.height, scene.width, "yuv420p"
        for number in range(num_frames):
            way = 2 * number / max(num_frames - 1, 1) - 1  # from -1 to 1
            reach = (horizon / 2 - thing.radius, scene.width / 2 - thing.radius)
            center = (
                horizon / 2 + way * down * reach[0],
                scene.width / 2 + way * across * reach[1],
            )
            image = _paint(replace(scene, things=(replace(thing, center=center),)))
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode(None))


def _video_caption(scene: _Scene, direction: str, detail: int) -> str:
    """``detail`` 0: a few words; 1: a phrase; 2: with the sky."""
    (thing,) = scene.things
    if detail == 0:
        return f"{thing.color} {thing.shape} moving from {direction}"
    phrase = f"{_side_by_side(scene.things)} moves from {direction} over a {scene.ground}"
    return (
        phrase
        if detail == 1
        else f"{phrase}, under {_SKIES[scene.sky].words}. The camera stands still."
    )


def _draw_lots(
    rng: np.random.Generator, height: int, width: int, num_things: int | None = None
) -> _Scene:
    sky = str(rng.choice(list(_SKIES)))
    ground_percent = int(rng.choice([20, 25, 30, 40]))
    horizon = height * (1 - ground_percent / 100)
    colors = [color for color in _COLORS if color not in _SKIES[sky].hides]
    num_things = num_things or int(rng.integers(1, 4))
    room = min(width / num_things, horizon) / 2
    things = []
    for place, color in enumerate(rng.choice(colors, size=num_things, replace=False)):
        size = str(rng.choice(list(_SIZES)))
        radius = room * _SIZES[size]
        center = (float(rng.uniform(radius, horizon - radius)), width * (place + 0.5) / num_things)
        shape = str(rng.choice(_SHAPES))
        things.append(
            _Thing(color=str(color), shape=shape, size=size, center=center, radius=radius)
        )
    ground = str(rng.choice(list(_GROUNDS)))
    return _Scene(
        height=height,
        width=width,
        sky=sky,
        ground=ground,
        ground_percent=ground_percent,
        things=tuple(things),
    )


def _paint(scene: _Scene) -> Image.Image:
    num_ground = round(scene.height * scene.ground_percent / 100)
    sky, ground = _SKIES[scene.sky], np.array(_GROUNDS[scene.ground])
    rows = np.concatenate(
        [
            np.linspace(sky.top, sky.bottom, scene.height - num_ground),
            np.linspace(ground, ground * 0.7, num_ground),
        ]
    )  # [H, 3]
    image = Image.fromarray(np.repeat(rows.astype(np.uint8)[:, None], scene.width, axis=1))
    draw = ImageDraw.Draw(image)
    for thing in scene.things:
        (y, x), radius, fill = thing.center, thing.radius, _COLORS[thing.color]
        if thing.shape == "circle":
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
        elif thing.shape == "square":
            half = radius * 0.8
            draw.rectangle((x - half, y - half, x + half, y + half), fill=fill)
        else:
            draw.polygon(
                [(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)], fill=fill
            )
    return image


def _caption(scene: _Scene, detail: int) -> str:
    """``detail`` 0: a few words; 1: a phrase; 2: with the sky; 3: several sentences."""
    if detail == 0:
        names = " and ".join(f"{thing.color} {thing.shape}" for thing in scene.things)
        return f"{names} over {scene.ground}"
    phrase = f"{_side_by_side(scene.things)} over a {scene.ground}"
    if detail == 1:
        return phrase
    phrase += f", under {_SKIES[scene.sky].words}"
    if detail == 2:
        return phrase
    shape = "wider than tall" if scene.width > scene.height else "taller than wide"
    if scene.width == scene.height:
        shape = "square"
    count = {1: "There is one shape", 2: "There are two shapes", 3: "There are three shapes"}[
        len(scene.things)
    ]
    ground = scene.ground.rpartition(" ")[2]
    return (
        f"{phrase[0].upper()}{phrase[1:]}. {count} and nothing else in the sky. "
        f"The {ground} fills the lower {scene.ground_percent} percent of the picture, which "
        f"is {shape}."
    )


def _side_by_side(things: Sequence[_Thing]) -> str:
    names = [
        " ".join(["a", *filter(None, (thing.size, thing.color, thing.shape))]) for thing in things
    ]
    if len(names) < 3:
        return " left of ".join(names)
    return f"{names[0]}, {names[1]} and {names[2]} from left to right"
