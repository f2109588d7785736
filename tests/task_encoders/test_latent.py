from __future__ import annotations

import contextlib
import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from megatron.energon import (
    Batch,
    WorkerConfig,
    get_loader,
    get_savable_loader,
    get_train_dataset,
    get_val_dataset,
    reraise_exception,
)
from megatron.energon.errors import FatalSampleError

from cookers import LatentSample
from task_encoders import EMPTY_CAPTION, Filters, LatentBatch, LatentTaskEncoder, load_empty_caption
from tests.datasets import SHAPES, WIDTH, Poison, sample_parts, write_dataset, write_samples
from tests.task_encoders.trainers import numbers, serialized, stored

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")

KEYS = [f"{serial:09d}" for serial in range(24)]


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dit") / "dataset")


def train_loader(
    dataset_dir: Path,
    encoder: LatentTaskEncoder | None = None,
    *,
    workers: int = 0,
    strict: bool = True,
    **options: Any,
) -> Any:
    handler = {"global_error_handler": reraise_exception} if strict else {}
    arguments = {
        "batch_size": 4,
        "shuffle_buffer_size": 8,
        "max_samples_per_sequence": None,
        **options,
    }
    dataset = get_train_dataset(
        dataset_dir,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=workers, **handler),
        task_encoder=encoder or LatentTaskEncoder(),
        **arguments,
    )
    return get_savable_loader(dataset)


def keys(batches: Any) -> list[str]:
    return [key for batch in batches for key in batch.__key__]


def sample(
    num_tokens: int = 3, *, width: int = WIDTH, pooled: torch.Tensor | None = None
) -> LatentSample:
    return LatentSample(
        __key__="a",
        __restore_key__=("a",),
        latent=torch.randn(SHAPES[0]).bfloat16(),
        text=torch.ones(num_tokens, width).bfloat16(),
        pooled=pooled,
        metadata={},
    )


# Through Energon


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_has_every_sample_once(dataset_dir: Path, workers: int) -> None:
    assert sorted(keys(train_loader(dataset_dir, workers=workers, repeat=False))) == KEYS


def test_an_uneven_epoch_ends_with_smaller_batches(dataset_dir: Path) -> None:
    batches = list(train_loader(dataset_dir, repeat=False, batch_size=5))  # 8 samples of each shape
    assert sorted(keys(batches)) == KEYS
    assert sorted(len(batch.latents) for batch in batches) == [3, 3, 3, 5, 5, 5]
    assert (
        len(keys(train_loader(dataset_dir, repeat=False, batch_size=5, batch_drop_last=True))) == 15
    )


def test_repeating_gives_full_batches_only(dataset_dir: Path) -> None:
    batches = list(itertools.islice(train_loader(dataset_dir, batch_size=5), 20))
    assert {len(batch.latents) for batch in batches} == {5}
    assert set(keys(batches)) == set(KEYS)


def test_dotted_parts_and_arrays(tmp_path: Path) -> None:
    dataset_dir = write_dataset(tmp_path / "nemo", dotted=True)
    batches = list(train_loader(dataset_dir, repeat=False))
    assert sorted(keys(batches)) == KEYS
    assert {batch.text.dtype for batch in batches} == {torch.float16}


def test_the_validation_dataset_and_the_plain_loader(dataset_dir: Path) -> None:
    worker_config = WorkerConfig(
        rank=0, world_size=1, num_workers=0, global_error_handler=reraise_exception
    )
    dataset = get_val_dataset(
        dataset_dir,
        split_part="train",
        worker_config=worker_config,
        batch_size=5,
        task_encoder=LatentTaskEncoder(),
    )
    assert sorted(keys(get_loader(dataset))) == KEYS


def test_what_is_in_a_batch(dataset_dir: Path) -> None:
    shapes = set()
    for batch in train_loader(dataset_dir, repeat=False):
        assert isinstance(batch, LatentBatch)
        assert isinstance(batch, Batch)
        shapes.add(tuple(batch.latents.shape[1:]))
        serials = [int(key) for key in batch.__key__]
        assert batch.metadata == [{"key": f"{n:09d}", "text_tokens": 1 + n % 7} for n in serials]
        assert batch.__subflavors__ == [{"target": "dit"}] * 4
        assert len(batch.__sources__) == 4
        assert batch.latents.dtype == batch.text.dtype == torch.bfloat16
        assert batch.latents[:, 0, 0, 0, 0].tolist() == serials
        assert batch.text[:, 0, 0].tolist() == serials
        assert batch.text_mask.dtype == torch.bool
        assert batch.text_mask.sum(1).tolist() == [1 + n % 7 for n in serials]
        assert batch.text.shape == (4, max(1 + n % 7 for n in serials), WIDTH)
        assert not batch.text[~batch.text_mask].any()
        assert batch.text_mask[:, 0].all()
        assert batch.pooled is None
    assert shapes == set(SHAPES)


def steps(loader: Any, count: int) -> tuple[list[Any], Any]:
    """What tells two runs apart (keys and, because of the dropout, token counts), and the loader's
    state.
    """
    with contextlib.closing(iter(loader)) as batches:
        taken = itertools.islice(batches, count)
        return [
            (batch.__key__, batch.text_mask.sum(1).tolist()) for batch in taken
        ], loader.save_state_rank()


@pytest.mark.parametrize(("workers", "stops"), [(0, (1, 5, 9)), (2, (5,))])
def test_a_restored_loader_goes_on_exactly(
    dataset_dir: Path, workers: int, stops: tuple[int, ...]
) -> None:
    def loader() -> Any:
        encoder = LatentTaskEncoder(caption_dropout=0.4, empty_caption=dataset_dir)
        return train_loader(dataset_dir, encoder, workers=workers)

    uninterrupted, _ = steps(loader(), 12)
    for stop in stops:
        before, state = steps(loader(), stop)
        restored = loader()
        restored.restore_state_rank(pickle.loads(pickle.dumps(state)))
        after, _ = steps(restored, 12 - stop)
        assert before + after == uninterrupted


def test_caption_dropout(dataset_dir: Path) -> None:
    encoder = LatentTaskEncoder(caption_dropout=0.5, empty_caption=dataset_dir)
    dropped = total = 0
    for batch in itertools.islice(train_loader(dataset_dir, encoder), 50):
        empty = (batch.text == 0).all(dim=(1, 2))
        serials = [int(key) for key in batch.__key__]
        tokens = [
            1 if drop or n == 0 else 1 + n % 7
            for n, drop in zip(serials, empty.tolist(), strict=True)
        ]
        assert batch.text_mask.sum(1).tolist() == tokens
        dropped, total = dropped + int(empty.sum()), total + len(serials)
    assert 0.35 < dropped / total < 0.65


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_poisoned_samples_are_skipped_and_do_not_run(tmp_path: Path) -> None:
    poison = pickle.dumps(Poison(tmp_path / "ran"))
    dataset_dir = write_dataset(
        tmp_path / "dataset", replace={3: {"pickle": poison}, 9: {"pth": poison}}
    )
    left = keys(train_loader(dataset_dir, repeat=False, strict=False))
    assert sorted(left) == [key for key in KEYS if int(key) not in (3, 9)]
    with pytest.raises(ValueError, match=r"posix\.system|torch\.save"):
        list(train_loader(dataset_dir, repeat=False))
    assert not (tmp_path / "ran").exists()


def test_a_text_that_is_too_long(tmp_path: Path) -> None:
    long = sample_parts(5, SHAPES[5 % 3], num_tokens=9)
    dataset_dir = write_dataset(tmp_path / "dataset", replace={5: long})
    with pytest.raises(
        ValueError, match="000000005: text of 9 tokens, more than max_text_tokens=8"
    ):
        list(train_loader(dataset_dir, LatentTaskEncoder(max_text_tokens=8), repeat=False))
    batches = list(
        train_loader(dataset_dir, LatentTaskEncoder(max_text_tokens=8, truncate=True), repeat=False)
    )
    assert sorted(keys(batches)) == KEYS
    assert max(int(batch.text_mask.sum(1).max()) for batch in batches) == 8


def test_an_empty_caption_of_another_width_stops_the_training(dataset_dir: Path) -> None:
    encoder = LatentTaskEncoder(caption_dropout=1.0, empty_caption=torch.zeros(1, WIDTH + 1))
    with pytest.raises(FatalSampleError, match="empty caption"):
        # also where Energon skips faulty samples
        list(train_loader(dataset_dir, encoder, repeat=False, strict=False))


# Without Energon's loader


def test_padding_to_the_longest_allowed_text() -> None:
    batch = LatentTaskEncoder(max_text_tokens=16, pad_to_max=True).batch([sample(3), sample(5)])
    assert batch.text.shape == (2, 16, WIDTH)
    assert batch.text_mask.sum(1).tolist() == [3, 5]


def test_pooled_embeddings_are_stacked() -> None:
    pooled = torch.arange(8.0)
    encoder = LatentTaskEncoder()
    batch = encoder.batch([sample(pooled=pooled), sample(pooled=pooled)])
    assert torch.equal(batch.pooled, torch.stack([pooled, pooled]))
    with pytest.raises(ValueError, match="1 of 2 samples have pooled"):
        encoder.batch([sample(pooled=pooled), sample()])


def test_mixed_widths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"widths \[32, 64\]"):
        LatentTaskEncoder().batch([sample(), sample(width=64)])


def test_dtypes_are_converted(dataset_dir: Path) -> None:
    encoder = LatentTaskEncoder(text_dtype=torch.float32, latent_dtype=torch.float16)
    batch = next(iter(train_loader(dataset_dir, encoder)))
    assert (batch.text.dtype, batch.latents.dtype) == (torch.float32, torch.float16)


def test_a_batch_is_moved_whole(dataset_dir: Path) -> None:
    batch = next(iter(train_loader(dataset_dir)))
    batch.encoders = {"t5": {"hidden": batch.text}}
    moved = batch.to("meta")
    tensors = (moved.latents, moved.text, moved.text_mask, moved.encoders["t5"]["hidden"])
    assert all(tensor.is_meta for tensor in tensors)
    assert moved.pooled is None
    assert (moved.__key__, moved.metadata) == (batch.__key__, batch.metadata)
    assert not batch.latents.is_meta
    pooled = LatentTaskEncoder().batch([sample(pooled=torch.ones(4))])
    assert pooled.to("meta").pooled.is_meta


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_batch_is_pinned(dataset_dir: Path) -> None:
    batch = next(iter(train_loader(dataset_dir)))
    assert isinstance(batch, LatentBatch)
    assert batch.latents.is_pinned()
    assert batch.text_mask.is_pinned()


def test_where_the_empty_caption_comes_from(dataset_dir: Path, tmp_path: Path) -> None:
    stored = torch.zeros(1, WIDTH).bfloat16()
    for source in (
        stored,
        stored[None],
        dataset_dir,
        str(dataset_dir),
        dataset_dir / EMPTY_CAPTION,
    ):
        empty = load_empty_caption(source)
        assert torch.equal(empty.text, stored)
        assert empty.pooled is None
    both = {"prompt_embeds": stored.float().numpy(), "pooled_prompt_embeds": torch.ones(4)}
    (tmp_path / "empty.pickle").write_bytes(pickle.dumps(both))
    empty = load_empty_caption(tmp_path / "empty.pickle")
    assert empty.text.shape == (1, WIDTH)
    assert empty.pooled is not None
    assert torch.equal(empty.pooled, torch.ones(4))
    assert load_empty_caption(empty) is empty


def test_every_text_encoder_of_a_generic_dataset(tmp_path: Path) -> None:
    """T5 has hidden states and CLIP both; the masks are each encoder's own."""
    empty = {
        "t5": {"hidden": torch.zeros(1, 8)},
        "clip": {"hidden": torch.zeros(2, 6), "pooled": torch.zeros(4)},
    }
    parts = []
    for serial in range(2):
        hidden = {"t5": numbers(serial + 1, 3 + serial, 8), "clip": numbers(serial + 1, 5, 6)}
        text = {
            "t5": {"hidden": hidden["t5"]},
            "clip": {"hidden": hidden["clip"], "pooled": numbers(serial + 1, 4)},
        }
        parts.append(serialized({**stored("generic", serial, SHAPES[0]), "pickle": text}))
    dataset_dir = write_samples(
        tmp_path / "dataset", parts, subflavors={"target": "generic"}, empty_caption=empty
    )
    encoder = LatentTaskEncoder(text_dtype=torch.float32, pad_to_max=True, max_text_tokens=6)
    batch = next(iter(train_loader(dataset_dir, encoder, batch_size=2, shuffle_buffer_size=None)))
    t5, clip = batch.encoders["t5"], batch.encoders["clip"]
    assert (t5["hidden"].shape, clip["hidden"].shape, clip["pooled"].shape) == (
        (2, 6, 8),
        (2, 6, 6),
        (2, 4),
    )
    assert sorted(t5["mask"].sum(1).tolist()) == [3, 4]
    assert clip["mask"].sum(1).tolist() == [5, 5]
    assert clip["hidden"].dtype == torch.float32
    assert torch.equal(batch.text, t5["hidden"])
    assert torch.equal(batch.pooled, clip["pooled"])
    dropped = LatentTaskEncoder(caption_dropout=1.0, empty_caption=dataset_dir)
    batch = next(iter(train_loader(dataset_dir, dropped, batch_size=2)))
    assert batch.encoders["clip"]["mask"].sum(1).tolist() == [2, 2]
    assert not batch.encoders["clip"]["pooled"].any()


def test_filters_skip_samples(tmp_path: Path) -> None:
    parts = [serialized(stored("dit", serial, SHAPES[0])) for serial in range(6)]
    dataset_dir = write_samples(tmp_path / "dataset", parts)
    encoder = LatentTaskEncoder(filters=Filters(min_aesthetic_score=4))
    assert sorted(keys(train_loader(dataset_dir, encoder, repeat=False))) == KEYS[4:6]


def test_arguments_that_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no embedding of the empty caption at .*empty_caption\.pickle"
    ):
        LatentTaskEncoder(caption_dropout=0.1, empty_caption=tmp_path)
    with pytest.raises(ValueError, match=r"caption_dropout=1\.5"):
        LatentTaskEncoder(caption_dropout=1.5)
    with pytest.raises(ValueError, match="empty_caption is given and caption_dropout is 0"):
        LatentTaskEncoder(empty_caption=tmp_path)
    with pytest.raises(ValueError, match="pad_to_max"):
        LatentTaskEncoder(max_text_tokens=None, pad_to_max=True)
    (tmp_path / "poison.pickle").write_bytes(pickle.dumps(Poison(tmp_path / "ran")))
    with pytest.raises(ValueError, match=r"poison\.pickle: .*posix\.system"):
        LatentTaskEncoder(caption_dropout=0.1, empty_caption=tmp_path / "poison.pickle")
