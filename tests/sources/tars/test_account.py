from __future__ import annotations

import functools
import io
import json
import random
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from energon_prep.samples import RawSample
from energon_prep.sources.account import Account
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tars.webdataset import WebDatasetSource
from tests.sources.reading import account_of, load_all, write, write_tar

SVG = ".svg (convert to PNG or MP4)"


def put(
    tar: tarfile.TarFile, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    tar.addfile(info, io.BytesIO(content))


MEDIA = [
    *("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "avif"),
    *("mp4", "mkv", "mov", "webm", "avi", "ts"),
]
TEXTS = ("txt", "caption", "json")
LOOSE = {
    "psd": ".psd (convert to PNG or MP4)",
    "pdf": ".pdf (convert to PNG or MP4)",
    "npy": ".npy",
    "md": ".md",
}


@dataclass
class Expected:
    """What the account should say of what was written."""

    num_samples: int = 0
    num_companions: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)


def put_one_of_all(
    tar: tarfile.TarFile, folder: int, number: int, rng: random.Random, expected: Expected
) -> None:
    """Of ten in a row five are media with their texts, well or broken; the others belong to no
    sample.
    """
    key, choice = f"{folder}/v1.{number:03d}", number % 10
    broken = rng.random() < 0.3
    if choice < 5:
        beside = rng.sample(TEXTS, rng.randrange(3))
        put(tar, f"{key}.{rng.choice(MEDIA)}", b"" if broken else tiny_png())
        for text in beside:
            put(tar, f"{key}.{text}", b"\xff{" if broken else b'{"caption": "c"}')
        expected.num_samples += 1
        expected.num_companions += len(beside)
    elif choice < 7:
        text = rng.choice(TEXTS)
        put(tar, f"{key}.{text}", b"c")
        expected.passed_over[f".{text} without media"] += 1
    elif choice == 7:
        suffix, kind = rng.choice(list(LOOSE.items()))
        put(tar, f"{key}.{suffix}", b"c")
        expected.passed_over[kind] += 1
    elif choice == 8:
        put(tar, f"{folder}/._v1.{number}.jpg" if broken else f"{folder}/README{number}", b"c")
        expected.passed_over["hidden" if broken else "without suffix"] += 1
    else:
        put(tar, f"{key}.d/", kind=tarfile.DIRTYPE)
        expected.passed_over["directories"] += 1


@functools.cache
def tiny_png() -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    return picture.getvalue()


def num_members(path: Path) -> int:
    with tarfile.open(path) as tar:
        return len(tar.getmembers())


def test_of_1000_mixed_members_each_is_a_sample_a_companion_or_passed_over(tmp_path: Path) -> None:
    rng, expected = random.Random(7), Expected()
    for folder in range(4):
        with tarfile.open(tmp_path / f"{folder}.tar", "w") as tar:
            for number in range(250):
                put_one_of_all(tar, folder, number, rng, expected)
    account = account_of(WebDatasetSource(root=tmp_path))
    assert account.num_found == sum(map(num_members, tmp_path.glob("*.tar"))) > 1000
    assert account.num_samples == expected.num_samples
    assert account.num_companions == expected.num_companions
    assert account.passed_over == expected.passed_over
    assert len(load_all(WebDatasetSource(root=tmp_path), cut=77)) == expected.num_samples


def test_media_that_are_not_read_are_told_with_the_remedy(tmp_path: Path) -> None:
    members = [
        ("0.svg", b"x"),
        ("0.mask.png", b"x"),
        ("0.txt", b"c"),
        ("1.svg", b"x"),
        ("1.jpg", b"x"),
    ]
    account = account_of(WebDatasetSource(root=write_tar(tmp_path / "a.tar", members)))
    assert account.num_samples == 1
    assert account.passed_over[SVG] == 1 and account.examples[SVG] == "a.tar/0.svg"
    assert account.passed_over[".txt without media"] == 1


def test_links_are_media_that_cannot_be_read_or_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        put(tar, "0.jpg", kind=tarfile.SYMTYPE)
        put(tar, "0.txt", b"c")
        put(tar, "1.txt", kind=tarfile.LNKTYPE)
        put(tar, "pipe", kind=tarfile.FIFOTYPE)
    source = WebDatasetSource(root=tmp_path / "a.tar")
    account = account_of(source)
    assert account.passed_over == {"links in a tar": 1, "devices in a tar": 1}
    (error,) = load_all(source)
    assert not isinstance(error, RawSample)
    assert error.reason == "a link in a tar is not followed" and "--dereference" in error.detail


def test_names_that_all_differ_do_not_fill_the_account(tmp_path: Path) -> None:
    members = [
        ("s.jpg", b"x"),
        ("s.txt", b"c"),
        *((f"s.part{i:04d}.npy", b"x") for i in range(300)),
    ]
    account = account_of(WebDatasetSource(root=write_tar(tmp_path / "a.tar", members)))
    assert len(" ".join(account.told)) < 500


def stats(**values: object) -> str:
    whole = {
        "count": 0,
        "successes": 0,
        "failed_to_download": 0,
        "failed_to_resize": 0,
        "status_dict": {},
    }
    return json.dumps({**whole, **values})


def test_rows_that_failed_in_img2dataset_are_told(tmp_path: Path) -> None:
    for number, failed in enumerate(
        ({"HTTP Error 404": 9, "success": 88}, {"timed out": 2, "HTTP Error 404": 1}, {})
    ):
        write_tar(tmp_path / f"{number:05d}.tar", [("0.jpg", b"x"), ("0.txt", b"c")])
        num = sum(value for name, value in failed.items() if name != "success")
        numbers = {"count": 100, "successes": 100 - num, "failed_to_download": num}
        write(tmp_path / f"{number:05d}_stats.json", stats(**numbers, status_dict=failed))
    told = "12 of 300 rows failed before, when img2dataset made these tars, and are not in them: "
    account = account_of(WebDatasetSource(root=tmp_path))
    assert account.told == [told + "10 x HTTP Error 404, 2 x timed out"]
    assert account.num_companions == 3 + 3
    braces = account_of(WebDatasetSource(root=tmp_path / "{00000..00002}.tar"))
    assert braces.told == account.told
    without_reasons = stats(count=5, successes=2, failed_to_download=1, failed_to_resize=2)
    write(tmp_path / "00000_stats.json", without_reasons)
    (alone,) = account_of(WebDatasetSource(root=tmp_path / "00000.tar")).told
    assert (
        alone.startswith("3 of 5 rows failed")
        and "2 x failed to resize, 1 x failed to download" in alone
    )


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"count": "9"}', stats(status_dict=[1]), stats(count=-1)]
)
def test_a_stats_file_that_says_nothing_is_told_and_no_error(tmp_path: Path, text: str) -> None:
    write_tar(tmp_path / "00000.tar", [("0.jpg", b"x"), ("0.txt", b"c")])
    write(tmp_path / "00000_stats.json", text)
    (told,) = account_of(WebDatasetSource(root=tmp_path)).told
    assert told.startswith("00000_stats.json cannot be read")


def test_a_listing_that_is_left_early_is_sorted_as_far_as_it_went(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [("x/", b""), *((f"{i}.jpg", b"x") for i in range(9))])
    account = Account()
    listing = WebDatasetSource(root=tmp_path, options=SourceOptions(caption_text="c")).list(account)
    next(listing)
    account.check()
