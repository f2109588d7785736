"""Files of torch.save whose numbers are taken where they lie, once one of their form was read."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

_NUMBERS = "data/0"
_ID = ".data/serialization_id"
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_OTHER_DIGITS = bytes.maketrans(b"0123456789", b"9876543210")

with warnings.catch_warnings():  # torch says once that bytes are not writable
    warnings.simplefilter("ignore")
    torch.frombuffer(bytes(1), dtype=torch.uint8)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """What files of one dtype and shape share: all but the numbers, their CRC-32 and the file's id,
    which is made of CRCs.
    """

    shared: tuple[tuple[int, bytes], ...]  #: offset and bytes
    start: int  #: of the numbers
    id: slice  #: forty digits, which torch.load makes a string of
    dtype: torch.dtype
    shape: torch.Size

    def tensor(self, data: bytes | bytearray) -> torch.Tensor | None:
        """The numbers of a file as long as that which the form was made of, if it is of this
        form.
        """
        for at, piece in self.shared:
            if not data.startswith(piece, at):
                return None
        if not data[self.id].isdigit():
            return None
        numbers = torch.frombuffer(
            data, dtype=self.dtype, count=self.shape.numel(), offset=self.start
        )
        return numbers.view(self.shape)


class TorchFiles:
    """Reads what ``load`` reads, and exactly that, without a copy of the numbers where it can.

    A file of one tensor that ``load`` has read is a form: of another file that differs from it in
    nothing but the numbers, their CRC-32 and its id, the numbers are taken as they lie. Such a form
    is proven first, by a file in which every bit of all that is other: ``load`` must give these
    numbers. So a torch that looks at the CRC, which the released ones do not, goes on reading every
    file itself. A proof takes as long as reading the file three times, so only the second file of a
    length is made a form. Keeps ``most`` forms, of 2 KB each, and ``most_alike`` of one length,
    which are looked through one by one.
    """

    def __init__(
        self, load: Callable[[bytes | bytearray], Any], *, most: int = 4096, most_alike: int = 8
    ) -> None:
        self._load = load
        self._left = most
        self._most = most
        self._most_alike = most_alike
        #: by the length of the files that were seen; None for one that was not proven
        self._forms: dict[int, list[_Form | None]] = {}

    def load(self, data: bytes) -> Any:
        """What ``load`` gives; a tensor may lie in ``data`` itself, to which nobody may write as
        long as the bytes are used.
        """
        forms = self._forms.get(len(data))
        for form in forms or ():
            tensor = None if form is None else form.tensor(data)
            if tensor is not None:
                return tensor
        value = self._load(data)
        if not _is_plain(value):
            return value
        if forms is None:
            if len(self._forms) < self._most:
                self._forms[len(data)] = []
        elif len(forms) < self._most_alike and self._left:
            self._left -= 1
            forms.append(self._proven(data, value))
        return value

    def _proven(self, data: bytes, value: torch.Tensor) -> _Form | None:
        """The form of a file that holds ``value``; None if it is not as known, or not proven."""
        try:
            numbers, id_, crcs = _places(data, value.nbytes)
            proof, shared, at = bytearray(data), [], 0
            bits = torch.frombuffer(proof, dtype=torch.uint8)
            for place in sorted((numbers, id_, *crcs), key=lambda place: place.start):
                shared.append((at, data[at : place.start]))
                at = place.stop
                bits[place].bitwise_not_()
            shared.append((at, data[at:]))
            proof[id_] = data[id_].translate(_OTHER_DIGITS)
            form = _Form(
                shared=tuple(shared),
                start=numbers.start,
                id=id_,
                dtype=value.dtype,
                shape=value.shape,
            )
            read, taken = self._load(proof), form.tensor(proof)
        except Exception:  # noqa: BLE001 - damaged bytes come out of zipfile as many types
            return None
        return form if taken is not None and _is_plain(read) and _same(read, taken) else None


def _is_plain(value: Any) -> bool:
    """A tensor that is its storage, from the first number to the last."""
    return (
        type(value) is torch.Tensor
        and value.dtype in _DTYPES
        and not value.requires_grad
        and not value.is_neg()
        and not vars(value)
        and value.numel() > 0
        and value.storage_offset() == 0
        and value.untyped_storage().nbytes() == value.nbytes
        and value.stride() == torch.empty(value.shape, device="meta").stride()
    )


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """In every bit."""
    return (one.dtype, one.shape) == (other.dtype, other.shape) and torch.equal(
        one.view(-1).view(torch.uint8), other.view(-1).view(torch.uint8)
    )


def _places(data: bytes, size: int) -> tuple[slice, slice, list[slice]]:
    """Where files of a form differ: the ``size`` bytes of numbers, the id, and both their CRC-32s,
    each behind its record and in the directory. Raises ValueError or KeyError, among others.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    differing = records[_NUMBERS], records[_ID]
    starts = []
    for info in differing:
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ValueError("torch.save compresses nothing")
        at = info.header_offset
        starts.append(at + 30 + sum(struct.unpack_from("<HH", data, at + 26)))
    start, id_start = starts
    if records[_NUMBERS].file_size != size:
        raise ValueError("more numbers, or less, than the tensor has")
    end = start + size
    crcs = []
    for info in differing:
        crc = info.CRC.to_bytes(4, "little")
        first = data.index(crc, end)
        second = data.index(crc, first + 4)
        if crc in data[second + 4 :]:
            raise ValueError("a CRC-32 that looks like something else")
        crcs += [slice(at, at + 4) for at in (first, second)]
    return slice(start, end), slice(id_start, id_start + records[_ID].file_size), crcs
