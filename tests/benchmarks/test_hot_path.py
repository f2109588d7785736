from __future__ import annotations

from benchmarks.hot_path import by_file, hot_functions


def test_what_every_image_passes_is_hot_and_what_runs_once_is_not() -> None:
    hot = hot_functions("dit", 6)
    assert {("decode/image.py", "decode_image"), ("targets/dit.py", "DiT.check")} <= hot
    assert not {("run/encode.py", "encode"), ("pipeline/line.py", "encode_shards")} & hot
    assert sum(map(len, by_file(hot).values())) == len(hot)
