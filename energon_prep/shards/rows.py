"""The index rows of one tar, where each sample and part lies; noted as the tar is written.

shard_000000.rows    one line of JSON: how many samples and parts, the layouts
                     uint64: header offset of each sample, then the end of the last; that is the
                     tar's .idx uint64: offset, then size, of each part's content
                     uint32: layout of each sample
                     keys, a NUL between two
                     uint32: CRC-32 of all this; numbers are little-endian
"""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from operator import sub
from typing import BinaryIO

from energon_prep.tar_headers import DamagedTarError, whole_members


class ShardRows:
    """Grows sample by sample; ``end`` is where the members end and the end-of-archive mark begins.

    A layout is the part names of a sample, in order: few of them recur in millions of samples.
    """

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.end = 0
        self._offsets = array("Q")
        self._part_offsets = array("Q")
        self._part_sizes = array("Q")
        self._layouts: dict[tuple[str, ...], int] = {}
        self._layout_ids = array("I")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShardRows) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]

    @property
    def num_parts(self) -> int:
        return len(self._part_offsets)

    def add(self, key: str, offset: int, parts: Sequence[tuple[str, int, int]]) -> None:
        """Note the sample whose first header is at ``offset``: name, offset and size of the content
        of each part.
        """
        self.keys.append(key)
        self._offsets.append(offset)
        names = tuple(name for name, _, _ in parts)
        self._layout_ids.append(self._layouts.setdefault(names, len(self._layouts)))
        self._part_offsets.extend(offset for _, offset, _ in parts)
        self._part_sizes.extend(size for _, _, size in parts)

    def samples(self, tar: int) -> Iterator[tuple[int, str, int, int, int]]:
        """``tar``, key, number of the sample in the tar, its offset, its size with headers and
        padding.
        """
        num_samples = len(self.keys)
        sizes = map(sub, chain(self._offsets[1:], (self.end,)), self._offsets)
        return zip(
            repeat(tar, num_samples),
            self.keys,
            range(num_samples),
            self._offsets,
            sizes,
            strict=True,
        )

    def parts(self, tar: int) -> Iterator[tuple[int, int, str, int, int]]:
        """``tar``, number of the sample in the tar, part name, offset and size of the content."""
        layouts = list(self._layouts)
        numbers = chain.from_iterable(
            repeat(number, len(layouts[layout])) for number, layout in enumerate(self._layout_ids)
        )
        names = chain.from_iterable(map(layouts.__getitem__, self._layout_ids))
        return zip(
            repeat(tar, self.num_parts),
            numbers,
            names,
            self._part_offsets,
            self._part_sizes,
            strict=True,
        )

    def idx(self) -> bytes:
        """The content of the tar's .idx, as Energon's TarIndexWriter writes it."""
        return _pack(self._offsets + array("Q", [self.end]))

    def to_bytes(self) -> bytes:
        """Equal rows give equal bytes."""
        head = {"samples": len(self.keys), "parts": self.num_parts, "layouts": list(self._layouts)}
        numbers = (self._part_offsets, self._part_sizes, self._layout_ids)
        keys = "\0".join(self.keys).encode()
        data = b"".join(
            (json.dumps(head).encode("ascii"), b"\n", self.idx(), *map(_pack, numbers), keys)
        )
        return data + _crc(data)

    @classmethod
    def from_bytes(cls, data: bytes) -> ShardRows:
        """Raises ValueError for what ``to_bytes`` did not write."""
        if _crc(data[:-4]) != data[-4:]:
            raise ValueError("damaged: the CRC differs")
        head, _, body = data[:-4].partition(b"\n")
        try:
            fields = json.loads(head)
            num_samples, num_parts = int(fields["samples"]), int(fields["parts"])
            layouts = {
                tuple(map(str, names)): number for number, names in enumerate(fields["layouts"])
            }
        except (
            ValueError,
            KeyError,
            TypeError,
            RecursionError,
            OverflowError,
            AttributeError,
        ) as error:
            raise ValueError(
                f"not the rows of a shard ({type(error).__name__}: {error})"
            ) from error
        at = 8 * (num_samples + 1 + 2 * num_parts)
        if min(num_samples, num_parts) < 0 or len(body) < at + 4 * num_samples:
            raise ValueError("damaged: shorter than its head says")
        rows, numbers = cls(), unpack("Q", body[:at])
        rows._offsets, rows.end = numbers[:num_samples], numbers[num_samples]
        rows._part_offsets = numbers[num_samples + 1 : num_samples + 1 + num_parts]
        rows._part_sizes = numbers[num_samples + 1 + num_parts :]
        rows._layouts, rows._layout_ids = layouts, unpack("I", body[at : at + 4 * num_samples])
        rows.keys = body[at + 4 * num_samples :].decode().split("\0") if num_samples else []
        rows._require_counts(num_samples, num_parts)
        if max(numbers) >= 2**63:
            raise ValueError("damaged: an offset that no file has")
        return rows

    def _require_counts(self, num_samples: int, num_parts: int) -> None:
        sizes = dict(enumerate(map(len, self._layouts)))
        named = sum(sizes.get(layout, -1) for layout in self._layout_ids)
        if (len(self.keys), named) != (num_samples, num_parts):
            raise ValueError(f"damaged: not those of {num_samples} samples and {num_parts} parts")


def read_tar(file: BinaryIO) -> ShardRows:
    """The rows of a tar of ours, from its headers, whose contents are passed over. Raises
    DamagedTarError.
    """
    rows = ShardRows()
    key, first, parts = "", 0, list[tuple[str, int, int]]()
    for member in whole_members(file):
        if member.kind != "file":
            raise DamagedTarError(f"{member.name} is a {member.kind}, and no part of a sample")
        folder, slash, base = member.name.rpartition("/")
        stem, _, part = base.partition(".")  # as Energon splits names
        if parts and folder + slash + stem != key:
            rows.add(key, first, parts)
            parts = []
        if not parts:
            key, first = folder + slash + stem, member.start
        parts.append((part, member.data, member.size))
        rows.end = member.end
    if parts:
        rows.add(key, first, parts)
    return rows


def unpack(typecode: str, data: bytes) -> array[int]:
    """Little-endian numbers of the array type ``typecode``. Raises ValueError for a broken one."""
    numbers = array(typecode, data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")


def _pack(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()
