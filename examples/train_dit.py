"""Trains a small diffusion transformer on a dataset that ``energon-prep encode`` made, on the CPU
in under a minute.

python examples/train_dit.py DATASET --checkpoint run.pt              # 200 steps, then saves
python examples/train_dit.py DATASET --checkpoint run.pt --resume     # 200 more, from where it was
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from megatron.energon import WorkerConfig, get_savable_loader, get_train_dataset
from torch import Tensor, nn

from task_encoders import LatentBatch, LatentTaskEncoder

PATCH = 2


def open_loader(dataset_dir: Path, batch_size: int, workers: int) -> Any:
    """Endless batches; each is of one latent shape, and in a tenth of the samples the caption is
    empty.
    """
    dataset = get_train_dataset(
        dataset_dir,
        task_encoder=LatentTaskEncoder(caption_dropout=0.1, text_dtype=torch.float32),
        worker_config=WorkerConfig.default_worker_config(num_workers=workers),
        batch_size=batch_size,
        shuffle_buffer_size=100,
        max_samples_per_sequence=None,
    )
    return get_savable_loader(dataset)


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """[...] -> [..., width]: sines and cosines of ``width / 2`` frequencies (Vaswani et al.
    2017).
    """
    frequencies = torch.exp(-math.log(10_000) * torch.arange(width // 2) / (width // 2))
    angles = positions[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def grid_positions(shape: tuple[int, ...], width: int) -> Tensor:
    """[T*H*W, width]: a third of the width for each axis. Computed, so that a bucket may have any
    shape.
    """
    axes = torch.meshgrid(*(torch.arange(size) for size in shape), indexing="ij")
    return torch.cat([sinusoids(axis.flatten().float(), width // 3) for axis in axes], dim=-1)


class Block(nn.Module):
    """Self-attention, cross-attention to the text, MLP; shifted, scaled and gated by the time
    (adaLN-zero, DiT).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.cross_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.modulation = nn.Linear(width, 6 * width)
        for layer in (self.modulation, self.cross_attention.out_proj):
            # every block starts as the identity
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, time: Tensor, text: Tensor, padding: Tensor) -> Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(time)[:, None].chunk(
            6, dim=-1
        )
        y = self.norm(x) * (1 + scale_a) + shift_a
        x = x + gate_a * self.self_attention(y, y, y, need_weights=False)[0]
        x = (
            x
            + self.cross_attention(
                self.norm(x), text, text, key_padding_mask=padding, need_weights=False
            )[0]
        )
        return x + gate_m * self.mlp(self.norm(x) * (1 + scale_m) + shift_m)


class DiT(nn.Module):
    """Predicts the velocity of noised latents (Peebles and Xie 2023, with cross-attention to
    text).
    """

    def __init__(
        self, channels: int, text_width: int, width: int = 96, depth: int = 4, heads: int = 4
    ) -> None:
        super().__init__()
        self.width = width
        self.patches = nn.Linear(channels * PATCH**2, width)
        self.time = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.text = nn.Sequential(nn.LayerNorm(text_width), nn.Linear(text_width, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, channels * PATCH**2))
        nn.init.zeros_(self.output[-1].weight)

    def forward(self, latents: Tensor, time: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """[B, C, T, H, W], [B] in [0, 1], [B, S, D], [B, S] -> [B, C, T, H, W]"""
        # [B, T, C*4, H/2, W/2]
        patches = nn.functional.pixel_unshuffle(latents.transpose(1, 2), PATCH)
        patches = patches.movedim(2, -1)  # [B, T, H/2, W/2, C*4]
        x = self.patches(patches.flatten(1, 3)) + grid_positions(patches.shape[1:4], self.width)
        time, text = self.time(sinusoids(1000 * time, self.width)), self.text(text)
        for block in self.blocks:
            x = block(x, time, text, ~text_mask)
        y = self.output(x).unflatten(1, patches.shape[1:4]).movedim(-1, 2)
        return nn.functional.pixel_shuffle(y, PATCH).transpose(1, 2)


def flow_loss(model: DiT, batch: LatentBatch, step: int) -> Tensor:
    """Rectified flow (Liu et al. 2022): predict noise - latent on the straight line between
    them.
    """
    latents = batch.latents.float()
    # of the step alone, so that a resumed run draws the same
    generator = torch.Generator().manual_seed(step)
    noise = torch.randn(latents.shape, generator=generator)
    time = torch.rand(len(latents), generator=generator)
    t = time.view(-1, 1, 1, 1, 1)
    predicted = model((1 - t) * latents + t * noise, time, batch.text, batch.text_mask)
    return nn.functional.mse_loss(predicted, noise - latents)


def train(
    dataset_dir: Path, checkpoint: Path, *, steps: int, resume: bool = False, workers: int = 1
) -> Any:
    """Train ``steps`` more and save. Returns the loss and the sample keys of every step, earlier
    runs included.
    """
    torch.manual_seed(0)
    first = next(iter(open_loader(dataset_dir, batch_size=1, workers=0)))
    model = DiT(first.latents.shape[1], first.text.shape[2])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loader, history = open_loader(dataset_dir, batch_size=4, workers=workers), []
    if resume:
        # a file of our own, with Energon's classes in it
        saved = torch.load(checkpoint, weights_only=False)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        loader.restore_state_rank(saved["loader"])
        history = saved["history"]
    with contextlib.closing(iter(loader)) as batches:
        # an iterator left open holds up the end of the program
        for batch in islice(batches, steps):
            loss = flow_loss(model, batch, step=len(history))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append((loss.item(), batch.__key__))
            if len(history) % 20 == 0:
                print(
                    f"step {len(history):4d}  loss {loss.item():.4f}  latents "
                    f"{list(batch.latents.shape)}"
                )
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "loader": loader.save_state_rank(),
        }
    torch.save({**state, "history": history}, checkpoint.with_suffix(".partial"))
    checkpoint.with_suffix(".partial").replace(checkpoint)
    return history


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path, nargs="?", default=Path("energon-prep-demo/encoded"))
    parser.add_argument("--checkpoint", type=Path, default=Path("train_dit.pt"))
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()
    losses = [
        loss
        for loss, _ in train(args.dataset, args.checkpoint, steps=args.steps, resume=args.resume)
    ]
    n = max(1, len(losses) // 5)
    before, after = sum(losses[:n]) / n, sum(losses[-n:]) / n
    print(f"mean loss of the first {n} steps {before:.4f}, of the last {n} steps {after:.4f}")
    if after >= before:
        sys.exit("the loss did not go down")
