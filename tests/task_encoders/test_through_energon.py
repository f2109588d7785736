"""What holds for every trainer's task encoder: epochs, restored loaders, caption dropout, faulty
samples.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from megatron.energon.errors import FatalSampleError

from task_encoders import DiTTaskEncoder, FluxTaskEncoder, NeMoDiTTaskEncoder, WanTaskEncoder
from tests.datasets import write_samples
from tests.task_encoders.trainers import (
    CLIP,
    IMAGE,
    POOLED_WIDTH,
    WIDE,
    WIDTH,
    open_loader,
    serialized,
    stored,
    take,
    write_target,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:'pin_memory' argument is set", "ignore:Detected pickle protocol"
)

Make = Callable[..., Any]

#: By name: target, encoder, options of the loader, name of the text in the batch.
CASES: dict[str, tuple[str, Make, dict[str, Any], str]] = {
    "wan": (
        "wan",
        lambda **options: WanTaskEncoder(seq_length=48, text_width=WIDTH, **options),
        {"packing_buffer_size": 5},
        "context_embeddings",
    ),
    "flux": (
        "flux",
        lambda **options: FluxTaskEncoder(text_width=WIDTH, pooled_width=POOLED_WIDTH, **options),
        {"batch_size": 2},
        "prompt_embeds",
    ),
    "dit": ("dit", DiTTaskEncoder, {"batch_size": 2}, "context_embeddings"),
    "dit packed": (
        "dit",
        lambda **options: DiTTaskEncoder(seq_length=192, **options),
        {"packing_buffer_size": 5},
        "context_embeddings",
    ),
    "nemo-dit": (
        "nemo-dit",
        lambda **options: NeMoDiTTaskEncoder(seq_length=32, **options),
        {"batch_size": 2},
        "t5_text_embeddings",
    ),
    "nemo-dit packed": (
        "nemo-dit",
        lambda **options: NeMoDiTTaskEncoder(max_seq_length=48, **options),
        {"packing_buffer_size": 5},
        "t5_text_embeddings",
    ),
}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Clips and images of two sizes in one dataset; images alone for flux."""
    root = tmp_path_factory.mktemp("targets")
    shapes = {"flux": [IMAGE, WIDE], "dit": [CLIP, IMAGE, WIDE], "wan": [CLIP, IMAGE, WIDE]}
    return {
        target: write_target(root / target, target, shapes.get(target, [CLIP, IMAGE, WIDE]) * 6)
        for target in ("wan", "flux", "dit", "nemo-dit")
    }


def open_case(datasets: dict[str, Path], case: str, *, repeat: bool = True, **options: Any) -> Any:
    target, make, loader_options, _ = CASES[case]
    return open_loader(datasets[target], make(**options), repeat=repeat, **loader_options)


def num_samples(batch: dict[str, Any]) -> int:
    return len(batch["seq_len_q"])


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return list(one) == list(other) and all(
        torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
        for name, value in one.items()
    )


def texts(batch: dict[str, Any], name: str) -> list[torch.Tensor]:
    """The first token of each sample's text."""
    rows = batch[name].reshape(-1, WIDTH)
    lengths = batch.get("seq_len_kv_padded", batch["seq_len_kv"])
    return [text[0] for text in rows.split(lengths.tolist())]


@pytest.mark.parametrize("case", CASES)
def test_an_epoch_has_every_sample_once(datasets: dict[str, Path], case: str) -> None:
    serials = Counter[int]()
    for batch in open_case(datasets, case, repeat=False):
        serials.update(int(text[0]) for text in texts(batch, CASES[case][3]))
    assert serials == Counter(range(12 if CASES[case][0] == "flux" else 18))


@pytest.mark.parametrize("case", CASES)
def test_a_restored_loader_goes_on_exactly(datasets: dict[str, Path], case: str) -> None:
    def loader() -> Any:
        target = CASES[case][0]
        return open_case(datasets, case, caption_dropout=0.4, empty_caption=datasets[target])

    whole, _ = take(loader(), 9)
    before, state = take(loader(), 4)
    restored = loader()
    restored.restore_state_rank(pickle.loads(pickle.dumps(state)))
    after, _ = take(restored, 5)
    assert all(same(one, other) for one, other in zip(whole, before + after, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_caption_dropout(datasets: dict[str, Path], case: str) -> None:
    target, _, _, name = CASES[case]
    batches, _ = take(
        open_case(datasets, case, caption_dropout=0.5, empty_caption=datasets[target]), 40
    )
    dropped = [not bool(text.any()) for batch in batches for text in texts(batch, name)]
    assert len(dropped) == sum(map(num_samples, batches))
    # sample 0 has a text of its own whose first number is zero too
    assert 0.3 < sum(dropped) / len(dropped) < 0.75
    if target == "flux":
        for batch in batches:
            gone = [not bool(text.any()) for text in texts(batch, name)]
            assert [not bool(pooled.any()) for pooled in batch["pooled_prompt_embeds"]] == gone


def test_an_empty_caption_of_another_width_stops_the_training(datasets: dict[str, Path]) -> None:
    loader = open_case(
        datasets, "dit", caption_dropout=1.0, empty_caption=torch.zeros(1, WIDTH + 1)
    )
    with pytest.raises(FatalSampleError, match="empty caption"):
        take(loader, 1)


@pytest.mark.parametrize("case", CASES)
def test_a_batched_text_is_an_error_and_no_corruption(tmp_path: Path, case: str) -> None:
    target, make, options, _ = CASES[case]
    samples = [stored(target, serial, IMAGE) for serial in range(4)]
    text_part = ".pickle" if target == "nemo-dit" else "pickle"
    text = samples[2][text_part]
    samples[2][text_part] = (
        {**text, "prompt_embeds": text["prompt_embeds"][None]} if target == "flux" else text[None]
    )
    dataset_dir = write_samples(
        tmp_path / "dataset", [*map(serialized, samples)], subflavors={"target": target}
    )
    if target == "dit":  # whose trainer reads it right
        assert sum(map(num_samples, open_loader(dataset_dir, make(), repeat=False, **options))) == 4
        return
    with pytest.raises(
        ValueError, match=r"sample 000000002, part '\.?pickle': .*shape \[1, 3, 8\], not \[S, D\]"
    ):
        list(open_loader(dataset_dir, make(), repeat=False, **options))
    tolerant = open_loader(dataset_dir, make(), repeat=False, strict=False, **options)
    assert sum(map(num_samples, tolerant)) == 3  # logged and left out


@pytest.mark.parametrize("case", CASES)
def test_a_dataset_of_another_target_is_refused_at_once(
    datasets: dict[str, Path], case: str
) -> None:
    target, make, options, _ = CASES[case]
    other = "flux" if target != "flux" else "wan"
    with pytest.raises(
        ValueError, match=f"dataset says target: '{other}'.* reads {target}, generic"
    ):
        open_loader(datasets[other], make(), **options)
