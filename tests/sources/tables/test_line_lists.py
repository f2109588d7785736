from __future__ import annotations

from pathlib import Path

import pytest

from energon_prep.errors import PrepError, SampleError
from energon_prep.samples import RawSample
from energon_prep.sources.account import Account
from energon_prep.sources.detect import open_source
from energon_prep.sources.options import SourceOptions
from tests.sources.reading import load_all, write


def write_lists(folder: Path, media: str, captions: str) -> Path:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        write(folder / "images" / name)
    write(folder / "images.txt", media)
    write(folder / "prompts.txt", captions)
    return folder


@pytest.mark.parametrize("src", ["", "images.txt", "prompts.txt"])
def test_lines_belong_together(tmp_path: Path, src: str) -> None:
    media = "images/a.jpg\r\n\r\nimages/b.jpg\r\nimages/c.jpg\r\n"
    folder = write_lists(tmp_path, media, 'a "cat\n\n\na bird\n\n\n')
    for cut in (1, 3):
        first, second, third = load_all(open_source(folder / src), cut=cut)
        assert isinstance(first, RawSample) and isinstance(third, RawSample)
        assert (first.key, first.caption, third.key, third.caption) == (
            "images/a.jpg",
            'a "cat',
            "images/c.jpg",
            "a bird",
        )
        assert isinstance(second, SampleError) and "line 3 of images.txt" in second.detail


def test_lists_of_other_lengths_stop_the_run(tmp_path: Path) -> None:
    folder = write_lists(tmp_path, "images/a.jpg\nimages/b.jpg\n", "one\ntwo\nthree\n")
    with pytest.raises(PrepError, match=r"images\.txt has 2 lines and .*prompts\.txt has 3"):
        load_all(open_source(folder))


def test_what_else_a_folder_with_lists_holds_is_told(tmp_path: Path) -> None:
    folder = write_lists(tmp_path, "images/a.jpg\n./images/b.jpg\n", "one\ntwo\n")
    write(folder / "README.md")
    account = Account()
    list(open_source(folder).list(account))
    account.check()
    assert (account.num_samples, account.num_companions) == (2, 2)
    assert account.passed_over == {".md": 1, ".jpg that no row names": 1}
    assert account.examples[".jpg that no row names"] == "images/c.jpg"


def test_a_list_of_captions_alone_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(PrepError, match=r"beside it is no images\.txt or videos\.txt"):
        load_all(open_source(write(tmp_path / "prompts.txt", "one\n")))
    write(tmp_path / "v" / "1.mp4")
    media = write(tmp_path / "v" / "videos.txt", "1.mp4\n")
    with pytest.raises(PrepError, match="no caption column"):
        load_all(open_source(media))
    (raw,) = load_all(open_source(media, options=SourceOptions(caption_text="a film")))
    assert isinstance(raw, RawSample) and raw.caption == "a film"
