from __future__ import annotations

from pathlib import Path

import pytest

from energon_prep.sources.links import LinkRule, absolute
from tests.sources.reading import write


def test_absolute_keeps_the_name_and_resolves_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "real" / "target.tar")
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "real" / "linked.tar").symlink_to("target.tar")
    real = (tmp_path / "real").resolve()
    assert absolute(tmp_path / "folder" / "linked.tar") == real / "linked.tar"
    assert absolute(tmp_path / "folder") == tmp_path.resolve() / "folder"
    monkeypatch.chdir(tmp_path / "folder")
    assert absolute(Path("linked.tar")) == real / "linked.tar"
    assert absolute(Path()) == real and absolute(Path("..")) == real.parent


@pytest.mark.parametrize(
    ("target", "is_outside"),
    [
        ("inside.jpg", False),
        ("../../blobs/sha", False),
        ("../../blobs/../secret", True),
        ("../../secret", True),
        ("../def/other.jpg", True),
        ("/etc/hostname", True),
    ],
)
def test_a_snapshot_of_the_hub_may_lead_into_its_blobs_alone(
    tmp_path: Path, target: str, is_outside: bool
) -> None:
    snapshot = tmp_path / "snapshots" / "abc"
    write(tmp_path / "blobs" / "sha")
    link = snapshot / "data" / "a.jpg"
    link.parent.mkdir(parents=True)
    link.symlink_to(f"../{target}" if not target.startswith("/") else target)
    for root in (snapshot, snapshot / "data"):
        outside = LinkRule.of(root, follow=False).target_outside(link) is not None
        assert outside == (is_outside or (root.name == "data" and target == "inside.jpg"))
    assert LinkRule.of(snapshot, follow=True).target_outside(link) is None


def test_blobs_that_lead_elsewhere_are_outside(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "sha")
    link = tmp_path / "hub" / "snapshots" / "abc" / "a.jpg"
    link.parent.mkdir(parents=True)
    (tmp_path / "hub" / "blobs").symlink_to(tmp_path / "elsewhere")
    link.symlink_to("../../blobs/sha")
    assert LinkRule.of(link.parent, follow=False).target_outside(link) == str(
        (tmp_path / "elsewhere" / "sha").resolve()
    )
