from __future__ import annotations

import random
from pathlib import Path

import pytest

from energon_prep.errors import PrepError
from energon_prep.samples import RawSample
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tars.groups import MOST_DECIDING
from energon_prep.sources.tars.webdataset import WebDatasetSource
from tests.sources.reading import account_of, fault, load_all, only, write_tar


def source_of(tmp_path: Path, names: str, **options: object) -> WebDatasetSource:
    """A tar whose members hold their own names."""
    tar = write_tar(tmp_path / "a.tar", [(name, name.encode()) for name in names.split()])
    return WebDatasetSource(root=tar, options=SourceOptions(**options))  # type: ignore[arg-type]


def samples_of(source: WebDatasetSource) -> list[tuple[str, str, str]]:
    """Key, medium and caption of each; the same however the plan cuts the tar."""
    found = [
        [
            (raw.key, bytes(raw.media).decode(), raw.caption)  # type: ignore[call-overload]
            if isinstance(raw, RawSample)
            else ("", "", raw.reason.partition(" (")[0])
            for raw in load_all(source, cut=cut)
        ]
        for cut in (1, 2, 1000)
    ]
    assert found[0] == found[1] == found[2]
    return found[0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("s0.jpg s0.mask.png s0.txt", [("s0", "s0.jpg", "s0.txt")]),
        ("s0.depth.png s0.jpg s0.mask.png s0.txt", [("s0", "s0.jpg", "s0.txt")]),
        ("s0.input.jpg s0.outputs.txt", [("s0", "s0.input.jpg", "s0.outputs.txt")]),
        (
            "v1.5_a.jpg v1.5_a.txt v1.5_b.jpg v1.5_b.txt",
            [("v1.5_a", "v1.5_a.jpg", "v1.5_a.txt"), ("v1.5_b", "v1.5_b.jpg", "v1.5_b.txt")],
        ),
        ("v1.5_a.jpg v1.5_a.txt", [("v1.5_a", "v1.5_a.jpg", "v1.5_a.txt")]),
        (
            "v1.5.jpg v1.5.txt v1.jpg v1.txt",
            [("v1.5", "v1.5.jpg", "v1.5.txt"), ("v1", "v1.jpg", "v1.txt")],
        ),
        (
            "2023.01.jpg 2023.01.txt 2023.02.jpg",
            [("2023.01", "2023.01.jpg", "2023.01.txt"), ("", "", "no caption")],
        ),
        (
            "a.jpg a.jpg.txt b.c.png b.c.png.txt",
            [("a", "a.jpg", "a.jpg.txt"), ("b.c", "b.c.png", "b.c.png.txt")],
        ),
        ("d.x/s0.jpg d.x/s0.mask.png d.x/s0.txt", [("d.x/s0", "d.x/s0.jpg", "d.x/s0.txt")]),
        ("s0.jpg s0.caption", [("s0", "s0.jpg", "s0.caption")]),
        ("s0.JPG s0.Mask.PNG s0.TXT", [("s0", "s0.JPG", "s0.TXT")]),
        ("x.y.jpg x.y.txt x.z.txt", [("x", "x.y.jpg", "x.y.txt")]),
    ],
)
def test_names_are_cut_where_each_group_is_one_sample(
    tmp_path: Path, names: str, expected: list[tuple[str, str, str]]
) -> None:
    assert samples_of(source_of(tmp_path, names)) == expected


@pytest.mark.parametrize(
    ("names", "options", "expected"),
    [
        (
            "s0.input.jpg s0.outputs.txt",
            {"media_key": "input.jpg", "caption_keys": ("outputs.txt",)},
            "s0",
        ),
        (
            "v1.5_a.input.jpg v1.5_a.outputs.txt",
            {"media_key": "input.jpg", "caption_keys": ("outputs.txt",)},
            "v1.5_a",
        ),
        ("v1.5_a.input.jpg v1.5_a.target.jpg v1.5_a.txt", {"media_key": ".Input.JPG"}, "v1.5_a"),
        ("v1.5_a.input.jpg v1.5_a.input.jpg.txt", {"media_key": "input.jpg"}, "v1.5_a"),
    ],
)
def test_keys_with_dots_match_as_suffixes(
    tmp_path: Path, names: str, options: dict[str, object], expected: str
) -> None:
    ((key, medium, _),) = samples_of(source_of(tmp_path, names, **options))
    assert key == expected and medium.endswith("input.jpg")


def test_a_key_that_another_key_begins_with_does_not_take_its_parts(tmp_path: Path) -> None:
    names = "v1.input.jpg v1.x.npy v1.5_a.input.jpg v1.5_a.txt"
    source = source_of(tmp_path, names, media_key="input.jpg", caption_text="c")
    assert [key for key, _, _ in samples_of(source)] == ["v1", "v1.5_a"]


def test_of_several_media_with_dots_none_is_guessed(tmp_path: Path) -> None:
    names = "s0.input.jpg s0.target.jpg s0.txt"
    error = fault(source_of(tmp_path, names))
    assert (error.reason, error.detail) == (
        "several media in the sample (give --image-key)",
        "input.jpg target.jpg",
    )
    assert only(source_of(tmp_path, names, media_key="target.jpg")).media == b"s0.target.jpg"


def test_one_odd_sample_does_not_change_how_a_tar_is_cut(tmp_path: Path) -> None:
    masked = " ".join(f"s{i}.jpg s{i}.mask.png s{i}.txt" for i in range(3))
    without_caption = source_of(tmp_path, f"a.jpg a.mask.png {masked}", allow_empty_captions=True)
    assert [key for key, _, _ in samples_of(without_caption)] == ["a", "s0", "s1", "s2"]
    versions = " ".join(f"v{j}.{i}.jpg v{j}.{i}.txt" for j in range(3) for i in range(3))
    assert len(samples_of(source_of(tmp_path, f"{versions} s.jpg s.mask.png s.txt"))) == 9 + 2


def test_without_captions_names_are_cut_at_the_last_dot(tmp_path: Path) -> None:
    source = source_of(tmp_path, "a.1.jpg a.2.jpg a.3.jpg", caption_from_name=True)
    assert samples_of(source) == [(f"a.{i}", f"a.{i}.jpg", f"a.{i}") for i in (1, 2, 3)]


def test_the_beginning_of_a_long_tar_decides(tmp_path: Path) -> None:
    first = [
        f"s{i}.{part}" for i in range(MOST_DECIDING // 3 + 1) for part in ("jpg", "mask.png", "txt")
    ]
    later = [f"v1.{i}.{part}" for i in range(MOST_DECIDING) for part in ("jpg", "txt")]
    account = account_of(source_of(tmp_path, " ".join(first + later)))
    # groups of one key are cut after 1000 parts
    assert account.num_samples == MOST_DECIDING // 3 + 1 + 2


def test_further_media_and_texts_are_told(tmp_path: Path) -> None:
    names = "s0.jpg s0.mask.png s0.cls s0.txt s1.jpg s1.mask.png s1.long.txt s1.short.txt"
    account = account_of(source_of(tmp_path, names))
    assert account.told == [
        "samples with several captions (long.txt short.txt), of which the first is taken "
        "(--caption-key): 1",
        "further parts of samples are left out: 2 x mask.png, 1 x cls (--carry NAME keeps them)",
    ]


def test_parts_that_are_asked_for_come_with_the_sample(tmp_path: Path) -> None:
    names = "s0.jpg s0.mask.png s0.txt v1.5_a.jpg v1.5_a.mask.png v1.5_a.txt s2.jpg s2.txt"
    source = source_of(tmp_path, names, carry_parts=("mask.png",))
    assert [raw.parts if isinstance(raw, RawSample) else raw for raw in load_all(source)] == [
        {"mask.png": b"s0.mask.png"},
        {"mask.png": b"v1.5_a.mask.png"},
        {},
    ]
    with pytest.raises(
        PrepError, match=r"--carry depth\.png: no sample has .*; there are 1 x mask\.png"
    ):
        account_of(source_of(tmp_path, "s0.jpg s0.mask.png s0.txt", carry_parts=("depth.png",)))


def test_a_json_with_a_dotted_name_is_metadata(tmp_path: Path) -> None:
    members = [
        ("s0.jpg", b"x"),
        ("s0.boxes.json", b"[1]"),
        ("s0.mask.png", b"x"),
        ("s0.txt", b"beside"),
    ]
    sample = only(WebDatasetSource(root=write_tar(tmp_path / "a.tar", members)))
    assert (sample.caption, sample.metadata) == ("beside", {"json": [1]})
    members = [("s0.input.jpg", b"x"), ("s0.meta.json", b'{"caption": "c"}')]
    assert only(WebDatasetSource(root=write_tar(tmp_path / "b.tar", members))).caption == "c"


def test_an_empty_caption_gives_way_to_the_next(tmp_path: Path) -> None:
    members = [("s0.jpg", b"x"), ("s0.jpg.txt", b"next"), ("s0.txt", b" ")]
    assert only(WebDatasetSource(root=write_tar(tmp_path / "a.tar", members))).caption == "next"


def test_any_names_are_sorted_and_read_as_they_were_listed(tmp_path: Path) -> None:
    rng = random.Random(0)
    for _ in range(60):
        bases = [rng.choice(("a", "b", "v1.5", "v1.6", "c.d")) for _ in range(rng.randrange(1, 12))]
        parts = ("jpg", "txt", "mask.png", "json", "jpg.txt", "npy", "input.jpg", "heic")
        names = [
            f"{base}.{part}" for base in bases for part in rng.sample(parts, rng.randrange(1, 4))
        ]
        source = source_of(tmp_path, " ".join(names), caption_text="c")
        try:
            account = account_of(source)
        except PrepError as error:
            assert "no samples in" in str(error)
            continue
        assert account.num_found == len(names)
        samples_of(source)
