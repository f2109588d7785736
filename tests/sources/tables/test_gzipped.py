from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from energon_prep.errors import PrepError
from energon_prep.sources.tables import gzipped
from energon_prep.sources.tables.gzipped import open_gzip
from tests.sources.reading import write

# 2.6 MB
TEXT = b"".join(random.Random(0).randbytes(6).hex().encode() + b"\n" for _ in range(200_000))


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzipped, "_FIRST_STEP", 2**14)
    monkeypatch.setattr(gzipped, "_PIECE", 2**12)
    monkeypatch.setattr(gzipped, "_MOST_STATES", 16)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("num_members", [1, 3])
def test_any_place_is_read_as_in_the_unpacked_file(tmp_path: Path, num_members: int) -> None:
    size = -(-len(TEXT) // num_members)
    members = (gzip.compress(TEXT[start : start + size]) for start in range(0, len(TEXT), size))
    path = write(tmp_path / "m.gz", b"".join(members) + b"\0" * 512)
    draw = random.Random(1)
    with open_gzip(path) as file:
        assert file.read() == TEXT
        for _ in range(50):
            place = draw.randrange(len(TEXT) + 10)
            assert file.seek(place) == place
            assert file.read(100) == TEXT[place : place + 100]
    with open_gzip(path) as file:
        file.seek(len(TEXT) - 50)
        assert file.readline() == TEXT[-50:].splitlines(keepends=True)[0]


def test_pieces_in_turn_unpack_a_file_little_more_than_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "m.gz", gzip.compress(TEXT * 4))
    unpacked = 0
    take = gzipped._Unpacked._take

    def counted(self: gzipped._Unpacked, piece: bytes) -> None:
        nonlocal unpacked
        unpacked += len(piece)
        take(self, piece)

    monkeypatch.setattr(gzipped._Unpacked, "_take", counted)
    num_pieces = 50
    for number in range(num_pieces):
        with open_gzip(path) as file:  # as ``read`` does for each piece
            file.seek(number * len(TEXT) * 4 // num_pieces)
            assert file.readline()
    assert unpacked < 2 * 4 * len(TEXT) + num_pieces * (gzipped._FIRST_STEP + gzipped._PIECE)


def test_what_is_damaged_or_a_bomb_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(TEXT)
    for data, message in (
        (packed[:-1000], "it ends early"),
        (packed[:5000] + b"\xff" * 50 + packed[5050:], "cannot be unpacked beyond byte"),
        (b"no gzip", "cannot be unpacked beyond byte 0"),
    ):
        with (
            pytest.raises(PrepError, match=message),
            open_gzip(write(tmp_path / "m.gz", data)) as file,
        ):
            file.read()
    monkeypatch.setattr(gzipped, "_FREE_BYTES", 2**20)
    with (
        pytest.raises(PrepError, match="more than 200 times"),
        open_gzip(write(tmp_path / "bomb.gz", gzip.compress(b"\0" * 2**24))) as file,
    ):
        while file.read(2**16):
            pass
