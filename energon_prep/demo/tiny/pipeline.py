"""Builds a pipeline folder of a recipe's architectures with random weights, offline."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError

from energon_prep.demo.tiny.fill import fill
from energon_prep.encoders.catalog import (
    TEXT_FAMILIES,
    VISUAL_FAMILIES,
    Family,
    ModelInfo,
    Size,
    find,
    is_own,
    lookup,
)
from energon_prep.encoders.checkpoint import text_subfolders, tokenizer_subfolders
from energon_prep.errors import PrepError
from energon_prep.recipes.model import Recipe, Text, Visual

logger = logging.getLogger(__name__)


def build_pipeline(recipe: Recipe, size: Size, cache_dir: Path | None = None) -> Path:
    """The pipeline folder with ``recipe``'s architectures and random weights, built if it is not
    there yet.

    ``tiny`` keeps what a target checks (widths, channels, factors) and little else; ``random`` has
    the published sizes: 10 GB for an xxl text encoder. Weights depend on architectures and library
    versions alone, and so does the folder's name: CACHE/energon-prep/SIZE/HASH, with CACHE
    $XDG_CACHE_HOME or ~/.cache. ``cache_dir`` takes the place of CACHE/energon-prep. Built aside
    and renamed when whole, so any number of processes may ask at once.
    """
    encoders = _encoders(recipe)
    root = (cache_dir or default_cache_dir()) / size
    folder = root / architecture(recipe, size)
    if folder.is_dir():
        return folder
    if size == "random":
        logger.info(
            "building random weights of the published sizes in %s, which takes a while", folder
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(root)
        aside = Path(tempfile.mkdtemp(prefix=".building-", dir=root))
        try:
            _build(encoders, size, aside)
            _publish(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise PrepError(
            f"cannot build the {size} weights in {root}: {error}; free space there, or set "
            "XDG_CACHE_HOME"
        ) from error
    return folder


def architecture(recipe: Recipe, size: Size) -> str:
    """The name of ``build_pipeline``'s folder, which says all that its weights depend on; nothing
    is built.
    """
    return _fingerprint(_encoders(recipe), size)


def default_cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "energon-prep"


def _encoders(recipe: Recipe) -> dict[str, ModelInfo]:
    """Subfolder -> what to build there; not what the user named by its folder or hub id."""
    encoders = (
        {}
        if _has_weights("visual", recipe.visual)
        else {"vae": _known(recipe.visual.model, VISUAL_FAMILIES)}
    )
    for spec, subfolder in zip(
        recipe.text, text_subfolders([spec.subfolder for spec in recipe.text]), strict=True
    ):
        if _has_weights("text", spec):
            continue
        info = _known(spec.model, TEXT_FAMILIES)
        if encoders.setdefault(subfolder, info) is not info:
            raise PrepError(
                f"text encoders {encoders[subfolder].alias} and {info.alias} are both to be "
                f"in {subfolder}/: give them different subfolders in the recipe"
            )
    return encoders


def _has_weights(kind: Literal["visual", "text"], spec: Visual | Text) -> bool:
    return is_own(kind, spec.model) or (spec.named and lookup(spec.model) is None)


def _known(model: str, families: tuple[Family, ...]) -> ModelInfo:
    lookup(model)  # an unknown name is told with the nearest alias
    info = find(model, families)
    if info is None:
        kind = "visual" if families is VISUAL_FAMILIES else "text"
        raise PrepError(
            f"there is no tiny or random variant of the {kind} encoder '{model}': name one by "
            "its alias"
        )
    return info


def _fingerprint(encoders: Mapping[str, ModelInfo], size: Size) -> str:
    here = Path(__file__).parent
    identity = {
        "encoders": {
            name: [info.family, info.architecture(size), info.pad_token]
            for name, info in encoders.items()
        },
        "versions": {
            name: version(name) for name in ("torch", "transformers", "diffusers", "tokenizers")
        },
        "builder": [
            hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(here.glob("*.py"))
        ],
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _remove_leftovers(root: Path) -> None:
    """Delete what killed builds left behind; a day is longer than any build takes."""
    for path in root.glob(".building-*"):
        if time.time() - path.stat().st_mtime > 24 * 3600:
            shutil.rmtree(path, ignore_errors=True)


def _publish(aside: Path, folder: Path) -> None:
    aside.chmod(0o755)
    try:
        aside.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was first, with the same content
            raise


def _build(encoders: Mapping[str, ModelInfo], size: Size, folder: Path) -> None:
    from energon_prep.demo.tiny.text_models import save_text, text_class
    from energon_prep.encoders.quiet import quiet_libraries

    index: dict[str, Any] = {"_class_name": "DiffusionPipeline"}
    with quiet_libraries(), torch.random.fork_rng(devices=[]):
        for subfolder, info in encoders.items():
            if info.family in TEXT_FAMILIES:
                index[subfolder] = ("transformers", text_class(info.family))
                tokenizer = tokenizer_subfolders(subfolder)[0]
                index[tokenizer] = ("transformers", "AutoTokenizer")
                save_text(info, size, folder / subfolder, folder / tokenizer)
                continue
            if info.family == "cosmos-jit":
                index[subfolder] = ("torch", "jit.ScriptModule")
                _save_cosmos(info.architecture(size), folder / subfolder)
            else:
                index[subfolder] = ("diffusers", info.family)
                _save_autoencoder(info.family, info.architecture(size), folder / subfolder)
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _save_autoencoder(name: str, architecture: dict[str, Any], folder: Path) -> None:
    import diffusers

    # imported here, or its module's own constants would be on meta too
    model_class = getattr(diffusers, name)
    with torch.device("meta"):
        model = model_class(**architecture)
    fill(model).save_pretrained(folder, safe_serialization=True)


def _save_cosmos(architecture: dict[str, Any], folder: Path) -> None:
    from energon_prep.demo.tiny.cosmos import CosmosEncoder

    with torch.device("meta"):
        model = CosmosEncoder(**architecture).eval()
    folder.mkdir()
    torch.jit.script(fill(model)).save(str(folder / "encoder.jit"))
    config = {"architectures": ["CosmosTokenizer"], **architecture}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
