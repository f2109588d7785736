from __future__ import annotations

from benchmarks.hot_path import by_file, hot_functions


def test_what_every_image_passes_is_on_the_way_and_what_runs_once_is_not() -> None:
    planning, way = hot_functions("dit", 24)
    assert {("decode/image.py", "decode_image"), ("targets/dit.py", "DiT.check")} <= way
    assert not {("run/encode.py", "encode"), ("pipeline/line.py", "encode_shards")} & way
    assert ("sources/folders/folder.py", "FolderSource.list") in planning - way
    assert sum(map(len, by_file(way).values())) == len(way)
    assert len(by_file(way)) <= 25
