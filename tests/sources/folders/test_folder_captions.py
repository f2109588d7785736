from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from energon_prep.errors import PrepError
from energon_prep.sources.account import Account
from energon_prep.sources.folders.folder import FolderSource
from energon_prep.sources.options import SourceOptions
from tests.sources.reading import fault, listed, only, only_pending, write


@pytest.mark.parametrize(
    ("beside", "key", "caption"),
    [
        ({"json": '{"prompt": "usual name"}'}, None, "usual name"),
        ({"json": '{"TEXT": ["first", "second"]}'}, None, "first"),
        ({"json": '{"caption": "short", "long": "long"}', "txt": "text"}, "long", "long"),
        ({"blip": "its own file", "txt": "text"}, "blip", "its own file"),
        ({"json": '{"a/b": "no file name"}'}, "a/b", "no file name"),
    ],
)
def test_where_the_caption_is(
    tmp_path: Path, beside: dict[str, str], key: str | None, caption: str
) -> None:
    write(tmp_path / "1.jpg")
    for suffix, content in beside.items():
        write(tmp_path / f"1.{suffix}", content)
    options = SourceOptions(caption_keys=() if key is None else (key,))
    assert only(FolderSource(root=tmp_path, options=options)).caption == caption


@pytest.mark.parametrize(
    ("beside", "stage", "reason"),
    [
        ({}, "caption", "no caption (give --caption-key, --caption or --allow-empty-captions)"),
        (
            {"txt": b"  \n"},
            "caption",
            "empty caption (give --caption-key, --caption or --allow-empty-captions)",
        ),
        ({"txt": b"caf\xe9"}, "caption", "not UTF-8"),
        ({"json": b'{"caption": 3}'}, "caption", "the caption is not text"),
        ({"json": b"{", "txt": b"caption"}, "read", "broken JSON"),
        (
            {"json": b"[1, 2]"},
            "caption",
            "no caption (give --caption-key, --caption or --allow-empty-captions)",
        ),
    ],
)
def test_faults_of_captions(
    tmp_path: Path, beside: dict[str, bytes], stage: str, reason: str
) -> None:
    write(tmp_path / "1.jpg")
    for suffix, content in beside.items():
        write(tmp_path / f"1.{suffix}", content)
    error = fault(FolderSource(root=tmp_path))
    assert (error.stage, error.reason) == (stage, reason)


def test_empty_captions_where_they_are_allowed(tmp_path: Path) -> None:
    write(tmp_path / "1.jpg")
    assert (
        only(FolderSource(root=tmp_path, options=SourceOptions(allow_empty_captions=True))).caption
        == ""
    )


@pytest.mark.parametrize("fallback", [None, "fallback"])
@pytest.mark.parametrize(("again", "found"), [(False, "gone"), (True, "empty")])
def test_a_folder_of_captions_that_went_away_is_no_fault_of_the_sample(
    tmp_path: Path, fallback: str | None, again: bool, found: str
) -> None:
    write(tmp_path / "in" / "1.jpg")
    write(tmp_path / "texts" / "1.txt", "cat")
    options = SourceOptions(captions_dir="../texts", caption_text=fallback)
    source = FolderSource(root=tmp_path / "in", options=options)
    pending = only_pending(source)
    assert pending.load().caption == "cat"
    (tmp_path / "texts").rename(tmp_path / "away")
    if again:
        (tmp_path / "texts").mkdir()
    with pytest.raises(PrepError, match=f"texts is {found}.*no fault of the samples"):
        pending.load()


@pytest.mark.parametrize(
    "beside", ["cat.jpg.txt", "cat.jpg.TXT", "cat.jpg.json", "cat.jpg.caption", "cat.CAPTION"]
)
def test_captions_may_be_named_after_the_whole_file(tmp_path: Path, beside: str) -> None:
    write(tmp_path / "cat.jpg")
    write(tmp_path / beside, '{"caption": "a cat"}' if beside.endswith("json") else "a cat")
    assert only(FolderSource(root=tmp_path)).caption == "a cat"


def test_an_empty_caption_file_falls_through_to_the_next(tmp_path: Path) -> None:
    write(tmp_path / "cat.jpg")
    write(tmp_path / "cat.txt", " \n")
    write(tmp_path / "cat.jpg.txt", "a cat")
    assert only(FolderSource(root=tmp_path)).caption == "a cat"
    write(tmp_path / "cat.jpg.txt", "")
    write(tmp_path / "cat.json", '{"text": "", "prompt": "of the json"}')
    assert only(FolderSource(root=tmp_path)).caption == "of the json"


@pytest.mark.parametrize(
    ("text", "kept"), [("[1, 2]", {"json": [1, 2]}), ("3", {"json": 3}), ("null", {"json": None})]
)
def test_json_that_is_no_object_costs_no_caption(
    tmp_path: Path, text: str, kept: dict[str, object]
) -> None:
    write(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", "good caption")
    write(tmp_path / "a.json", text)
    sample = only(FolderSource(root=tmp_path))
    assert (sample.caption, sample.metadata) == ("good caption", kept)


def test_a_json_list_of_texts_is_the_captions(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    write(tmp_path / "a.json", '["one", "two"]')
    assert only(FolderSource(root=tmp_path, options=SourceOptions(captions="all"))).captions == (
        "one",
        "two",
    )


@pytest.mark.parametrize(("media", "text"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_accents_may_be_stored_in_either_way(tmp_path: Path, media: str, text: str) -> None:
    for form, name in ((media, "caf\u00e9.jpg"), (text, "caf\u00e9.txt")):
        write(tmp_path / "caf\u00e9s" / unicodedata.normalize(form, name), "caption")
    assert only(FolderSource(root=tmp_path)).caption == "caption"


@pytest.mark.parametrize(
    ("media", "text", "root", "captions_dir"),
    [
        ("images/a.jpg", "captions/a.txt", "", "captions"),
        ("images/cats/a.jpg", "captions/cats/a.jpg.txt", "", "captions"),
        ("images/cats/a.jpg", "captions/images/cats/a.caption", "", "captions"),
        ("train/images/a.jpg", "train/captions/a.TXT", "", "train/captions"),
        ("images/cats/a.jpg", "captions/cats/a.json", "images", "../captions"),
        ("images/cats/a.jpg", "elsewhere/cats/a.txt", "images", "{absolute}/elsewhere"),
    ],
)
def test_captions_in_a_folder_of_their_own(
    tmp_path: Path, media: str, text: str, root: str, captions_dir: str
) -> None:
    write(tmp_path / media)
    write(tmp_path / text, '{"caption": "parallel"}' if text.endswith("json") else "parallel")
    options = SourceOptions(captions_dir=captions_dir.replace("{absolute}", str(tmp_path)))
    assert only(FolderSource(root=tmp_path / root, options=options)).caption == "parallel"


def test_with_a_folder_of_captions_no_text_beside_the_media_serves(tmp_path: Path) -> None:
    for name in ("images/a.jpg", "images/a.txt", "captions/b.txt", "captions/c.jpg"):
        write(tmp_path / name)
    account = Account()
    source = FolderSource(root=tmp_path, options=SourceOptions(captions_dir="captions"))
    assert [entry.path for entry in source.list(account)] == ["images/a.jpg"]
    account.check()
    assert account.passed_over == {".txt without media": 1, ".jpg in the folder of captions": 1}
    assert fault(source).detail.startswith(f"looked in {tmp_path}/captions; looked for .txt")
    with pytest.raises(PrepError, match=r"there is no folder of captions .*gone"):
        listed(FolderSource(root=tmp_path, options=SourceOptions(captions_dir="gone")))


@pytest.mark.parametrize(
    ("name", "root", "given"), [("captions", "", "captions"), ("txt", "images", "../txt")]
)
def test_a_missing_caption_points_to_a_folder_of_captions_nearby(
    tmp_path: Path, name: str, root: str, given: str
) -> None:
    write(tmp_path / "images" / "a.jpg")
    write(tmp_path / "images" / "a.json", '{"score": 1}')
    write(tmp_path / name / "a.txt", "parallel")
    detail = fault(FolderSource(root=tmp_path / root)).detail
    assert detail.startswith(
        f"there is a folder {given}: give --captions-dir {given}; looked for .txt .caption"
    )
    assert detail.endswith("; there are score")


def test_texts_without_media_in_a_folder_of_captions_are_told(tmp_path: Path) -> None:
    for name in ("images/a.jpg", "train/captions/a.txt", "train/captions/b.txt", "captions/c.txt"):
        write(tmp_path / name)
    account = Account()
    list(FolderSource(root=tmp_path).list(account))
    assert account.told == [
        "the texts in captions have no media beside them: is it the folder of captions? Give "
        "--captions-dir captions"
    ]
