from __future__ import annotations

import hashlib
import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from energon_prep.shards.tar import TarWriter

SAMPLES = st.lists(st.dictionaries(st.sampled_from(["json", ".pth", "pickle"]), st.binary(max_size=1500), min_size=1))


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
    expected = [(f"samples/sample_{i:09d}.{p}", d) for i, parts in enumerate(samples) for p, d in parts.items()]
    assert found == expected
    assert all(m.mtime == 0 and m.uid == 0 and m.uname == "" and not m.pax_headers for m in members)
