"""Joiners for Energon's metadatasets: one sample, made of the parts of two datasets."""

from __future__ import annotations

from typing import Any

from cookers.cook import as_object, has_part, latent_cooker, make_cooker, part_names, read_part
from cookers.safe import load_json
from cookers.samples import LatentSample
from cookers.trainers import CONTRACTS

#: Of the JSON, what goes with the text.
_OF_TEXT = ("caption", "text_tokens")

_COOKERS = {target: make_cooker(layout) for target, layout in CONTRACTS.items()}


def replace_text(latents: dict[str, Any], text: dict[str, Any] | None) -> LatentSample:
    """The latent and JSON of one sample with the text of another, of the same key::

        join:
          latents: {path: ENCODED}
          text: {path: CAPTIONED_ANEW, nonmatch: skip}
        joiner: {__module__: cookers, __function__: replace_text}

    Where ``text`` is None the sample keeps its own. ``caption`` and ``text_tokens`` of the JSON go
    with the text. Energon calls no cooker after a joiner: this one reads the parts as the
    ``target`` in the first dataset's subflavors says. Raises ValueError as ``make_cooker`` says.
    """
    return _cooked(latents if text is None else _joined(latents, text))


def _joined(latents: dict[str, Any], text: dict[str, Any]) -> dict[str, Any]:
    name = next((name for name in ("pickle", ".pickle") if name in text), None)
    if name is None:
        raise ValueError(
            f"sample {text['__key__']}: no part 'pickle' or '.pickle' to take the text from (there "
            f"are: {', '.join(part_names(text)) or 'none'})"
        )
    metadata = read_part(latents, "json", load_json, as_object)
    if has_part(text, "json"):
        told = read_part(text, "json", load_json, as_object)
        metadata = {**metadata, **{part: told[part] for part in _OF_TEXT if part in told}}
    joined = {
        part: value
        for part, value in latents.items()
        if part.removeprefix(".") not in ("json", "pickle")
    }
    joined |= {"json": metadata, "pickle": text[name]}
    # the text's first: its dataset has the empty caption
    sources = (*(text.get("__sources__") or ()), *(latents.get("__sources__") or ()))
    return {**joined, "__sources__": sources} if sources else joined


def _cooked(sample: dict[str, Any]) -> LatentSample:
    target = str((sample.get("__subflavors__") or {}).get("target"))
    cooked: LatentSample = _COOKERS.get(target, latent_cooker).cook(sample)
    return cooked
