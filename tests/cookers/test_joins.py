from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from megatron.energon import prepare_metadataset
from megatron.energon.epathlib import EPath

from cookers import DecodeError, LatentSample, replace_text
from task_encoders import DiTTaskEncoder, LatentTaskEncoder
from tests.datasets import Parts, Poison, write_samples
from tests.task_encoders.trainers import (
    IMAGE,
    WIDTH,
    numbers,
    open_loader,
    serialized,
    stored,
    take,
)

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")

NUM_SAMPLES = 6


def latents(serial: int, **more: Any) -> dict[str, Any]:
    return {**stored("dit", serial, IMAGE), **more}


def captioned(serial: int, *, dot: str = "") -> dict[str, Any]:
    """Texts of 5 tokens whose first number tells the serial, plus 100."""
    about = {"caption": f"new {serial}", "text_tokens": 5, "height": -1}
    return {dot + "json": about, dot + "pickle": numbers(serial, 5, WIDTH) + 100}


def write(path: Path, samples: list[Parts], *, empty: float, target: str = "dit") -> Path:
    return write_samples(
        path,
        samples,
        num_shards=1,
        subflavors={"target": target},
        empty_caption=torch.full((1, WIDTH), empty),
    )


@pytest.fixture
def both(tmp_path: Path) -> Path:
    write(tmp_path / "old", [serialized(latents(n)) for n in range(NUM_SAMPLES)], empty=0.25)
    texts = [serialized(captioned(n)) for n in range(NUM_SAMPLES - 1)]
    write(tmp_path / "new", texts, empty=0.5)
    return tmp_path


def joined(folder: Path) -> Path:
    path = folder / "joined.yaml"
    path.write_text(
        "__module__: megatron.energon\n__class__: MetadatasetV2\nsplits:\n  train:\n    join:\n"
        "      latents: {path: ./old}\n"
        "      text: {path: ./new, nonmatch: skip}\n"
        "    joiner: {__module__: cookers, __function__: replace_text}\n"
    )
    prepare_metadataset(EPath(path))
    return path


def by_key(batches: list[Any]) -> dict[str, Any]:
    return {batch.__key__[0]: batch for batch in batches}


def test_new_text_with_the_old_latents(both: Path) -> None:
    found = by_key(list(open_loader(joined(both), LatentTaskEncoder(), repeat=False)))
    assert len(found) == NUM_SAMPLES - 1
    for serial in range(NUM_SAMPLES - 1):
        batch = found[f"{serial:09d}"]
        assert torch.equal(batch.latents[0], numbers(serial, *IMAGE))
        assert torch.equal(batch.text[0], numbers(serial, 5, WIDTH) + 100)
        assert batch.metadata[0]["caption"] == f"new {serial}"
        assert batch.metadata[0]["height"] > 0  # of the latent


def test_the_empty_caption_is_that_of_the_text(both: Path) -> None:
    encoder = LatentTaskEncoder(caption_dropout=1.0)
    found = by_key(list(open_loader(joined(both), encoder, repeat=False)))
    assert {float(batch.text.unique()) for batch in found.values()} == {0.5}


def test_a_restored_loader_goes_on_exactly(both: Path) -> None:
    def loader() -> Any:
        encoder = DiTTaskEncoder(seq_length=128, caption_dropout=0.5)
        return open_loader(joined(both), encoder, packing_buffer_size=4)

    whole, _ = take(loader(), 8)
    before, state = take(loader(), 3)
    restored = loader()
    restored.restore_state_rank(pickle.loads(pickle.dumps(state)))
    for one, other in zip(whole, before + take(restored, 5)[0], strict=True):
        assert torch.equal(one["video"], other["video"])
        assert torch.equal(one["context_embeddings"], other["context_embeddings"])


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_what_a_poisoned_pickle_asks_for_does_not_run(tmp_path: Path) -> None:
    poison = pickle.dumps(Poison(tmp_path / "ran"))
    write(tmp_path / "old", [{**serialized(latents(0)), "pickle": poison}], empty=0.25)
    write(tmp_path / "new", [{**serialized(captioned(0)), "pickle": poison}], empty=0.5)
    with pytest.raises(ValueError, match=r"posix\.system"):
        take(open_loader(joined(tmp_path), LatentTaskEncoder()), 1)
    assert not (tmp_path / "ran").exists()


def crude(parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"__key__": "a", "__restore_key__": ("a",), **parts, **fields}


def test_parts_with_a_dot() -> None:
    sample = replace_text(crude(stored("nemo-dit", 1, IMAGE)), crude(captioned(1, dot=".")))
    assert isinstance(sample, LatentSample)
    assert torch.equal(sample.text, numbers(1, 5, WIDTH) + 100)
    assert sample.metadata["caption"] == "new 1"


def test_a_sample_that_is_not_captioned_anew_keeps_its_text() -> None:
    assert torch.equal(replace_text(crude(latents(1)), None).text, numbers(1, 3, WIDTH))


def test_faults_name_the_sample() -> None:
    with pytest.raises(ValueError, match=r"sample a: no part 'pickle' .*there are: json"):
        replace_text(crude(latents(1)), crude({"json": {}}))
    with pytest.raises(DecodeError, match="sample a, part 'pickle'"):
        replace_text(crude(latents(1)), crude({"pickle": b"x"}))
    wan = {"__subflavors__": {"target": "wan"}}  # whose trainer would misread [1, S, D]
    with pytest.raises(ValueError, match=r"sample a, part 'pickle': .*not \[S, D\]"):
        replace_text(crude(latents(1), **wan), crude({"pickle": numbers(1, 1, 5, WIDTH)}))
