"""What the command line tells of a source: every file is in the account."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from energon_prep.cli import main
from tests.sources.reading import write


def test_a_dry_run_tells_what_was_found_and_what_is_passed_over(tmp_path: Path) -> None:
    for name in (
        "1.jpg",
        "1.txt",
        "2.mp4",
        "a.svg",
        "b.svg",
        "notes.md",
        ".DS_Store",
        "captions/c.txt",
    ):
        write(tmp_path / name)
    (tmp_path / "out.jpg").symlink_to("/nowhere")
    runner = CliRunner()
    told = runner.invoke(main, ["encode", str(tmp_path), str(tmp_path / "out"), "--dry-run"])
    assert told.exit_code == 0, told.stdout
    for line in (
        "plan     2 samples in 1 shard",
        "passed over: 2 .svg (convert to PNG or MP4), first a.svg",
        "passed over: 1 .txt without media, first captions/c.txt",
        "passed over: 1 links out of the source (--follow-links), first out.jpg",
        "passed over: 1 hidden, first .DS_Store",
        "note: the texts in captions have no media beside them",
    ):
        assert line in told.stdout
    found = json.loads(
        runner.invoke(main, ["encode", str(tmp_path), "out", "--dry-run", "--json"]).stdout
    )["found"]
    assert (found["found"], found["samples"], found["companions"]) == (9, 2, 1)
    assert sum(found["passed_over"].values()) == 6
