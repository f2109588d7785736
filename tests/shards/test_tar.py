from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.shards.tar import TarWriter, _header

SAMPLES = st.lists(
    st.dictionaries(
        st.sampled_from(["json", ".pth", "pickle"]), st.binary(max_size=1500), min_size=1
    )
)


@given(SAMPLES)
def test_tarfile_reads_back_what_was_written(samples: list[dict[str, bytes]]) -> None:
    file = io.BytesIO()
    writer = TarWriter(file)
    for i, parts in enumerate(samples):
        writer.write(f"samples/sample_{i:09d}", parts)
    digest = writer.finish()
    data = file.getvalue()
    assert digest == hashlib.sha256(data).hexdigest()
    assert writer.num_bytes == len(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
        found = [(m.name, tar.extractfile(m).read()) for m in members]  # type: ignore[union-attr]
    expected = [
        (f"samples/sample_{i:09d}.{p}", d)
        for i, parts in enumerate(samples)
        for p, d in parts.items()
    ]
    assert found == expected
    assert all(m.mtime == 0 and m.uid == 0 and m.uname == "" and not m.pax_headers for m in members)


@given(
    st.text(st.characters(max_codepoint=126), min_size=1, max_size=100), st.integers(0, 8**11 - 1)
)
def test_headers_are_those_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    assert _header(name, size) == info.tobuf(
        format=tarfile.USTAR_FORMAT, encoding="ascii", errors="strict"
    )


@pytest.mark.parametrize(("name", "size"), [("caf\u00e9", 1), ("x" * 101, 1), ("x", 8**11)])
def test_names_and_sizes_beyond_ustar_raise(name: str, size: int) -> None:
    with pytest.raises(ValueError):
        _header(name, size)


def test_large_samples_are_written_piece_by_piece_to_the_same_bytes() -> None:
    parts = {"json": b"{}", "pth": bytes(range(256)) * 400, "pickle": b"x" * 512}
    written: list[bytes] = []

    class File(io.BytesIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            written.append(data)
            return super().write(data)

    file = File()
    writer = TarWriter(file)
    writer.write("samples/a", parts)
    writer.finish()
    assert any(data is parts["pth"] for data in written)
    with tarfile.open(fileobj=io.BytesIO(file.getvalue())) as tar:
        assert {m.name: tar.extractfile(m).read() for m in tar} == {  # type: ignore[union-attr]
            f"samples/a.{part}": data for part, data in parts.items()
        }
