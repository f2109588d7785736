"""Whether packets of H.264 are missing, which its decoder makes up for in silence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_SLICE, _SLICE_PARTITION, _KEY_SLICE, _SPS, _PPS = 1, 2, 5, 7, 8  # types of NAL units
# Profiles whose parameter sets tell of chroma and scaling, ITU-T H.264 7.3.2.1.1.
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_HEADER_BYTES = 48  #: of a slice: the numbers that count lie in its first few


@dataclass(frozen=True, kw_only=True)
class _Numbering:
    """What a sequence parameter set says of the numbers of frames."""

    num_bits: int
    has_planes: bool  #: slices tell a colour plane before their number
    may_skip: bool  #: gaps are meant


class FrameNumbers:
    """Follows ``frame_num`` (ITU-T H.264 7.4.3), which counts the frames that others refer to.

    ``extradata``: the stream's parameter sets, as in MP4 or with start codes; more may come in
    packets.
    """

    def __init__(self, extradata: bytes) -> None:
        self._sequences: dict[int, _Numbering] = {}
        self._pictures: dict[int, int] = {}  # picture parameter set -> sequence parameter set
        self._last: int | None = None  # number of the last frame that others refer to
        self._length_size = 0  # of a NAL unit's length; 0: start codes
        if extradata[:1] == b"\1" and len(extradata) > 6:
            self._length_size = (extradata[4] & 3) + 1
            for unit in _units_of_config(extradata):
                self._learn(unit)
        else:
            for unit in _units_by_start_codes(extradata):
                self._learn(unit)

    def has_gap(self, packet: bytes) -> bool:
        """Whether a frame that others refer to is missing before this packet."""
        units = (
            _units_by_length(packet, self._length_size)
            if self._length_size
            else _units_by_start_codes(packet)
        )
        for unit in units:
            kind = unit[0] & 31
            if kind in (_SPS, _PPS):
                self._learn(unit)
            elif kind in (_SLICE, _SLICE_PARTITION, _KEY_SLICE):
                return self._follow(unit)
        return False

    def _learn(self, unit: bytes) -> None:
        try:
            if unit[0] & 31 == _SPS:
                number, numbering = _parse_sequence(_Bits(unit[1:]))
                self._sequences[number] = numbering
            elif unit[0] & 31 == _PPS:
                bits = _Bits(unit[1:_HEADER_BYTES])
                self._pictures[bits.golomb()] = bits.golomb()
        except EOFError:
            return  # the decoder will not like it either

    def _follow(self, unit: bytes) -> bool:
        bits = _Bits(unit[1:_HEADER_BYTES])
        try:
            bits.golomb()  # first macroblock
            bits.golomb()  # kind of slice
            numbering = self._sequences.get(self._pictures.get(bits.golomb(), -1))
            if numbering is None or numbering.may_skip:
                return False
            bits.take(2 if numbering.has_planes else 0)
            number = bits.take(numbering.num_bits)
        except EOFError:
            return False
        last, is_key = self._last, unit[0] & 31 == _KEY_SLICE
        if unit[0] >> 5 & 3 or is_key:  # others refer to it
            self._last = number
        if last is None or is_key:
            return False
        # A frame that starts the count again without being a key (memory management control
        # operation 5, which encoders do not use) would be taken for a gap.
        return number not in (last, (last + 1) % (1 << numbering.num_bits))


class _Bits:
    """Bits of a NAL unit, the highest of each byte first, without the bytes that keep start codes
    out.
    """

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, num: int) -> int:
        if num > self._left:
            raise EOFError
        self._left -= num
        return self._value >> self._left & ((1 << num) - 1)

    def golomb(self) -> int:
        """An Exp-Golomb number, 9.1: as many zeros as bits follow the first one."""
        num_zeros = 0
        while not self.take(1):
            num_zeros += 1
        return (1 << num_zeros) - 1 + self.take(num_zeros)

    def signed(self) -> int:
        number = self.golomb()
        return (number + 1) // 2 if number % 2 else -(number // 2)


def _parse_sequence(bits: _Bits) -> tuple[int, _Numbering]:
    """A sequence parameter set, 7.3.2.1.1, as far as it is wanted. Raises EOFError."""
    profile = bits.take(8)
    bits.take(16)
    number, has_planes = bits.golomb(), False
    if profile in _HIGH_PROFILES:
        chroma = bits.golomb()
        has_planes = chroma == 3 and bits.take(1) == 1
        bits.golomb()
        bits.golomb()
        bits.take(1)
        if bits.take(1):
            for place in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling_list(bits, 16 if place < 6 else 64)
    num_bits = 4 + bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1)
        bits.signed()
        bits.signed()
        for _ in range(bits.golomb()):
            bits.signed()
    bits.golomb()
    return number, _Numbering(num_bits=num_bits, has_planes=has_planes, may_skip=bits.take(1) == 1)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last, following = 8, 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _units_of_config(config: bytes) -> Iterator[bytes]:
    """The parameter sets of an AVCDecoderConfigurationRecord, ISO 14496-15."""
    place = 5
    for mask in (31, 255):
        num = config[place] & mask if place < len(config) else 0
        place += 1
        for _ in range(num):
            size = int.from_bytes(config[place : place + 2], "big")
            unit = config[place + 2 : place + 2 + size]
            place += 2 + size
            if unit:
                yield unit


def _units_by_length(packet: bytes, length_size: int) -> Iterator[bytes]:
    place = 0
    while place + length_size < len(packet):
        size = int.from_bytes(packet[place : place + length_size], "big")
        place += length_size
        if size:
            yield packet[place : place + size]
        place += size


def _units_by_start_codes(packet: bytes) -> Iterator[bytes]:
    start = packet.find(b"\0\0\1")
    while start >= 0:
        behind = packet.find(b"\0\0\1", start + 3)
        unit = packet[start + 3 : behind if behind >= 0 else len(packet)]
        if unit:
            yield unit
        start = behind
