"""Files on their way to a store or from one, which lie on this machine meanwhile."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from energon_prep.storage.guard import writing


def spool_place(url: str) -> str:
    """Where the file of ``url`` lies meanwhile, in words."""
    return f"{tempfile.gettempdir()} (TMPDIR), where {url} is spooled"


def new_spool(url: str) -> BinaryIO:
    """A temporary file without a name, so that nothing of it outlives this process."""
    with writing(spool_place(url)):
        return tempfile.TemporaryFile()


def fetched(url: str, get: Callable[[str], None]) -> BinaryIO:
    """What ``get`` writes to the path that it is given, open."""
    with writing(spool_place(url)):
        folder = tempfile.TemporaryDirectory(prefix="energon-prep-")
    with folder:  # the open file outlives its name
        path = Path(folder.name) / "file"
        get(str(path))
        return path.open("rb")


def etags(file: BinaryIO, part: int) -> set[str]:
    """The ETags that a store makes of MD5s: of the whole, and of the parts' own."""
    file.seek(0)
    whole, parts = hashlib.md5(usedforsecurity=False), list[bytes]()
    while data := file.read(part):
        whole.update(data)
        parts.append(hashlib.md5(data, usedforsecurity=False).digest())
    joined = hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()
    return {whole.hexdigest(), f"{joined}-{len(parts)}"}
