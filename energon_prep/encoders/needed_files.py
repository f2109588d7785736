"""Which of a repository's files are read to load an encoder, as the libraries choose them."""

from __future__ import annotations

import re
from collections.abc import Collection

from energon_prep.encoders.checkpoint import JIT_FILE, EncoderSource, tokenizer_subfolders

_STEMS = {"visual": ("diffusion_pytorch_model",), "text": ("model", "pytorch_model")}
_TOKENIZER_SUFFIXES = (".json", ".txt", ".model")


def needed_files(source: EncoderSource, names: Collection[str]) -> list[str]:
    """Of a repository's file ``names``, those that ``source`` is loaded from; [] if it is not
    there.

    safetensors before pickles, one file before shards; no variants (model.fp16.safetensors), no
    other frameworks'.
    """
    for subfolder in source.subfolders:
        here = _inside(subfolder, names)
        if source.kind == "visual" and JIT_FILE in here and not _weights(source, here):
            return _paths(subfolder, [name for name in ("config.json", JIT_FILE) if name in here])
        if "config.json" not in here:
            continue
        files = _paths(subfolder, ["config.json", *_weights(source, here)])
        return files if source.kind == "visual" else [*files, *_tokenizer(subfolder, names)]
    return []


def lacking_folders(source: EncoderSource, names: Collection[str]) -> list[str]:
    """Subfolders in which the weights, or the tokenizer, of ``source`` are not among the
    ``names``.
    """
    files = needed_files(source, names)
    place = next(
        (s for s in source.subfolders if "config.json" in _inside(s, names)), source.subfolders[0]
    )
    lacking = (
        [] if any(name.endswith((".safetensors", ".bin", ".jit")) for name in files) else [place]
    )
    if source.kind == "text" and not _tokenizer(place, names):
        lacking.append(tokenizer_subfolders(place)[0])
    return lacking


def _weights(source: EncoderSource, here: Collection[str]) -> list[str]:
    for suffix in (".safetensors", ".bin"):
        for stem in _STEMS[source.kind]:
            if f"{stem}{suffix}" in here:
                return [f"{stem}{suffix}"]
            index, shard = f"{stem}{suffix}.index.json", re.compile(rf"{stem}-\d+-of-\d+\{suffix}")
            if index in here:
                return [index, *sorted(name for name in here if shard.fullmatch(name))]
    return []


def _tokenizer(subfolder: str, names: Collection[str]) -> list[str]:
    for place in tokenizer_subfolders(subfolder):
        files = [name for name in _inside(place, names) if name.endswith(_TOKENIZER_SUFFIXES)]
        if any("token" in name or name in ("spiece.model", "vocab.json") for name in files):
            # of the model, where it lies beside the tokenizer
            own = {"config.json", "generation_config.json"}
            return _paths(
                place, sorted(name for name in files if name not in own and "index" not in name)
            )
    return []


def _inside(subfolder: str, names: Collection[str]) -> list[str]:
    """Names of the files directly in ``subfolder``."""
    prefix = f"{subfolder}/" if subfolder else ""
    return [
        name[len(prefix) :]
        for name in names
        if name.startswith(prefix) and "/" not in name[len(prefix) :]
    ]


def _paths(subfolder: str, names: list[str]) -> list[str]:
    return [f"{subfolder}/{name}" if subfolder else name for name in names]
