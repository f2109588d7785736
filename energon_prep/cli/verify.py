"""``energon-prep verify``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from energon_prep.cli.console import emit, print_verify_report

_PER_WORKER = 2**30  #: bytes of tars that are worth the start of a process
_LONG = 5.0  #: seconds after which a user wants to know how far it is


@click.command()
@click.argument("dst", default=".")
@click.option(
    "--quick/--deep",
    help="Quick: sizes, counts, ledger and index; no tar is opened. "
    "Deep (what is done by default): checksums, every part decoded safely, contract and keys too.",
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
    "--workers",
    type=click.IntRange(min=1),
    help="Processes that read tars. [default: by the bytes to be read]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    dst: str,
    quick: bool,
    mark_bad: bool,
    target: str | None,
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
        dst,
        deep=not quick,
        mark_bad=mark_bad,
        target=target,
        workers=workers or (1 if quick else _enough_workers(Path(dst))),
        progress=_LineProgress(),
    )
    if as_json:
        emit(report.to_dict())
    else:
        print_verify_report(report)
        for name in report.marked:
            click.echo(f"set aside in .energon-prep/bad: {name}")
        if report.marked:
            click.echo("to repair: run the same encode again")
        elif report.repairable:
            click.echo("to repair: run verify --mark-bad, then the same encode again")
    if not report.ok:
        ctx.exit(1)


def _enough_workers(root: Path) -> int:
    """A process for every GiB, as many as there are processors."""
    from energon_prep.device.devices import num_cpus

    total = sum(path.stat().st_size for path in root.glob("*.tar") if path.is_file())
    return max(1, min(num_cpus(), total // _PER_WORKER))


class _LineProgress:
    """A line on stderr at each tenth of the way, where the way is long."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._told = 0

    def __call__(self, done: int, total: int) -> None:
        seconds = time.monotonic() - self._started
        tenth = 10 * done // total
        if tenth > self._told and seconds > _LONG:
            self._told = tenth
            left = seconds * (total - done) / done
            click.echo(f"verify: {done} of {total} shards, {left:.0f} s left", err=True)
