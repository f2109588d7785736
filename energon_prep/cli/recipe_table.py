"""The command line's facts of a recipe: what it downloads, under which terms, what it computes in
and stores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from energon_prep.recipes.model import Recipe, Text, Visual


def facts(recipe: Recipe) -> dict[str, str]:
    """By column, from the catalogue alone: nobody is asked, nothing heavy is imported."""
    from energon_prep.encoders.downloads import catalogued_downloads, gigabytes

    downloads = catalogued_downloads(recipe)
    sizes = [download.num_bytes for download in downloads if download.num_bytes is not None]
    terms = dict.fromkeys(
        f"{download.licence or 'unknown'}{', accepted first' if download.gated else ''}"
        for download in downloads
    )
    computed, stored = _dtypes(recipe)
    return {
        "repository": " + ".join(
            download.repository
            + (f" ({', '.join(download.encoders)})" if len(downloads) > 1 else "")
            for download in downloads
        ),
        "download": gigabytes(sum(sizes), exact=False)
        if len(sizes) == len(downloads)
        else "unknown",
        "licence": "; ".join(terms),
        "computes in": _shown(computed),
        "stores": _shown(stored),
    }


def _dtypes(recipe: Recipe) -> tuple[dict[str, str], dict[str, str]]:
    """What each encoder computes in, and what is stored of it."""
    from energon_prep.encoders.catalog import TEXT_FAMILIES, VISUAL_FAMILIES, find, pipelines_dtype

    specs: list[tuple[str, Visual | Text]] = [
        ("visual", recipe.visual),
        *((text.name, text) for text in recipe.text),
    ]
    computed: dict[str, str] = {}
    stored: dict[str, str] = {}
    for name, spec in specs:
        info = find(spec.model, VISUAL_FAMILIES if spec is recipe.visual else TEXT_FAMILIES)
        computed[name] = spec.compute_dtype or (
            pipelines_dtype(info.family) if info else "as its pipeline"
        )
        stored[name] = spec.dtype
    return computed, stored


def _shown(dtypes: dict[str, str]) -> str:
    """One word if all are the same."""
    if len(set(dtypes.values())) == 1:
        return next(iter(dtypes.values()))
    return ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
