"""``energon-prep index``."""

from __future__ import annotations

import time

import click

from energon_prep.cli.console import emit, print_index_report, print_repair_report

_LONG = 5.0  #: seconds after which a user wants to know how far it is


@click.command()
@click.argument("dst", default=".")
@click.option(
    "--split",
    default="1,0,0",
    show_default=True,
    metavar="A,B,C",
    help="Shares of train, val and test.",
)
@click.option(
    "--sqlite/--no-sqlite",
    default=True,
    help="With index.sqlite, for random access, or without it.",
)
@click.option(
    "--subflavor",
    "subflavors",
    multiple=True,
    metavar="K=V",
    help="Said of every sample in dataset.yaml, besides the target's.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes that read tars.")
@click.option(
    "--fix",
    "new",
    metavar="NEWDIR",
    help="Rewrite DST's tars into NEWDIR so that Energon reads them; index it.",
)
@click.option("--force", is_flag=True, help="Prepare again, and overwrite an edited dataset.yaml.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    dst: str,
    split: str,
    sqlite: bool,
    subflavors: tuple[str, ...],
    workers: int | None,
    new: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make DST loadable by Megatron-Energon: a non-interactive `energon prepare` for
    CrudeWebdataset.

    A dataset that this tool wrote is indexed from its ledger, without opening a tar; tars of others
    are prepared by Energon. Running it again changes nothing that is current. What Energon would
    stop at or pass over in them is told, and --fix mends it in a new folder: dots in keys, keys
    that occur twice, scattered parts, .tgz, cut tars.
    """
    from energon_prep.curate.repair import repair
    from energon_prep.indexing import index

    pairs = {}
    for item in subflavors:
        key, equals, value = item.partition("=")
        if not equals:
            raise click.UsageError(f"--subflavor {item!r}: give KEY=VALUE")
        pairs[key] = value
    fixed = None if new is None else repair(dst, new)
    if fixed is not None:
        print_repair_report(fixed)
    told: list[str] = []

    def tell(warning: str) -> None:
        told.append(warning)
        click.echo(f"warning: {warning}", err=True)

    report = index(
        dst if new is None else new,
        split=split,
        sqlite=sqlite,
        subflavors=pairs,
        workers=workers,
        force=force,
        progress=_LineProgress(),
        tell=tell,
    )
    if as_json:
        emit({**report.to_dict(), **({} if fixed is None else {"fixed": fixed.to_dict()})})
        return
    print_index_report(report, told=told)
    if not report.sqlite:
        click.echo(
            "index.sqlite was left out: training in sequence does not need it, joins and "
            "random access do"
        )
    elif not sqlite:
        click.echo("index.sqlite is current, and was kept")


class _LineProgress:
    """A line at each tenth of the way, where the way is long."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._told = 0

    def __call__(self, done: int, total: int) -> None:
        tenth = 10 * done // total
        if tenth > self._told and time.monotonic() - self._started > _LONG:
            self._told = tenth
            click.echo(f"index.sqlite: {done} of {total} shards", err=True)
