"""``energon-prep index``."""

from __future__ import annotations

import click

from energon_prep.cli.console import emit, print_index_report, print_repair_report, warn


@click.command()
@click.argument("dest", metavar="[DST]", default=".")
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
    multiple=True,
    metavar="K=V",
    help="Said of every sample in dataset.yaml, besides the target's.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes that read tars.")
@click.option(
    "--fix",
    metavar="NEWDIR",
    help="Rewrite DST's tars into NEWDIR so that Energon reads them; index it.",
)
@click.option("--force", is_flag=True, help="Prepare again, and overwrite an edited dataset.yaml.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    dest: str,
    split: str,
    sqlite: bool,
    subflavor: tuple[str, ...],
    workers: int | None,
    fix: str | None,
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
    for item in subflavor:
        key, equals, value = item.partition("=")
        if not equals:
            raise click.UsageError(f"--subflavor {item!r}: give KEY=VALUE")
        pairs[key] = value
    fixed = None if fix is None else repair(dest, fix)
    if fixed is not None:
        print_repair_report(fixed)
    report = index(
        dest if fix is None else fix,
        split=split,
        sqlite=sqlite,
        subflavor=pairs,
        workers=workers,
        force=force,
        progress=True,
        tell=warn,
    )
    if as_json:
        emit({**report.to_dict(), **({} if fixed is None else {"fixed": fixed.to_dict()})})
        return
    print_index_report(report)
    if not report.sqlite:
        click.echo(
            "index.sqlite was left out: training in sequence does not need it, joins and "
            "random access do"
        )
    elif not sqlite:
        click.echo("index.sqlite is current, and was kept")
