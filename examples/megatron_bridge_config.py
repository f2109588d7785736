"""Where the cookers and task encoders go in a Megatron-Bridge data configuration; runs without Megatron-Bridge.

python examples/megatron_bridge_config.py DATASET

Bridge trains diffusion models from a ``DiffusionDataModuleConfig``, whose ``__post_init__`` builds a data module around
a task encoder. There are two places for ours, and this file has both. What is marked STAND-IN is in Bridge already:
delete it and import Bridge's. The rest goes into a module of yours that the recipe imports.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from megatron.energon import (
    Cooker,
    TaskEncoder,
    WorkerConfig,
    basic_sample_keys,
    get_savable_loader,
    get_train_dataset,
    stateless,
)

from cookers import cook_latents
from task_encoders import LatentTaskEncoder


# STAND-IN for megatron.bridge.diffusion.data.common.diffusion_energon_datamodule.DiffusionDataModule,
# with the arguments that Bridge's own gives to Energon.
@dataclass(kw_only=True)
class DiffusionDataModule:
    path: str
    task_encoder: TaskEncoder
    micro_batch_size: int
    num_workers: int

    def train_dataloader(self) -> Any:
        dataset = get_train_dataset(
            self.path,
            task_encoder=self.task_encoder,
            worker_config=WorkerConfig.default_worker_config(self.num_workers),
            batch_size=self.micro_batch_size,
            batch_drop_last=True,
            shuffle_buffer_size=100,
            max_samples_per_sequence=None,
        )  # and virtual_epoch_length=1_000_000_000, of which Energon 7.4 makes a list: 36 GB of memory
        return get_savable_loader(dataset)


# Way 1: a training step of your own, which reads the fields of LatentBatch. In Bridge, derive the class from
# DiffusionDataModuleConfig (same module as above) and pass seq_length, global_batch_size and packing_buffer_size on.
@dataclass(kw_only=True)
class LatentDataConfig:
    path: str
    micro_batch_size: int = 1
    num_workers: int = 2
    caption_dropout: float = 0.1

    def __post_init__(self) -> None:
        encoder = LatentTaskEncoder(
            caption_dropout=self.caption_dropout,
            empty_caption=self.path,
            latent_dtype=torch.bfloat16,
            text_dtype=torch.bfloat16,
        )
        self.dataset = DiffusionDataModule(
            path=self.path,
            task_encoder=encoder,
            micro_batch_size=self.micro_batch_size,
            num_workers=self.num_workers,
        )

    def build_datasets(self, context: Any = None) -> tuple[Iterator[Any], None, None]:
        return iter(self.dataset.train_dataloader()), None, None


# Way 2: Bridge's task encoder and step stay, and only the decoding becomes ours. Bridge's cooks a dict of these parts.
@stateless
def cook_parts(sample: dict[str, Any]) -> dict[str, Any]:
    cooked = cook_latents(sample)
    return {**basic_sample_keys(sample), "pth": cooked.latent, "pickle": cooked.text, "json": cooked.metadata}


class SafeTaskEncoder(TaskEncoder):  # in Bridge: (WanTaskEncoder), and pass it in place of that
    decoder = None  # Energon's default decoder runs whatever the dataset's pickles ask for
    cookers = [Cooker(cook_parts)]


def main(dataset_dir: str) -> None:
    train, _, _ = LatentDataConfig(path=dataset_dir, micro_batch_size=2, num_workers=0).build_datasets()
    batch = next(train)
    print(f"way 1: latents {list(batch.latents.shape)} {batch.latents.dtype}, text {list(batch.text.shape)}")

    module = DiffusionDataModule(path=dataset_dir, task_encoder=SafeTaskEncoder(), micro_batch_size=1, num_workers=0)
    sample = next(iter(module.train_dataloader()))
    print(f"way 2: pth {list(sample['pth'].shape)}, pickle {list(sample['pickle'].shape)}")


if __name__ == "__main__":
    main(sys.argv[1])
