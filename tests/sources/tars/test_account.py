from __future__ import annotations

import io
import json
import random
import tarfile
from collections import Counter
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


def test_of_1000_mixed_members_each_is_a_sample_a_companion_or_passed_over(tmp_path: Path) -> None:
    rng = random.Random(7)
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    good = picture.getvalue()
    num_samples = num_companions = 0
    passed_over: Counter[str] = Counter()
    media = (
        "jpg",
        "jpeg",
        "png",
        "webp",
        "gif",
        "bmp",
        "tif",
        "avif",
        "mp4",
        "mkv",
        "mov",
        "webm",
        "avi",
        "ts",
    )
    texts = ("txt", "caption", "json")
    loose = {
        "psd": ".psd (convert to PNG or MP4)",
        "pdf": ".pdf (convert to PNG or MP4)",
        "npy": ".npy",
        "md": ".md",
    }
    for number in range(4):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as tar:
            for i in range(250):
                key, choice = f"{number}/v1.{i:03d}", i % 10
                broken = rng.random() < 0.3
                if choice < 5:  # a medium and its texts, well or broken
                    beside = rng.sample(texts, rng.randrange(3))
                    put(tar, f"{key}.{rng.choice(media)}", b"" if broken else good)
                    for text in beside:
                        put(tar, f"{key}.{text}", b"\xff{" if broken else b'{"caption": "c"}')
                    num_samples, num_companions = num_samples + 1, num_companions + len(beside)
                elif choice < 7:
                    text = rng.choice(texts)
                    put(tar, f"{key}.{text}", b"c")
                    passed_over[f".{text} without media"] += 1
                elif choice == 7:
                    suffix, kind = rng.choice(list(loose.items()))
                    put(tar, f"{key}.{suffix}", b"c")
                    passed_over[kind] += 1
                elif choice == 8:
                    put(tar, f"{number}/._v1.{i}.jpg" if broken else f"{number}/README{i}", b"c")
                    passed_over["hidden" if broken else "without suffix"] += 1
                else:
                    put(tar, f"{key}.d/", kind=tarfile.DIRTYPE)
                    passed_over["directories"] += 1
    account = account_of(WebDatasetSource(root=tmp_path))
    num_members = 0
    for path in tmp_path.glob("*.tar"):
        with tarfile.open(path) as tar:
            num_members += len(tar.getmembers())
    assert account.num_found == num_members > 1000
    assert (account.num_samples, account.num_companions) == (num_samples, num_companions)
    assert account.passed_over == passed_over
    assert len(load_all(WebDatasetSource(root=tmp_path), cut=77)) == num_samples


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
