"""Part values -> bytes; equal values give equal bytes, on every call and every machine."""

from __future__ import annotations

import functools
import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


def serialize(parts: Mapping[str, Any]) -> dict[str, bytes]:
    """Bytes of each part, by the part's suffix: ``pth``, ``pickle``, ``json``. Bytes stay as they
    are.
    """
    return {name: _dump(name, value) for name, value in parts.items()}


def dumps_pth(tensor: torch.Tensor) -> bytes:
    """What ``torch.load`` reads. A view is cloned first: torch.save of ``batch[i]`` would write the
    whole batch.
    """
    tensor = tensor.detach().cpu().contiguous()
    if tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size():
        tensor = tensor.clone()
    return _FILES.dump(tensor)


def dumps_pickle(value: Any) -> bytes:
    """What ``pickle.loads`` reads. ``pickle.dumps`` of a tensor differs from call to call, this
    does not.
    """
    pieces = _Pieces()
    _StablePickler(pieces, protocol=4).dump(value)
    return b"".join(pieces.written)


def dumps_json(value: Any) -> bytes:
    """Strict JSON in ASCII: NaN, which other languages' parsers refuse, is an error here."""
    return json.dumps(value, allow_nan=False).encode("ascii")


def dumps_npy_of_one(tensor: torch.Tensor) -> bytes:
    """What ``numpy.load`` reads of a batch of one: [1, ...] in float32, which holds bfloat16
    exactly.
    """
    buffer = io.BytesIO()
    np.save(
        buffer, tensor.detach().to("cpu", torch.float32).unsqueeze(0).numpy(), allow_pickle=False
    )
    return buffer.getvalue()


_DUMPERS = {"pth": dumps_pth, "pickle": dumps_pickle, "json": dumps_json}


def _dump(name: str, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return _DUMPERS[name.rpartition(".")[2]](value)


class _Pieces:
    """A file of what is written to it: a pickler hands large bytes over as they are, to be copied
    once at the end.
    """

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


class _StablePickler(pickle.Pickler):
    """Stores a tensor as its torch.save bytes, which plain ``pickle.loads`` reads back."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, torch.Tensor):
            return torch.storage._load_from_bytes, (dumps_pth(obj),)
        return NotImplemented


_NUMBERS = "data/0"
_ID = ".data/serialization_id"
#: bytes of numbers; a few could be mistaken for something else, too many need ZIP64
_LEAST, _MOST = 64, 2**31
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_MASK = 2**64 - 1


@dataclass(frozen=True, kw_only=True)
class _Form:
    """A file of torch.save to be filled in: ``head``, the numbers, ``tail``; places are offsets in
    the tail.
    """

    head: bytes
    tail: bytes
    crc: int  #: of the numbers in the file that this was made of
    crc_at: tuple[int, ...]
    id_at: int
    id_crc_at: tuple[int, ...]
    names_hash: bytes  #: first half of the id, of the records' names
    crc_before: int  #: second half, as far as the records before the numbers make it
    crcs_after: tuple[int, ...]

    def fill(self, numbers: memoryview, crc: int) -> bytes:
        id_ = self.names_hash + b"%020d" % functools.reduce(
            _combine, (crc, *self.crcs_after), self.crc_before
        )
        tail = bytearray(self.tail)
        tail[self.id_at : self.id_at + len(id_)] = id_
        for value, places in ((crc, self.crc_at), (zlib.crc32(id_), self.id_crc_at)):
            for at in places:
                tail[at : at + 4] = value.to_bytes(4, "little")
        return b"".join((self.head, numbers, tail))


class TorchFiles:
    """Writes tensors as torch.save does, without the work that is the same for all of a shape.

    Of two files of tensors of one dtype and shape nothing differs but the numbers, their CRC-32 and
    the file's id, which is made of the CRCs of all records. So the first that torch.save writes is
    a form to be filled in for the others: 60 us less for each tensor, of 66 us (8 KB) to 130 us
    (240 KB); with torch.save alone an encode without models is 26 % slower. The second is written
    both ways: a torch that writes files in another way than is known here goes on writing them
    itself. Keeps the forms of the first ``most`` shapes, of 2 KB each.
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._forms: dict[Hashable, _Form] = {}
        #: whether the form of a shape gave what torch.save did
        self._proven: dict[Hashable, bool] = {}

    def dump(self, tensor: torch.Tensor) -> bytes:
        """The bytes that torch.save writes of a contiguous CPU tensor that has its storage for
        itself.
        """
        if (
            type(tensor) is not torch.Tensor
            or tensor.dtype not in _DTYPES
            or not _LEAST <= tensor.nbytes < _MOST
        ):
            return _saved(tensor)
        # of one row the stride can be anything, and is written
        shape = (tensor.dtype, tensor.shape, tensor.stride())
        form, proven = self._forms.get(shape), self._proven.get(shape)
        if proven is False:
            return _saved(tensor)
        numbers = memoryview(tensor.reshape(-1).view(torch.uint8).numpy().data)
        if form is not None and proven:
            return form.fill(numbers, zlib.crc32(numbers))
        saved = _saved(tensor)
        if form is not None:
            crc = zlib.crc32(numbers)
            if crc != form.crc:
                self._proven[shape] = form.fill(numbers, crc) == saved
        elif len(self._forms) < self._most:
            try:
                self._forms[shape] = _parse(saved, numbers)
            except (ValueError, KeyError, IndexError, struct.error, zipfile.BadZipFile):
                self._proven[shape] = False
        return saved


def _parse(saved: bytes, numbers: memoryview) -> _Form:
    """Find the places in a file of torch.save. Raises ValueError or KeyError, among others, if it
    is not as known.
    """
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        records = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        id_ = archive.read(records[_ID])
    start = records[_NUMBERS].header_offset + 30  # the local header, then its name and extra field
    start += sum(struct.unpack("<HH", saved[start - 4 : start]))
    tail = saved[start + len(numbers) :]
    names = list(records)
    at = names.index(_NUMBERS)
    return _Form(
        head=saved[:start],
        tail=tail,
        crc=records[_NUMBERS].CRC,
        crc_at=_places(tail, records[_NUMBERS].CRC),
        id_at=tail.index(id_),
        id_crc_at=_places(tail, records[_ID].CRC),
        names_hash=id_[: len(id_) // 2],
        crc_before=functools.reduce(_combine, (records[name].CRC for name in names[:at]), 0),
        crcs_after=tuple(records[name].CRC for name in names[at + 1 :] if name != _ID),
    )


def _places(tail: bytes, crc: int) -> tuple[int, ...]:
    mark, places, at = crc.to_bytes(4, "little"), list[int](), -1
    while (at := tail.find(mark, at + 1)) >= 0:
        places.append(at)
    return tuple(places)


def _combine(seed: int, value: int) -> int:
    """``at::hash_combine`` of PyTorch, by which ``PyTorchStreamWriter::writeSerializationId`` joins
    the CRCs.
    """
    return (seed ^ (value + 0x9E3779B9 + (seed << 6) + (seed >> 2))) & _MASK


def _saved(tensor: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    return buffer.getvalue()


_FILES = TorchFiles()
