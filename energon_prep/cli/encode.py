"""``energon-prep encode``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from energon_prep.cli.console import emit, print_dry_run, print_encode_report, say
from energon_prep.cli.downloads import tell_downloads
from energon_prep.cli.stopping import stopped_by_signals
from energon_prep.errors import UsageError
from energon_prep.options import meanings
from energon_prep.run.options import EncodeOptions
from energon_prep.storage import dataset_folder

_MEANINGS = meanings(EncodeOptions)


def _option(spelling: str, **attributes: Any) -> Callable[[Any], Any]:
    """An option of the library, by its name, default and meaning."""
    name = spelling.removeprefix("--").replace("-", "_")
    default = getattr(EncodeOptions, name)
    if default and default is not True:
        attributes |= {"show_default": True}
    if not attributes.get("multiple"):
        attributes |= {"default": default}
    if default is False:
        attributes |= {"is_flag": True}
    return click.option(spelling, name, help=_MEANINGS[name], **attributes)


@click.command()
@click.argument("source", metavar="[SRC]", default=EncodeOptions.source)
@click.argument("dest", metavar="[DST]", default=EncodeOptions.dest)
@_option("--recipe")
@_option("--model", multiple=True, metavar="NAME|ID|DIR|MODULE:CLASS")
@_option("--vae", metavar="NAME|ID|DIR|MODULE:CLASS")
@_option("--weights", metavar="ID|DIR|tiny|random")
@_option("--set", multiple=True, metavar="KEY=VALUE")
@_option("--resolution", multiple=True, metavar="N|HxW")
@_option("--resize", type=click.Choice(["bucket", "crop", "fit", "stretch", "none"]))
@_option("--min-size", type=int)
@_option("--min-frames", type=int)
@_option("--min-seconds", type=float)
@_option("--min-fps", type=float)
@_option("--max-aspect", type=float)
@_option("--frames", type=click.IntRange(min=1))
@_option("--fps", type=float)
@_option("--frame-mode", type=click.Choice(["head", "uniform", "chunks", "images", "clip"]))
@_option("--dtype", type=click.Choice(["bf16", "fp16", "fp32"]))
@_option("--samples-per-shard", type=int)
@_option("--seed", type=int)
@_option("--source-kind", metavar="KIND")
@_option("--caption-key", multiple=True, metavar="K[:WEIGHT]")
@_option("--image-key", metavar="K")
@_option("--captions", type=click.Choice(["first", "longest", "all", "join", "draw"]))
@_option("--caption-lines")
@_option("--caption-encoding", metavar="NAME")
@_option("--caption", metavar="TEXT")
@_option("--caption-from-name")
@_option("--captions-dir", metavar="DIR")
@_option("--allow-empty-captions")
@_option("--media-root", metavar="DIR")
@_option("--include", multiple=True, metavar="PATTERN")
@_option("--exclude", multiple=True, metavar="PATTERN")
@_option("--follow-links")
@_option("--folder-repeats")
@_option("--allow-damaged")
@_option("--allow-unreadable")
@_option("--carry", metavar="image,caption,PART")
@_option("--limit", type=click.IntRange(min=1))
@_option("--shuffle", type=click.IntRange(min=0), metavar="SEED")
@_option("--device")
@_option("--workers", type=click.IntRange(min=1))
@_option("--batch-size", metavar="auto|N")
@_option("--phases")
@_option("--torch-threads", type=click.IntRange(min=1))
@_option("--max-rejects", metavar="N|P%")
@_option("--retry-rejects")
@_option("--update")
@_option("--extend")
@_option("--overwrite")
@_option("--split", metavar="A,B,C")
@_option("--profile", type=click.Path(dir_okay=False, writable=True), metavar="FILE")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@stopped_by_signals()
def command(dry_run: bool, as_json: bool, **options: Any) -> None:
    """Encode SRC (a folder, a manifest or tars; by default the folder you are in) into the
    dataset DST (by default ./encoded).

    Goes on where an earlier run of the same command was stopped, by Ctrl-C, SIGTERM or worse. Exit
    code 0 when every sample is written or accounted for as a reject, 1 when not, 2 when the
    command line, the recipe or the destination is refused and nothing was written.
    """
    options["set"] = _parse_sets(options["set"])
    options["resolution"] = list(options["resolution"]) or None
    given = EncodeOptions(**options)
    from energon_prep.run.resolve import resolve_recipe

    recipe = resolve_recipe(given)  # a wrong one is told before seconds of importing
    _require_media(given)
    if not as_json:
        way = f"{Path(given.source).absolute()} -> {dataset_folder(given.dest)}"
        say(f"encode   {way}, recipe {recipe.name} for target {recipe.target}", err=True)
    tell_downloads(recipe, weights=given.weights, dest=None if dry_run else str(given.dest))
    from energon_prep.device.tuning import tune_process

    tune_process()
    from energon_prep.run import encode as run

    if dry_run:
        planned = run.dry_run(**options)
        emit(planned.to_dict()) if as_json else print_dry_run(planned)
        return
    report = run.encode(**options, progress=True)
    emit(report.to_dict()) if as_json else print_encode_report(report)


def _require_media(given: EncodeOptions) -> None:
    """Of somebody who named no SRC and is in a folder without media."""
    if given.source == EncodeOptions().source and given.source_kind is None:
        from energon_prep.sources.detect import holds_any

        if not holds_any(Path(given.source)):
            raise click.UsageError(
                f"no images, videos, tars or tables in {Path.cwd()}: give SRC, or go where they "
                "are. For example: energon-prep encode PHOTOS ENCODED --recipe dit"
            )


def _parse_sets(sets: tuple[str, ...]) -> dict[str, Any]:
    import yaml

    from energon_prep.recipes.load import explain_yaml

    changes = {}
    for item in sets:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--set {item!r}: give KEY=VALUE, such as text.max_tokens=226")
        try:
            changes[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(
                f"--set {item!r}: the value is not YAML: {explain_yaml(error)}"
            ) from error
    return changes
