"""Sound bytes that mutation starts from: the smallest of each kind, and the shapes of known
attacks.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from energon_prep.recipes.load import dump_recipe, load_recipe
from energon_prep.targets.serialize import dumps_pickle
from tests.datasets import torch_bytes
from tests.indexing.tars import write_ours

LEDGER = ".energon-prep/ledger/shard_000000.json"
ROWS = ".energon-prep/ledger/shard_000000.rows"
PLAN = ".energon-prep/plan.jsonl"
RUN = ".energon-prep/run.json"
REJECTS = ".energon-prep/rejects/shard_000000.jsonl"


@lru_cache
def images() -> Sequence[bytes]:
    picture = Image.radial_gradient("L").resize((24, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = [
        _saved(picture.convert("RGB"), "JPEG", exif=exif),
        _saved(picture.convert("CMYK"), "JPEG"),
    ]
    for mode in ("L", "RGB", "RGBA", "P", "1", "I;16"):
        found.append(
            _saved(
                picture.convert("I").convert("I;16") if mode == "I;16" else picture.convert(mode),
                "PNG",
            )
        )
    for kind in ("GIF", "BMP", "WEBP", "AVIF"):
        found.append(_saved(picture.convert("RGB"), kind))
    for compression in (None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        found.append(_saved(picture.convert("RGB"), "TIFF", compression=compression))
    frames = [picture.rotate(turn).convert("P") for turn in (90, 180)]
    return [*found, _saved(picture, "GIF", save_all=True, append_images=frames, duration=40)]


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@lru_cache
def videos() -> Sequence[bytes]:
    import av

    found = []
    for container, codec in (
        ("mp4", "mpeg4"),
        ("matroska", "mpeg4"),
        ("avi", "mpeg4"),
        ("mpegts", "mpeg2video"),
        ("mpeg", "mpeg2video"),
        ("flv", "flv"),
        ("asf", "wmv2"),
        ("ogg", "libvpx"),
    ):
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=container) as file:
            stream = file.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            for number in range(6):
                frame = av.VideoFrame.from_ndarray(
                    np.full((32, 32, 3), 40 * number, np.uint8), format="rgb24"
                )
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
        found.append(buffer.getvalue())
    return found


@lru_cache
def tars() -> Sequence[bytes]:
    return [
        _tar(tarfile.USTAR_FORMAT, ["a.jpg", "a.txt", "b.jpg", "b.json"]),
        _tar(tarfile.GNU_FORMAT, ["x" * 120 + ".json", "b.pth", "b.pickle"]),
        _tar(
            tarfile.PAX_FORMAT,
            ["\u00fc.json", "v1.5.txt", "__m__/c.pth"],
            pax={"size": "700", "comment": "c"},
        ),
        _tar(tarfile.PAX_FORMAT, ["a.jpg"], pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
        _tar(tarfile.GNU_FORMAT, ["a.jpg"], size=2**40),
        _tar(tarfile.GNU_FORMAT, ["a.jpg"], size=-(2**30)),
        _tar(tarfile.GNU_FORMAT, ["a.jpg"], size=2**63, kind=tarfile.GNUTYPE_LONGNAME),
        _tar(tarfile.GNU_FORMAT, ["a.jpg"], size=2**70, kind=tarfile.XGLTYPE),
    ]


def _tar(
    form: int,
    names: Sequence[str],
    *,
    pax: dict[str, str] | None = None,
    size: int | None = None,
    kind: bytes = tarfile.REGTYPE,
) -> bytes:
    """``size``: what the header claims, not what is there."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.pax_headers = pax or {}
            member.type = kind
            member.size = 20 if size is None else size
            if size is None:
                tar.addfile(member, io.BytesIO(b'{"caption": "a cat"}'))
            else:
                buffer.write(member.tobuf(tarfile.GNU_FORMAT))
    return buffer.getvalue()


@lru_cache
def json_objects() -> Sequence[bytes]:
    return [
        b'{"caption": "a \\u00e9 \\ud83d cat", "n": [1, 2.5e300, null, true], "o": {"a": {}}, '
        b'"image": "x.jpg"}',
        b'{"text": ["one", "two"], "n": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"n": NaN, "i": -Infinity, "e": 1e999}',
    ]


def json_lines() -> Sequence[bytes]:
    return [
        b"\n".join(json_objects()) + b"\n",
        b'\xef\xbb\xbf{"file_name": "../../etc/passwd", "text": "t"}\n',
    ]


def json_lists() -> Sequence[bytes]:
    return [
        b"[" + b",".join(json_objects()[:2]) + b"]",
        b"[" * 50_000,
        b'[{"file_name": "a.jpg", "text": "t"}, 5]',
    ]


def csvs() -> Sequence[bytes]:
    return [
        b'file_name,text\r\na.jpg,"a, ""quoted""\ncat"\r\n/etc/hostname,c\n',
        b'file_name,text\n"open,',
        b"\0,\0\n",
    ]


def tsvs() -> Sequence[bytes]:
    return [
        b'file_name\ttext\r\na.jpg\ta "quoted\r\n/etc/hostname\tc\n',
        b"file_name\ttext\na\tb\tc\n",
        b"\0\t\0\n",
    ]


def json_documents() -> Sequence[bytes]:
    image, caption = b'{"id": 1, "file_name": "a.jpg"}', b'{"image_id": 1, "caption": "t"}'
    return [
        b'{"a.jpg": {"caption": "t", "tags": "u"}, "b": "c"}',
        b'{"images": [' + image + b'], "annotations": [' + caption + b"]}",
        b'{"../../etc/passwd.jpg": ["one", "two"]}',
        b'{"a":' * 50_000,
    ]


@lru_cache
def packed_lines() -> Sequence[bytes]:
    return [gzip.compress(lines, mtime=0) for lines in json_lines()]


@lru_cache
def arrows() -> Sequence[bytes]:
    import pyarrow.ipc

    table = pyarrow.table(
        {"image": [{"bytes": b"\xff\xd8\xff", "path": "a.jpg"}, None], "text": [["a", "b"], []]}
    )
    found = []
    for writer in (pyarrow.ipc.new_stream, pyarrow.ipc.new_file):
        buffer = io.BytesIO()
        with writer(buffer, table.schema) as opened:
            opened.write_table(table)
        found.append(buffer.getvalue())
    return found


@lru_cache
def parquets() -> Sequence[bytes]:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table(
        {"image": [b"\xff\xd8\xff", b"x"], "text": ["a", "b"], "n": [1, 2], "s": [{"a": 1}, None]}
    )
    found = []
    for compression in ("none", "snappy", "zstd"):
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(table, buffer, compression=compression)
        found.append(buffer.getvalue())
    return found


@lru_cache
def pickles() -> Sequence[bytes]:
    tensor = torch.arange(12, dtype=torch.float32).reshape(3, 4).bfloat16()
    values: list[Any] = [
        np.arange(6, dtype=np.float16).reshape(2, 3),
        {"a": [1, (2.5, "x"), {3}]},
        tensor,
        b"bytes",
    ]
    found = [pickle.dumps(value, protocol) for value in values for protocol in (0, 2, 4, 5)]
    return [*found, dumps_pickle(tensor), pickle.dumps(np.float32(3)), bomb_pickle()]


def bomb_pickle() -> bytes:
    """A few hundred bytes whose repr has 10 ** 30 characters: tuples of the same tuple ten times
    over.
    """
    value: Any = "lol"
    for _ in range(30):
        value = (value,) * 10
    return pickle.dumps(value)


@lru_cache
def pths() -> Sequence[bytes]:
    tensor = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    values = [
        tensor,
        tensor.bfloat16(),
        {"a": tensor, "b": [1, "x"]},
        tensor.t() if tensor.ndim == 2 else tensor[0].t(),
    ]
    return [torch_bytes(value, legacy=legacy) for value in values for legacy in (False, True)]


@lru_cache
def npys() -> Sequence[bytes]:
    found = []
    for array in (
        np.arange(6, dtype=np.uint16).reshape(2, 3),
        np.zeros((0, 3)),
        np.asfortranarray(np.eye(3)),
    ):
        buffer = io.BytesIO()
        np.save(buffer, array)
        found.append(buffer.getvalue())
    return found


@lru_cache
def recipes() -> Sequence[bytes]:
    return [
        dump_recipe(load_recipe("dit")).encode(),
        b"extends: dit\nresize: {resolution: 720x1280}\n",
        *yaml_bombs().values(),
    ]


def yaml_bombs() -> dict[str, bytes]:
    levels = "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(9 * ['*' + chr(97 + i)])}]\n" for i in range(12)
    )
    merges = "".join(f"- &m{i + 1} {{<<: [*m{i}, *m{i}], k{i}: 1}}\n" for i in range(30))
    return {
        "laughs": ("a: &a lol\n" + levels).encode() + b"extends: *m\nname: *m\n",
        "merges": b"m:\n- &m0 {k: 1}\n" + merges.encode(),
        "itself": b"name: &a [*a]\nextends: *a\n",
        "deep": b"name: " + b"[" * 20_000,
        "date": b"name: 2001-99-99\n",
        "number": b"name: 0x" + b"f" * 9000 + b"\n",
        "digits": b"name: " + b"9" * 9000 + b"\n",
        "code": b"name: !!python/object/apply:os.system ['touch /tmp/ran']\n",
    }


def splits() -> Sequence[bytes]:
    sound = b"split_parts: {train: [a.tar, 'b{0..2}.tar'], val: [], test: []}\nexclude: []\n"
    braces = b"split_parts: {train: ['" + b"{a,b}" * 40 + b".tar', '{0..9999999999}.tar']}\n"
    bomb = yaml_bombs()["laughs"] + b"split_parts: {train: *m}\nexclude: *m\n"
    return [sound, braces, bomb]


@lru_cache
def databases() -> Sequence[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.sqlite"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE samples (tar_file_id INTEGER, sample_key TEXT)")
            connection.execute("INSERT INTO samples VALUES (0, 'k')")
        connection.close()
        return [path.read_bytes()]


@lru_cache
def _dataset() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        root = write_ours(Path(folder) / "set", shards=1)
        plan = {"index": 0, "first_serial": 0, "pieces": [["s", 0, 3]], "digest": "x"}
        (root / PLAN).write_text(json.dumps(plan) + "\n")
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }


def copy_records(folder: Path) -> None:
    """A sound dataset of one shard."""
    for name, data in _dataset().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def record(name: str) -> bytes:
    return _dataset()[name]


def remove_content(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
