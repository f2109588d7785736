"""Station 1, sources: a folder of images and videos, each with its caption and metadata in files beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from energon_prep.errors import PrepError, SampleError
from energon_prep.formats import MEDIA_SUFFIXES
from energon_prep.samples import PendingSample, RawSample
from energon_prep.sources.account import Account
from energon_prep.sources.base import Entry, Piece
from energon_prep.sources.captions import find_captions, parse_object
from energon_prep.sources.media import read_media, read_text_file
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.walk import printable, suffix_of, walk


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """Every media file below ``root`` is a sample; ``cats/1.jpg`` goes with ``cats/1.txt``, ``.caption`` and ``.json``.

    Media of the same stem are samples of their own that share caption and key. Nothing outside ``root`` is read.
    """

    root: Path
    options: SourceOptions = SourceOptions()

    def describe(self) -> dict[str, Any]:
        return {"kind": "folder", "root": str(self._real_root), **self.options.describe()}

    def list(self, account: Account) -> Iterator[Entry]:
        """One entry per media file, sorted by path. Raises PrepError if there are none."""
        media_key = self.options.media_key
        suffixes = MEDIA_SUFFIXES if media_key is None else (f".{media_key.lower().lstrip('.')}",)
        path = None
        for path in walk(self.root, lambda name: suffix_of(name) in suffixes):
            account.find()
            account.add_sample()
            yield Entry(path, 0, _size(self.root / path))
        if path is None:
            raise PrepError(f"no images or videos in {self.root}: looked for files named {' '.join(suffixes)}")

    def read(self, piece: Piece) -> Iterator[PendingSample]:
        """The one sample that ``piece`` can be."""
        key, source = printable(str(Path(piece.path).with_suffix(""))), printable(piece.path)
        for _ in range(piece.count):
            yield PendingSample(key=key, source=source, load=partial(self._load, piece.path, key))

    def _load(self, path: str, key: str) -> RawSample:
        file = self.root / path
        self._check_inside(file, stage="read")
        metadata = self._read_beside(file, "json", stage="read")
        values = {} if metadata is None else parse_object(metadata)
        captions = find_captions(
            partial(self._read_beside, file, stage="caption"),
            values,
            options=self.options,
            key=key,
            media_name=file.name,
        )
        media = read_media(file, max_bytes=self.options.max_bytes)
        return RawSample(
            key=key,
            source=printable(path),
            media_name=printable(file.name),
            media=media,
            captions=captions.texts,
            num_captions_left_out=captions.num_left_out,
            metadata=values,
        )

    def _read_beside(self, file: Path, suffix: str, *, stage: str) -> bytes | None:
        """The text file of the same stem, its suffix as given or in upper case."""
        if "/" in suffix:  # a caption key that only a JSON can have
            return None
        for spelling in (suffix, suffix.upper()):
            beside = file.with_name(f"{file.stem}.{spelling}")
            self._check_inside(beside, stage=stage)
            data = read_text_file(beside, stage=stage)
            if data is not None:
                return data
        return None

    def _check_inside(self, file: Path, *, stage: str) -> None:
        if file.is_symlink():
            real = os.path.realpath(file)  # of a link to itself the link, where Path.resolve would raise
            if not Path(real).is_relative_to(self._real_root):
                raise SampleError(stage, "a link leads out of the source folder", f"to {printable(real)}")

    @cached_property
    def _real_root(self) -> Path:
        return self.root.resolve()


def _size(file: Path) -> int:
    """Bytes of the file, 0 for a link that leads nowhere: its ``load`` says so."""
    try:
        return file.stat().st_size
    except OSError:
        return 0
