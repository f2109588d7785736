"""``energon-prep demo``."""

from __future__ import annotations

from pathlib import Path

import click

from energon_prep.cli.console import (
    print_encode_report,
    print_index_report,
    print_verify_report,
)


@click.command()
@click.argument("folder", default="energon-prep-demo", type=click.Path(path_type=Path))
@click.option("--recipe", default="dit", show_default=True, help="A recipe's name or a YAML file.")
@click.option(
    "--num", default=48, show_default=True, type=click.IntRange(min=1), help="Images to make."
)
def command(folder: Path, recipe: str, num: int) -> None:
    """The whole way on a small dataset made for it, offline, in FOLDER: raw, encode, index, verify,
    load a batch.
    """
    from energon_prep.demo.data import make_raw_dataset
    from energon_prep.device.tuning import tune_process

    tune_process()
    from energon_prep.indexing import index
    from energon_prep.loading import describe_batch, first_batch
    from energon_prep.run.encode import encode
    from energon_prep.verifying import verify

    raw, encoded = folder / "raw", folder / "encoded"
    _step(f"raw images and captions in {raw}")
    if not raw.exists():
        make_raw_dataset(raw, num=num)
    for path in sorted(raw.rglob("*.txt"))[:3]:
        click.echo(f"  {path.relative_to(raw)}: {path.read_text(encoding='utf-8')}")

    _step(f"energon-prep encode {raw} {encoded} --recipe {recipe} --weights tiny --resolution 256")
    report = encode(
        raw,
        encoded,
        recipe=recipe,
        weights="tiny",
        resolution=256,
        samples_per_shard=16,
        progress=True,
    )
    print_encode_report(report)

    _step(f"energon-prep index {encoded} --split 2,1,0")
    print_index_report(index(encoded, split="2,1,0"))

    _step(f"energon-prep verify {encoded}")
    proof = verify(encoded)
    print_verify_report(proof)
    if not proof.ok:
        raise click.ClickException("the demo's dataset is not right: please report this")

    _step("a batch, as Megatron-Energon gives it to the training step")
    for line in describe_batch(first_batch(encoded, batch_size=4)):
        click.echo(f"  {line}")

    _step("what to type next")
    click.echo(f"  python examples/train_dit.py {encoded}          train a small DiT on it")
    click.echo("  energon-prep encode YOUR_FOLDER ENCODED --recipe dit --split 8,1,1")
    click.echo("  energon-prep recipes                            the other recipes")


def _step(text: str) -> None:
    click.secho(f"\n{text}", bold=True)
