"""``energon-prep index``."""

from __future__ import annotations

import click

from energon_prep.cli.console import emit, print_index_report


@click.command()
@click.argument("dst", default=".")
@click.option("--split", default="1,0,0", show_default=True, metavar="A,B,C", help="Shares of train, val and test.")
@click.option("--subflavor", "subflavors", multiple=True, metavar="K=V", help="Said of every sample in dataset.yaml.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes that read tars.")
@click.option("--force", is_flag=True, help="Prepare again, and overwrite an edited dataset.yaml.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(dst: str, split: str, subflavors: tuple[str, ...], workers: int | None, force: bool, as_json: bool) -> None:
    """Make DST loadable by Megatron-Energon: a non-interactive `energon prepare` for CrudeWebdataset.

    Also prepares tars that this tool did not write. Running it again changes nothing that is current.
    """
    from energon_prep.indexing import index

    pairs = {}
    for item in subflavors:
        key, equals, value = item.partition("=")
        if not equals:
            raise click.UsageError(f"--subflavor {item!r}: give KEY=VALUE")
        pairs[key] = value
    report = index(dst, split=split, subflavors=pairs or None, workers=workers, force=force)
    if as_json:
        emit(report.to_dict())
    else:
        print_index_report(report)
