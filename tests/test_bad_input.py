"""Bad input has a clear outcome: a reject with stage and reason, or an error that says what to
do.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import energon_prep
from energon_prep.errors import PrepError
from energon_prep.run.report import EncodeReport
from energon_prep.samples import CAPTION_CUT
from energon_prep.sources.captions import CAPTION_ADVICE
from tests.runs import SMALL, prep


def encode(source: Path, dest: Path, **options: Any) -> EncodeReport:
    given = {"weights": "tiny", "torch_threads": 1, "resolution": 64, "samples_per_shard": 10}
    return energon_prep.encode(source, dest, **given, **options)


def rejects(dest: Path) -> dict[str, str]:
    """Key -> "stage: reason" of every reject."""
    lines = [
        line
        for p in sorted((dest / ".energon-prep/rejects").glob("*"))
        for line in p.read_text().splitlines()
    ]
    found = [json.loads(line) for line in lines]
    return {reject["key"]: f"{reject['stage']}: {reject['reason']}" for reject in found}


def jpeg(size: tuple[int, int] = (80, 60)) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize(size).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


BAD = {
    "empty": (b"", b"a caption", "read: empty file"),
    "truncated": (jpeg((800, 600))[:3000], b"a caption", "decode: "),
    "text": (b"this is no image at all", b"a caption", "decode: not an image Pillow can read"),
    "bomb": (png_header(40000, 40000), b"a caption", "decode: more pixels than limits.max_pixels"),
    "latin1": (jpeg(), "caf\u00e9".encode("latin-1"), "caption: not UTF-8"),
    "blank": (jpeg(), b" \n", f"caption: empty caption {CAPTION_ADVICE}"),
    "silent": (jpeg(), None, f"caption: no caption {CAPTION_ADVICE}"),
    "small": (jpeg((30, 20)), b"a caption", "filter: shorter side below resize.min_size"),
}
GOOD = [
    "good",
    "v1.5_a",
    "v1.5_b",
    "with space",
    "\u00fcml\u00e4ut",
    "deep/er/name",
    "a..dots",
    "long",
]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mixed")
    for name, (media, caption, _) in BAD.items():
        (root / f"{name}.jpg").write_bytes(media)
        if caption is not None:
            (root / f"{name}.txt").write_bytes(caption)
    for name in GOOD:
        path = root / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg())
        path.with_name(path.name.removesuffix(".jpg") + ".txt").write_text(
            "word " * (5000 if name == "long" else 3)
        )
    return root


def test_every_bad_sample_is_a_reject_with_its_reason(mixed: Path, tmp_path: Path) -> None:
    report = encode(mixed, tmp_path, min_size=32)
    found = rejects(tmp_path)
    assert set(found) == set(BAD)
    for name, (_, _, reason) in BAD.items():
        assert found[name].startswith(reason), found[name]
    assert report.num_samples == len(BAD) + len(GOOD) == report.num_written + report.num_rejected
    assert report.notes == {CAPTION_CUT: 1}
    keys = set()
    for path in tmp_path.glob("*.tar"):
        with tarfile.open(path) as tar:
            keys |= {
                json.loads(tar.extractfile(m).read())["key"] for m in tar if m.name.endswith("json")
            }  # type: ignore[union-attr]
    assert keys == set(GOOD)
    energon_prep.index(tmp_path)
    assert energon_prep.verify(tmp_path).ok


def test_the_report_adds_up_for_people_and_machines(mixed: Path, tmp_path: Path) -> None:
    told = prep("encode", mixed, tmp_path / "a", *SMALL, "--min-size", 32).stdout
    assert "16 samples in = 8 written + 8 rejected" in told
    assert f"1 x caption: no caption {CAPTION_ADVICE}" in told
    report = json.loads(
        prep("encode", mixed, tmp_path / "b", *SMALL, "--min-size", 32, "--json").stdout
    )
    assert report["num_rejected"] == sum(report["rejects"].values()) == 8
    run = json.loads((tmp_path / "b/.energon-prep/run.json").read_text())
    examples = report.pop("examples")
    own = {"index": None, "made_up": report["made_up"], "num_new": None, "warnings": []}
    assert {**own, **run["totals"]} == report
    assert examples.keys() <= report["rejects"].keys()
    assert "blank: looked for .txt" in " ".join(examples.values())


def test_a_run_that_goes_wrong_stops_early(mixed: Path, tmp_path: Path) -> None:
    with pytest.raises(
        PrepError, match=r"stopped after 3 rejects in \d+ samples: .*allow more with --max-rejects"
    ):
        encode(mixed, tmp_path, max_rejects="2")


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    with pytest.raises(PrepError, match=r"\.jpg"):
        encode(tmp_path / "src", tmp_path / "dst")


def test_a_missing_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PrepError, match="nowhere"):
        encode(tmp_path / "nowhere", tmp_path / "dst")


def test_a_folder_without_captions(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.jpg").write_bytes(jpeg())
    with pytest.raises(PrepError, match=r"no sample was written.*--allow-empty-captions"):
        encode(tmp_path / "src", tmp_path / "dst")
    (tmp_path / "src/a.json").write_text('{"legend": "a gradient"}')
    report = encode(tmp_path / "src", tmp_path / "dst2", caption_key="legend")
    assert report.num_written == 1
    (tmp_path / "src/a.json").unlink()
    report = encode(tmp_path / "src", tmp_path / "dst3", allow_empty_captions=True)
    assert report.num_written == 1


def _tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_hostile_and_damaged_tars(tmp_path: Path) -> None:
    source, dest = tmp_path / "src", tmp_path / "dst"
    source.mkdir()
    link = tarfile.TarInfo("linked.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members = [
        (tarfile.TarInfo("../../outside.jpg"), jpeg()),
        (tarfile.TarInfo("../../outside.txt"), b"a caption"),
        (link, b""),
        (tarfile.TarInfo("linked.txt"), b"a caption"),
        (tarfile.TarInfo("same.jpg"), jpeg()),
        (tarfile.TarInfo("same.txt"), b"a caption"),
    ]
    _tar(source / "00000.tar", members)
    _tar(
        source / "00001.tar",
        [
            m
            for k in range(4)
            for m in ((tarfile.TarInfo(f"{k}.jpg"), jpeg()), (tarfile.TarInfo(f"{k}.txt"), b"c"))
        ],
    )
    _tar(source / "00002.tar", members[4:])  # a key that another tar has too
    cut = (source / "00001.tar").read_bytes()
    (source / "00001.tar").write_bytes(cut[: 512 * 7 + 100])
    with pytest.raises(
        PrepError, match=r"1 tar ends early or damaged, first 00001\.tar: byte 3072"
    ):
        encode(source, dest)
    report = encode(source, dest, allow_damaged=True)
    assert report.num_samples == report.num_written + report.num_rejected
    assert report.found["damaged"].keys() == {"00001.tar"}
    assert "linked" in rejects(dest)
    assert report.num_written >= 4, (
        "outside, same (twice) and at least the first sample of the cut tar"
    )
    assert not (tmp_path / "outside.jpg").exists()
    assert not (tmp_path.parent / "outside.jpg").exists()
    energon_prep.index(dest)
    assert energon_prep.verify(dest).ok


def test_a_file_in_the_way_of_the_destination(mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "dst").write_text("")
    assert "is a file" in prep("encode", mixed, tmp_path / "dst", *SMALL, code=2).stderr


FULL_DISK = """
import pathlib, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import energon_prep
source, dest, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    energon_prep.encode(source, dest, weights="tiny", torch_threads=1,
                        resolution=64, min_size=32, samples_per_shard=10)
except energon_prep.PrepError as error:
    print(error)
    sys.exit(1)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 128 KiB; needs the right to mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", place],
        capture_output=True,
        check=False,
    ).returncode:
        pytest.skip(
            "no right to mount a tmpfs here; the test with a file size limit below needs none"
        )
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_loses_nothing(raw: Path, small_disk: Path, tmp_path: Path) -> None:
    told = prep("encode", raw, small_disk / "dst", *SMALL, code=1).stderr
    assert "No space left on device: make room and run the same command again" in told
    assert "Traceback" not in told
    subprocess.run(["mount", "-o", "remount,size=32m", small_disk], check=True)
    prep("encode", raw, small_disk / "dst", *SMALL)
    prep("encode", raw, tmp_path / "elsewhere", *SMALL)
    for path in (tmp_path / "elsewhere").glob("*.tar"):
        assert (small_disk / "dst" / path.name).read_bytes() == path.read_bytes()


def test_a_file_size_limit_loses_nothing(mixed: Path, tmp_path: Path) -> None:
    run = [sys.executable, "-c", FULL_DISK, str(mixed), str(tmp_path)]
    stopped = subprocess.run([*run, "20000"], capture_output=True, text=True, check=False)
    assert stopped.returncode == 1, stopped.stderr
    assert "cannot write" in stopped.stdout
    assert "File too large" in stopped.stdout
    assert not list(tmp_path.glob("*.tar"))
    assert subprocess.run([*run, "-1"], capture_output=True, check=False).returncode == 0
    energon_prep.index(tmp_path)
    assert energon_prep.verify(tmp_path).ok


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["--model", "t5-xxxl"], 2, "did you mean t5-xxl"),
        (["--weights", "nowhere"], 2, "--weights 'nowhere' is neither"),
        (["--recipe", "ditt"], 2, "did you mean 'dit'"),
        (["--set", "text.max_tokenz=3"], 2, "did you mean text.0.max_tokens?"),
        (["--set", "nonsense"], 2, "give KEY=VALUE"),
        (["--split", "1,2"], 2, "1,2"),
        (["--device", "cuda:7"], 2, "--device cuda:7"),
        (["--device", "gpu"], 2, "'gpu' is no device"),
        (["--max-rejects", "many"], 2, "--max-rejects 'many'"),
        (["--source-kind", "foldr"], 2, "folder"),
        (["--limit", "0"], 2, "--limit"),
        (["--no-such-option"], 2, "--no-such-option"),
    ],
)
def test_a_wrong_option_is_explained(
    mixed: Path, tmp_path: Path, args: list[str], code: int, told: str
) -> None:
    error = prep("encode", mixed, tmp_path / "dst", *SMALL, *args, code=code).stderr
    assert told in error
    assert "Traceback" not in error


def test_an_unreadable_weights_folder_says_what_to_do(mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "weights/vae").mkdir(parents=True)
    (tmp_path / "weights/vae/config.json").write_text("{")
    with pytest.raises(PrepError, match=r"weights"):
        energon_prep.encode(mixed, tmp_path / "dst", weights=str(tmp_path / "weights"))
