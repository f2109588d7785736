"""``energon-prep verify``."""

from __future__ import annotations

import click

from energon_prep.cli.console import emit, print_verify_report


@click.command()
@click.argument("dst", default=".")
@click.option("--target", metavar="NAME", help="The trainer's contract to check against; known for our own datasets.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that read tars.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def command(ctx: click.Context, dst: str, target: str | None, workers: int, as_json: bool) -> None:
    """Reopen everything in DST and prove it: counts, checksums, index, and every part against the contract.

    Exit code 1, with the list of what is wrong, unless all is right.
    """
    from energon_prep.verifying import verify

    report = verify(dst, target=target, workers=workers)
    if as_json:
        emit(report.to_dict())
    else:
        print_verify_report(report)
    if not report.ok:
        ctx.exit(1)
