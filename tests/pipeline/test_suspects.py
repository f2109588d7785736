from __future__ import annotations

import json
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from energon_prep.errors import SampleError
from energon_prep.pipeline.suspects import Notes, Suspects, suspects_of
from energon_prep.samples import KILLED, PendingSample
from energon_prep.storage import LocalStorage
from tests.gate import KILLER
from tests.runs import SMALL, prep

NEVER_LEFT: list[object] = []


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    (tmp_path / "dst/.energon-prep").mkdir(parents=True)
    return tmp_path / "dst"


def sample(key: str) -> PendingSample:
    def load() -> None:
        raise AssertionError("not for reading")

    return PendingSample(key=key, source=f"{key}.png", load=load)  # type: ignore[arg-type]


def killed_at(dest: Path, *keys: str, suspects: Suspects | None = None) -> None:
    """A worker that is killed while it decodes samples of these keys."""
    notes = Notes(dest, suspects=suspects)
    for key in keys:
        decoding = notes.decoding(sample(key))
        decoding.__enter__()
        NEVER_LEFT.append(decoding)


def found(dest: Path, *, forgotten: bool = False) -> Suspects:
    with suspects_of(LocalStorage(dest), forgotten=forgotten) as suspects:
        return suspects


def test_who_is_named_twice_is_not_decoded_and_who_is_named_once_is(dest: Path) -> None:
    killed_at(dest, "a", "b")
    first = found(dest)
    assert (len(first.once), len(first.twice)) == (2, 0)
    killed_at(dest, "b", suspects=first)
    second = found(dest)
    assert (len(second.once), len(second.twice)) == (1, 1)
    assert found(dest) == second
    notes = Notes(dest, suspects=second)
    with pytest.raises(SampleError, match=KILLED), notes.decoding(sample("b")):
        raise AssertionError("decoded")
    with notes.decoding(sample("a")):
        pass
    assert found(dest, forgotten=True) == Suspects()
    assert [path for path in dest.rglob("*") if path.is_file()] == []


def test_other_samples_at_every_kill_and_runs_that_are_stopped_reject_nobody(dest: Path) -> None:
    for key in ("a", "b", "c"):
        killed_at(dest, key, suspects=found(dest))
    assert found(dest).twice == frozenset()
    with pytest.raises(KeyboardInterrupt), suspects_of(LocalStorage(dest), forgotten=False) as now:
        killed_at(dest, "a", suspects=now)
        raise KeyboardInterrupt
    assert found(dest).twice == frozenset()
    notes = Notes(dest)
    with notes.decoding(sample("a")):
        notes.close()  # in order, while a decoder that hangs has not come back
    assert found(dest).twice == frozenset()


def test_what_is_done_or_another_recipe_s_names_nobody(dest: Path) -> None:
    notes = Notes(dest, salt="recipe")
    for _ in range(3):
        with notes.decoding(sample("a")), notes.decoding(sample("b")):
            pass
    assert found(dest) == Suspects()
    killed_at(dest, "a")
    with Notes(dest, suspects=Suspects(twice=found(dest).once), salt="r").decoding(sample("a")):
        pass


def test_a_suspect_has_the_worker_for_itself(dest: Path) -> None:
    killed_at(dest, "suspect")
    notes = Notes(dest, suspects=found(dest))
    inside: set[str] = set()
    beside: list[set[str]] = []

    def decode(key: str) -> None:
        with notes.decoding(sample(key)):
            inside.add(key)
            time.sleep(0.01)
            if key == "suspect":
                beside.append(set(inside))
            inside.remove(key)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decode, ["a", "b", "suspect", "c", "d"], timeout=60))
    assert beside == [{"suspect"}]


@pytest.mark.parametrize(("device", "code"), [("cpu", -signal.SIGKILL), ("cpu,cpu", 1)])
def test_a_sample_that_kills_its_process_twice_is_rejected(
    raw: Path, tmp_path: Path, device: str, code: int
) -> None:
    source, dest = tmp_path / "source", tmp_path / "dst"
    shutil.copytree(raw, source)
    image = next(
        path for path in sorted(source.rglob("*.png")) if path.with_suffix(".txt").exists()
    )
    for path in (image, image.with_suffix(".txt")):
        shutil.copy(path, path.with_stem(KILLER))
    again: tuple[object, ...] = ("encode", source, dest, *SMALL, "--workers", 2)
    again += ("--source-kind", "tests.gate:KillingFolder")
    first = prep(*again, "--device", device, code=code).stderr
    second = prep(*again, code=-signal.SIGKILL).stderr
    assert "killed" not in first if code < 0 else "killed by signal SIGKILL" in first
    assert "being decoded when the last run was killed" in second
    last = prep(*again, "--json")
    assert "a sample at which one was killed before: it is rejected" in last.stderr
    report = json.loads(last.stdout)
    assert (report["num_written"], report["rejects"]) == (40, {f"decode: {KILLED}": 1})
    assert report["examples"][f"decode: {KILLED}"].split(":")[0].endswith(KILLER)
    private = dest / ".energon-prep"
    assert not [*private.glob("decoding-*"), *private.glob("suspects*")]
    prep("verify", dest)
    assert json.loads(prep(*again, "--json").stdout)["num_resumed"] == 41
    prep(*again, "--retry-rejects", code=-signal.SIGKILL)  # it is decoded again
