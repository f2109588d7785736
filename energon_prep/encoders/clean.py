"""Cleans captions before they are tokenized, as the models' own pipelines do."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Literal

from energon_prep.errors import PrepError

Cleaning = Literal["none", "whitespace", "wan", "lower"]


def cleaner(how: Cleaning) -> Callable[[str], str]:
    """The function that cleans one caption. Raises PrepError if it needs a package that is not
    installed.

    ``whitespace``: runs of white space become one space, none is left at the ends. ``wan``: before
    that, mojibake is mended (ftfy) and HTML entities are resolved twice, as in diffusers'
    WanPipeline and OpenCLIP. ``lower``: lower case, no white space at the ends, as in diffusers'
    SanaPipeline.
    """
    if how == "wan":
        return _wan()
    cleaners: dict[str, Callable[[str], str]] = {
        "none": str,
        "whitespace": _whitespace,
        "lower": _lower,
    }
    return cleaners[how]


def _wan() -> Callable[[str], str]:
    # diffusers goes on without ftfy, and then gives other embeddings on another machine.
    try:
        import ftfy
    except ImportError as error:
        raise PrepError(
            "captions are to be cleaned as Wan does it, which needs ftfy: install it with "
            "`pip install ftfy`, or leave them as they are with --set text.clean=whitespace"
        ) from error

    def clean(caption: str) -> str:
        return _whitespace(html.unescape(html.unescape(ftfy.fix_text(caption))))

    return clean


def _whitespace(caption: str) -> str:
    return re.sub(r"\s+", " ", caption).strip()


def _lower(caption: str) -> str:
    return caption.lower().strip()
