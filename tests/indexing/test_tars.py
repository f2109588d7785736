from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from energon_prep.indexing.tars import has_end_mark, list_tars, split_name
from tests.indexing.tars import write_tar

paths = st.text(st.sampled_from("ab._/-1 "), max_size=14)


@given(paths)
def test_names_are_split_as_energon_splits_them(name: str) -> None:
    from megatron.energon.flavors.webdataset.config import skip_meta_re, split_name_re

    match = None if skip_meta_re.match(name) else split_name_re.match(name)
    assert split_name(name) == (match.groups() if match else None)


def test_tars_are_listed_as_energon_lists_them(tmp_path: Path) -> None:
    from megatron.energon.epathlib import EPath

    root, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    for name in (
        "b.tar",
        "a/z.tar",
        "a.b.tar",
        "a/.hidden.tar",
        ".nv-meta/x/y.tar",
        "c.tgz",
        "d.tar.gz",
        "e.tar.idx",
    ):
        write_tar(root / name, [])
    write_tar(elsewhere / "linked.tar", [])
    (root / "far").symlink_to(elsewhere)
    (root / "a" / "loop").symlink_to(root)
    listing = list_tars(root)
    assert listing.tars == ("a/z.tar", "a.b.tar", "b.tar", "far/linked.tar")
    assert listing.compressed == ("c.tgz", "d.tar.gz")
    (root / "a" / "loop").unlink()  # Energon would go round
    (root / "c.tgz").unlink()
    official = sorted([*EPath(root).glob("**/*.tar"), *EPath(root).glob("**/*.tgz")])
    assert [tar.relative_to(EPath(root)) for tar in official] == list(listing.tars)


def test_an_idx_fits_where_the_end_mark_lies(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", ["a.txt"], size=700)
    end = 512 + 1024
    assert has_end_mark(tar, end)
    assert not has_end_mark(tar, end - 512)
    tar.write_bytes(tar.read_bytes()[: end + 100])
    assert not has_end_mark(tar, end)
