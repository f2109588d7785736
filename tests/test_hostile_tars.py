from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from energon_prep.indexing.scan import scan_tar
from energon_prep.shards.rows import read_tar
from energon_prep.tar_headers import DamagedTarError


def header(size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo("a.json")
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def pax(**records: str) -> bytes:
    body = b""
    for key, value in records.items():
        record = f" {key.replace('_', '.')}={value}\n"
        body += f"{len(record) + len(str(len(record) + 2))}{record}".encode()
    return header(len(body), tarfile.XHDTYPE) + body.ljust(512, b"\0")


ATTACKS = {
    "a PAX header of a terabyte": header(2**40, tarfile.XHDTYPE) + bytes(1024),
    "a name of a terabyte": header(2**40, tarfile.GNUTYPE_LONGNAME) + bytes(1024),
    "a header of less than nothing": header(-4096, tarfile.XHDTYPE) + bytes(1024),
    "a file of a terabyte": header(2**40) + bytes(1024),
    "a file of 2 ** 63 bytes": header(2**63) + bytes(1024),
    "a file of less than nothing": header(-(2**30)) + bytes(1024),
    "a size that PAX overrides": pax(size="9" * 30) + header(5) + bytes(2048),
    "a negative size that PAX overrides": pax(size="-512") + header(5) + bytes(2048),
    "a sparse map that never ends": pax(GNU_sparse_major="1", GNU_sparse_minor="0")
    + header(512)
    + b"9\n"
    + b"1" * 510,
    "a sparse file of holes": pax(
        GNU_sparse_major="1", GNU_sparse_minor="0", GNU_sparse_realsize="9" * 13
    )
    + header(512)
    + b"0\n".ljust(512, b"\0")
    + bytes(1024),
    "ten thousand headers for one file": pax(path="a.json") * 10_000,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_made_up_headers_end_in_an_error_at_once(tmp_path: Path, attack: str) -> None:
    (tmp_path / "a.tar").write_bytes(ATTACKS[attack])
    assert scan_tar(tmp_path, "a.tar").errors
    with (tmp_path / "a.tar").open("rb") as file, pytest.raises(DamagedTarError):
        read_tar(file)
