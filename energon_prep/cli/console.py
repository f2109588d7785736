"""The command line's voice: results on stdout, warnings on stderr."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from energon_prep.cli.streams import visible
from energon_prep.layout import REJECTS_DIR

if TYPE_CHECKING:
    from energon_prep.curate.repair import RepairReport
    from energon_prep.indexing import IndexReport
    from energon_prep.run.report import DryRun, EncodeReport
    from energon_prep.verifying import VerifyReport


def emit(report: dict[str, Any]) -> None:
    """A report for machines, with every warning: those told so far, its own and its index's."""
    index = report.get("index") or {}
    warnings = [*_told(), *report.get("warnings", ()), *index.get("warnings", ())]
    click.echo(json.dumps({**report, "warnings": list(dict.fromkeys(warnings))}, indent=2))


def say(line: str, *, err: bool = False) -> None:
    """One line, whatever the names in it are."""
    click.echo(visible(line.replace("\n", "\\n")), err=err)


def warn(line: str) -> None:
    """A warning, on stderr."""
    say(f"warning: {line}", err=True)
    _told().append(line)


def _told() -> list[str]:
    """The warnings of this command so far; ``main`` keeps what is logged there too."""
    context = click.get_current_context(silent=True)
    told = None if context is None else context.find_root().obj
    return [] if told is None else told


def print_encode_report(report: EncodeReport) -> None:
    say(
        f"{_samples(report.num_samples)} in = {report.num_written} written + "
        f"{report.num_rejected} rejected, in {_plural(report.num_shards, 'shard')} of {report.dest}"
    )
    for reason, number in sorted(report.rejects.items(), key=lambda item: -item[1]):
        say(f"  {number:>6} x {reason}")
        if example := report.examples.get(reason):
            say(f"           first {example}")
    if report.num_rejected:
        say(f"  each with its key in {report.dest}/{REJECTS_DIR}/")
    if report.notes:
        say("  of those written:")
    for note, number in report.notes.items():
        say(f"  {number:>6} x {note}")
    _print_account(report.found)
    if report.made_up:
        say(f"note: {report.made_up}")
    if report.num_new is not None:
        new = f"{_plural(report.num_new, 'new sample')}, planned behind those that were there"
        say(new if report.num_new else "nothing is new in the source: extended by 0 samples")
    fresh = report.num_samples - report.num_resumed
    if report.num_resumed:
        say(f"{report.num_resumed} samples were finished by earlier runs")
    if fresh and report.seconds:
        say(f"{_samples(fresh)} in {report.seconds:.1f} s, {fresh / report.seconds:.1f} samples/s")
    if report.limited_by:
        say(_limit(report))
    if report.index is not None:
        print_index_report(report.index, noted=report.made_up)


def _limit(report: EncodeReport) -> str:
    """Which station the others waited for, and what can be done about it."""
    limit, busy, waits = report.limited_by, report.profile["busy"], report.profile["waits"]
    seconds = max(report.profile["seconds"], 1e-9)
    if limit in ("visual", "text"):
        return (
            f"{limit}-bound: {busy[limit] / seconds:.0%} of the time in the {limit} encoders, "
            "as it should be; --batch-size auto or more devices may make it faster"
        )
    if limit == "write":
        return (
            f"write-bound: the models waited {waits['write'] / seconds:.0%} of the time for "
            "the disk of DST"
        )
    waited = f"{limit}-bound: the models waited {waits['decode'] / seconds:.0%} of the time"
    if limit == "read":
        return (
            f"{waited} for SRC: a faster disk, or more at once with --workers {2 * report.workers}"
        )
    if limit == "memory":
        return (
            f"{waited} for decoding, and that for its share of memory, a quarter of what was free: "
            "more --workers do not help, more memory does"
        )
    return (
        f"{waited} for decoding: try --workers {2 * report.workers}, if there are processors "
        "for them"
    )


def print_dry_run(dry_run: DryRun) -> None:
    recipe, source, plan = dry_run.recipe, dry_run.source, dry_run.plan
    say(f"source   {source['kind']}: {source.get('root', '')}")
    say(
        f"recipe   {recipe.name}: {recipe.visual.model} + "
        f"{', '.join(text.model for text in recipe.text)}"
    )
    say(f"target   {recipe.target}")
    say(
        f"plan     {_samples(plan.num_samples)} in {_plural(plan.num_shards, 'shard')}, "
        f"into {dry_run.dest}"
    )
    if plan.split:
        say(f"split    {_shares(plan.split)}")
    _print_account(dry_run.account.describe())
    say("nothing was written (--dry-run)")


def _print_account(found: dict[str, Any]) -> None:
    """What of the source is not in the dataset, and what else its user should know."""
    for kind, number in found["passed_over"].items():
        say(f"passed over: {number} {kind}, first {found['examples'][kind]}")
    for tar, what in found["damaged"].items():
        say(f"damaged: {tar}: {what}")
    for sentence in found["told"]:
        say(f"note: {sentence}")


def _shares(split: dict[str, int]) -> str:
    total = sum(split.values())
    return ", ".join(f"{name} {number} ({number / total:.1%})" for name, number in split.items())


def print_index_report(report: IndexReport, *, noted: str = "") -> None:
    """``noted``: what was told as a note already."""
    shares = ", ".join(
        f"{name} {_plural(shards, 'shard')} / {_samples(samples)}"
        for name, (shards, samples) in report.split.items()
    )
    state = "indexed" if report.prepared else "index is current"
    say(f"{state}: {_samples(report.samples)} in {_plural(report.shards, 'shard')}: {shares}")
    if report.dataset_yaml == "kept":
        say("dataset.yaml was edited by hand and is kept (--force overwrites it)")
    for warning in report.warnings:
        if warning not in (noted, *_told()):
            warn(warning)


def print_repair_report(report: RepairReport) -> None:
    """On stderr, as the index's report follows on stdout."""
    shown = f"{_samples(report.samples)} in {_plural(report.tars, 'tar')} of {report.dest}"
    say(f"fixed: {shown}, {report.renamed} renamed, {report.regrouped} regrouped", err=True)
    for line in report.losses():
        warn(line)


def print_verify_report(report: VerifyReport) -> None:
    for problem in report.problems:
        say(problem)
    for note in report.notes:
        say(f"note: {note}", err=True)
    state = "all right" if report.ok else _plural(report.num_problems, "problem")
    found = (
        f"{_plural(report.shards, 'shard')}, {_samples(report.samples)}, "
        f"{_plural(report.parts, 'part')}"
    )
    say(f"{state}: {found} {'checked' if report.deep else 'in the records; no tar was opened'}")
    if report.source:
        counts = ", ".join(f"{number} {what}" for what, number in report.source.items())
        click.echo(f"samples of the source: {counts}")


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _samples(number: int) -> str:
    return _plural(number, "sample")
