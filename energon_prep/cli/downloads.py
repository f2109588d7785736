"""The command line's account of models: what will be downloaded, from where, and what has to be
done first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from energon_prep.cli.console import warn
from energon_prep.layout import RUN

if TYPE_CHECKING:
    from energon_prep.encoders.downloads import Download
    from energon_prep.recipes.model import Recipe


def tell_downloads(recipe: Recipe, *, weights: str | None, dest: str | None) -> None:
    """Say on stderr which repositories a run needs, before anything heavy is imported.

    ``dest``: where the run will write; None: it will not. Raises PrepError if a repository cannot
    be had, unless ``dest`` has a run that is to be resumed, which may need no models.
    """
    from energon_prep.encoders.downloads import plan_downloads, refuse_problems

    downloads = plan_downloads(recipe, weights=weights)
    for line in download_lines(downloads):
        click.echo(f"models   {line}", err=True)
    if dest is not None and not (Path(dest) / RUN).exists():
        refuse_problems(downloads)
    for download in downloads:
        if download.problem:
            warn(download.problem)


def download_lines(downloads: list[Download]) -> Iterator[str]:
    """One line a repository, and the sum of several."""
    from energon_prep.encoders.downloads import gigabytes

    for download in downloads:
        yield (
            f"{download.repository} ({', '.join(download.encoders)}): "
            f"{_size(download)}{_terms(download)}"
        )
        if download.smaller and download.num_missing:
            yield f"the same text encoder is smaller in {download.smaller}: name that with --model"
    missing = [download.num_missing for download in downloads]
    if len(downloads) > 1 and all(number is not None for number in missing) and any(missing):
        exact = all(download.exact for download in downloads)
        yield f"in all {gigabytes(sum(number or 0 for number in missing), exact=exact)} to download"


def _size(download: Download) -> str:
    from energon_prep.encoders.downloads import gigabytes

    if download.num_bytes is None:
        return "of unknown size"
    whole = gigabytes(download.num_bytes, exact=download.exact)
    if not download.num_cached:
        return f"{whole} to download"
    if not download.num_missing:
        return f"{whole}, all of it cached"
    return (
        f"{gigabytes(download.num_missing, exact=download.exact)} to download of {whole}, the "
        "rest is cached"
    )


def _terms(download: Download) -> str:
    licence = f"; {download.licence}" if download.licence else ""
    if not download.gated or download.num_missing == 0:
        return licence
    return (
        f"{licence}, to be accepted first at https://huggingface.co/{download.repository} (hf "
        "auth login, HF_TOKEN)"
    )
