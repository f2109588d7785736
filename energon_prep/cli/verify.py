"""``energon-prep verify``."""

from __future__ import annotations

import click

from energon_prep.cli.console import emit, print_verify_report
from energon_prep.layout import BAD_DIR


@click.command()
@click.argument("dest", metavar="[DST]", default=".")
@click.option(
    "--deep/--quick",
    default=True,
    help="Deep (what is done by default): checksums, every part decoded safely, contract and keys. "
    "Quick: sizes, counts, ledger and index; no tar is opened.",
)
@click.option(
    "--mark-bad",
    is_flag=True,
    help="Set aside what is damaged: the same encode then makes just that again.",
)
@click.option(
    "--target",
    metavar="NAME|MODULE:CLASS",
    help="The trainer's contract to check against; known for our own datasets.",
)
@click.option(
    "--source",
    metavar="SRC",
    help="Prove DST against what it was made of, wherever that lies by now: all samples are read "
    "again and compared, and those told that only one of the two has.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes that read tars. [default: by the bytes to be read]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    dest: str,
    deep: bool,
    mark_bad: bool,
    target: str | None,
    source: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Reopen everything in DST and prove it: counts, checksums, index, and every part against the
    contract.

    Exit code 1, with the list of what is wrong, unless all is right. To repair: verify --mark-bad,
    then the same encode again.
    """
    from energon_prep.verifying import verify

    report = verify(
        dest,
        deep=deep,
        mark_bad=mark_bad,
        target=target,
        source=source,
        workers=workers,
        progress=True,
    )
    if as_json:
        emit(report.to_dict())
    else:
        print_verify_report(report)
        for name in report.marked:
            click.echo(f"set aside in {BAD_DIR}: {name}")
        if report.marked:
            click.echo("to repair: run the same encode again")
        elif report.repairable:
            click.echo("to repair: run verify --mark-bad, then the same encode again")
    if not report.ok:
        ctx.exit(1)
