"""Where the cookers and task encoders go in a Megatron-Bridge data configuration; runs without
Megatron-Bridge.

python examples/megatron_bridge_config.py DATASET                 a dataset for WAN
python examples/megatron_bridge_config.py DATASET --model flux    one for FLUX

Bridge trains diffusion models from a ``DiffusionDataModuleConfig``, whose ``__post_init__`` builds
a data module around a task encoder. There are two places for ours, and this file has both. What is
marked STAND-IN is in Bridge already: delete it and import Bridge's. The rest goes into a module of
yours that the recipe imports.
"""

from __future__ import annotations

import argparse
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


# STAND-IN for megatron.bridge.data.energon.base_energon_datamodule.EnergonDataloader: batches
# without end, and the position among them, which Bridge puts into its checkpoints.
class EnergonDataloader:
    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._batches = self._run()

    def __iter__(self) -> Iterator[Any]:
        return self._batches

    def __next__(self) -> Any:
        return next(self._batches)

    def save_state(self) -> Any:
        return self._loader.save_state_rank()

    def restore_state(self, state: Any) -> None:
        self._loader.restore_state_rank(state)

    def _run(self) -> Iterator[Any]:
        while True:
            yield from self._loader


# STAND-IN for
# megatron.bridge.diffusion.data.common.diffusion_energon_datamodule.DiffusionDataModule, with the
# arguments that Bridge's own gives to Energon.
@dataclass(kw_only=True)
class DiffusionDataModule:
    path: str
    task_encoder: TaskEncoder
    micro_batch_size: int
    num_workers: int

    def train_dataloader(self) -> EnergonDataloader:
        dataset = get_train_dataset(
            self.path,
            task_encoder=self.task_encoder,
            worker_config=WorkerConfig.default_worker_config(self.num_workers),
            batch_size=self.micro_batch_size,
            batch_drop_last=True,
            shuffle_buffer_size=100,
            max_samples_per_sequence=None,
            # and virtual_epoch_length=1_000_000_000, of which Energon 7.4 makes a list: 36 GB of
            # memory
        )
        return EnergonDataloader(get_savable_loader(dataset))


# Way 1: a training step of your own, which reads the fields of LatentBatch. In Bridge, derive the
# class from DiffusionDataModuleConfig (same module as above) and pass seq_length, global_batch_size
# and packing_buffer_size on.
@dataclass(kw_only=True)
class LatentDataConfig:
    path: str
    micro_batch_size: int = 1
    num_workers: int = 2
    caption_dropout: float = 0.1

    def __post_init__(self) -> None:
        encoder = LatentTaskEncoder(
            caption_dropout=self.caption_dropout,
            latent_dtype=torch.bfloat16,
            text_dtype=torch.bfloat16,
        )
        self.dataset = DiffusionDataModule(
            path=self.path,
            task_encoder=encoder,
            micro_batch_size=self.micro_batch_size,
            num_workers=self.num_workers,
        )

    def build_datasets(self, context: Any = None) -> tuple[EnergonDataloader, None, None]:
        # The loader itself: Bridge looks for its save_state, and iter(loader) has none. What FLUX's
        # own configuration returns is iter(loader), so that a resumed run begins the data anew.
        return self.dataset.train_dataloader(), None, None


# Way 2: Bridge's task encoder and step stay, and only the decoding becomes ours. Bridge's cook a
# dict of these parts.
@stateless
def cook_wan_parts(sample: dict[str, Any]) -> dict[str, Any]:
    cooked = cook_latents(sample)
    return {
        **basic_sample_keys(sample),
        "pth": cooked.latent,
        "pickle": cooked.text,
        "json": cooked.metadata,
    }


@stateless
def cook_flux_parts(sample: dict[str, Any]) -> dict[str, Any]:
    cooked = cook_latents(sample)
    if cooked.pooled is None:  # for which Bridge would take zeros
        raise ValueError(f"sample {cooked.__key__}: no pooled embeddings, which FLUX has of CLIP")
    return {
        **basic_sample_keys(sample),
        "pth": cooked.latent[:, 0],  # [C, H, W]
        "pickle": {"prompt_embeds": cooked.text, "pooled_prompt_embeds": cooked.pooled},
        "json": cooked.metadata,
    }


class SafeWanTaskEncoder(TaskEncoder):  # in Bridge: (WanTaskEncoder), and pass it in place of that
    decoder = None  # Energon's default decoder runs whatever the dataset's pickles ask for
    cookers = [Cooker(cook_wan_parts)]


class SafeFluxTaskEncoder(TaskEncoder):
    # in Bridge: (FluxTaskEncoder), and pass it in place of that
    decoder = None
    cookers = [Cooker(cook_flux_parts)]


SAFE = {"wan": SafeWanTaskEncoder, "flux": SafeFluxTaskEncoder}


def main(dataset_dir: str, model: str) -> None:
    train, _, _ = LatentDataConfig(path=dataset_dir, num_workers=0).build_datasets()
    batch = next(train)
    print(
        f"way 1: latents {list(batch.latents.shape)} {batch.latents.dtype}, text "
        f"{list(batch.text.shape)}"
    )
    state = train.save_state()
    expected = next(train)
    resumed, _, _ = LatentDataConfig(path=dataset_dir, num_workers=0).build_datasets()
    resumed.restore_state(state)
    print(
        "way 1: resumed with the same batch: "
        f"{torch.equal(next(resumed).latents, expected.latents)}"
    )

    module = DiffusionDataModule(
        path=dataset_dir, task_encoder=SAFE[model](), micro_batch_size=1, num_workers=0
    )
    sample = next(module.train_dataloader())
    text = sample["pickle"] if model == "wan" else sample["pickle"]["prompt_embeds"]
    print(f"way 2: pth {list(sample['pth'].shape)}, pickle {list(text.shape)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--model", choices=SAFE, default="wan")
    args = parser.parse_args()
    main(args.dataset, args.model)
