"""The models that have a short name here, where they come from and what they are made of."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from energon_prep.encoders.catalog_text import TEXT_MODELS
from energon_prep.encoders.catalog_visual import VISUAL_MODELS
from energon_prep.encoders.model_info import TEXT_FAMILIES, VISUAL_FAMILIES, Family, ModelInfo, Size
from energon_prep.encoders.text_families import TEXT_FAMILY
from energon_prep.encoders.visual_classes import (
    DIFFUSERS_CLASSES,
    JIT_COMPUTE_DTYPE,
    VISUAL_CLASSES,
)
from energon_prep.errors import UsageError
from energon_prep.plugins import is_plugin, names_of
from energon_prep.recipes.model import DType

__all__ = [
    "CATALOG",
    "SUPPORTED",
    "TEXT_FAMILIES",
    "VISUAL_FAMILIES",
    "Family",
    "ModelInfo",
    "Size",
    "family_of",
    "find",
    "is_id_or_folder",
    "is_own",
    "local_folder",
    "lookup",
    "pipelines_dtype",
]

CATALOG: dict[str, ModelInfo] = {info.alias: info for info in (*VISUAL_MODELS, *TEXT_MODELS)}
SUPPORTED = (
    f"{', '.join(DIFFUSERS_CLASSES)} (diffusers) and Cosmos (encoder.jit) for pixels, "
    "T5, UMT5, CLIP, Llama, Gemma 2 and Qwen2.5-VL (transformers) for text"
)

_TEXT_MODEL_TYPES: dict[str, Family] = {
    "t5": "t5",
    "umt5": "umt5",
    "clip": "clip",
    "clip_text_model": "clip",
    "llama": "llama",
    "gemma2": "gemma2",
    "qwen2_5_vl": "qwen2.5-vl",
    "qwen2_5_vl_text": "qwen2.5-vl",
}
_HF_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def lookup(name: str) -> ModelInfo | None:
    """The model with the alias ``name``; None if ``name`` is a directory or a hub id, to be taken
    as it is.

    An alias wins over a directory of the same name: write ``./t5-small`` for the directory. Raises
    PrepError for a name that is none of the three.
    """
    if name in CATALOG:
        return CATALOG[name]
    if is_id_or_folder(name):
        return None
    if "/" in name or "\\" in name:
        raise UsageError(
            f"model '{name}': there is no such directory, and it is no hub id (owner/name) either"
        )
    close = difflib.get_close_matches(name.lower(), CATALOG, n=1, cutoff=0.4)
    raise UsageError(
        f"unknown model '{name}'{f' (did you mean {close[0]}?)' if close else ''}: a model is "
        f"a directory, a hub id (owner/name), package.module:Class or one of: "
        f"{', '.join([*CATALOG, *names_of('visual'), *names_of('text')])}"
    )


def is_own(kind: Literal["visual", "text"], name: str) -> bool:
    """Whether ``name`` is that of a class of the user's; an alias wins, ``./name`` is a
    directory.
    """
    return name not in CATALOG and is_plugin(kind, name)


def is_id_or_folder(name: str) -> bool:
    """``name`` is a directory that exists, or has the form of a hub id."""
    return local_folder(name) is not None or _HF_ID.fullmatch(name) is not None


def local_folder(name: str) -> Path | None:
    """The directory ``name``, if there is one; "~" is the user's home."""
    try:
        folder = Path(name).expanduser()
    except RuntimeError:  # "~nobody"
        folder = Path(name)
    return folder if name and folder.is_dir() else None


def find(
    name: str, families: Collection[Family] = VISUAL_FAMILIES + TEXT_FAMILIES
) -> ModelInfo | None:
    """The model of these families with this alias or this hub id; a pipeline's id is that of
    several models.
    """
    known = [info for info in CATALOG.values() if info.family in families]
    return next((info for info in known if name == info.alias), None) or next(
        (info for info in known if name == info.hf_id), None
    )


def pipelines_dtype(family: Family) -> DType:
    """What the pipelines that models of this family are published in compute in."""
    if family == "cosmos-jit":
        return JIT_COMPUTE_DTYPE
    return (
        VISUAL_CLASSES[family].compute_dtype
        if family in VISUAL_CLASSES
        else TEXT_FAMILY[family].compute_dtype
    )


def family_of(config: Mapping[str, Any]) -> Family | None:
    """The family that a config.json belongs to; None if it is of no supported one."""
    for name in DIFFUSERS_CLASSES:
        if config.get("_class_name") == name:
            return name
    return _TEXT_MODEL_TYPES.get(str(config.get("model_type")))
