"""Finds the files of one encoder, in a folder or on the hub, and tells what they are."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from energon_prep.encoders.catalog import (
    SUPPORTED,
    TEXT_FAMILIES,
    VISUAL_FAMILIES,
    Family,
    Size,
    family_of,
    local_folder,
)
from energon_prep.encoders.hub import is_reachable
from energon_prep.errors import PrepError

JIT_FILE = "encoder.jit"
_OPEN_CLIP_FILE = "open_clip_config.json"
T5_PIECES_FILE = "spiece.model"
SENTENCEPIECE_FILES = (T5_PIECES_FILE, "tokenizer.model")
_VOCAB_FILE, _MERGES_FILE = "vocab.json", "merges.txt"
_TOKENIZER_FILES = ("tokenizer.json", *SENTENCEPIECE_FILES, _VOCAB_FILE)
_WEIGHT_SUFFIXES = {".safetensors", ".bin", ".jit"}
_PIPELINE_PARTS = ("vae/*", "text_encoder*/*", "tokenizer*/*")
_END_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class EncoderSource:
    """Where one encoder is to be looked for."""

    kind: Literal["visual", "text"]
    location: str  #: directory or hub id
    subfolders: tuple[str, ...]  #: tried in this order; "" is the location itself
    revision: str | None = None  #: of a hub id
    built: Size | None = None  #: made by this tool, so that its path says nothing to anybody else
    #: ``location`` names a class of the user's, which has no files that we know of
    own: bool = False

    @property
    def is_on_hub(self) -> bool:
        """Whether its files are a hub's, not in a folder, made by this tool or unknown to us."""
        return not (self.own or self.built) and local_folder(self.location) is None


@dataclass(frozen=True, kw_only=True)
class FoundFile:
    path: Path  #: on this machine
    subfolder: str
    commit: str | None  #: of the hub's repository; None for a directory
    is_local: bool = False  #: the hub cannot be reached, and its cache must do


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One encoder whose files were found."""

    source: EncoderSource
    family: Family
    main: FoundFile  #: config.json, or encoder.jit where there is none
    config: dict[str, Any] = field(default_factory=dict)
    tokenizer: FoundFile | None = None
    jit: FoundFile | None = None

    def pretrained(self, file: FoundFile) -> tuple[str, dict[str, Any]]:
        """What ``from_pretrained`` takes for the folder of ``file``; a hub id is pinned to the
        commit found.
        """
        if file.commit is None:
            return str(file.path.parent), {}
        place: dict[str, Any] = {"subfolder": file.subfolder, "revision": file.commit}
        return self.source.location, place | ({"local_files_only": True} if file.is_local else {})

    def describe(self) -> dict[str, Any]:
        """What identifies this checkpoint in run.json."""
        if self.source.built:
            pipeline = Path(self.source.location).name
            return {
                "model": self.source.built,
                "subfolder": self.main.subfolder,
                "architecture": pipeline,
            }
        about: dict[str, Any] = {
            "model": self.source.location,
            "subfolder": (self.jit or self.main).subfolder,
            "revision": self.main.commit,
            "config_sha256": _sha256(self.main.path) if self.config else None,
        }
        if self.main.commit is None:
            about["weights"] = weights_identity((self.jit or self.main).path.parent)
        if self.tokenizer is not None:
            about["tokenizer_sha256"] = _sha256(self.tokenizer.path)
        return about


def open_checkpoint(source: EncoderSource) -> Checkpoint:
    """Find the files of ``source``. Raises PrepError if there are none, or if they are of no
    supported family.
    """
    return _open_visual(source) if source.kind == "visual" else _open_text(source)


def tokenizer_subfolders(subfolder: str) -> tuple[str, ...]:
    """Where the tokenizer of the text encoder in ``subfolder`` may be: "text_encoder_2" ->
    "tokenizer_2".
    """
    if subfolder.startswith("text_encoder"):
        return (subfolder.replace("text_encoder", "tokenizer", 1), subfolder)
    return (subfolder, "tokenizer")


def text_subfolders(named: Sequence[str | None]) -> list[str]:
    """Each text encoder's folder in a pipeline: the one named for it, else the first free
    text_encoder[_2, _3 ...].
    """
    free = (name for name in _text_encoder_names() if name not in named)
    return [name or next(free) for name in named]


def weights_identity(folder: Path) -> dict[str, Any]:
    """A cheap fingerprint of the weight files in ``folder``: it reads at most 2 MiB of each.

    ``sha256`` goes over name, size, first and last MiB of every file in the order of their names;
    headers, which list all tensors, lie at one of the ends. A change in the middle of a file, of
    nothing else, is not seen.
    """
    digest = hashlib.sha256()
    total = 0
    for path in sorted(path for path in folder.iterdir() if path.suffix in _WEIGHT_SUFFIXES):
        size = path.stat().st_size
        total += size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_END_BYTES))
            file.seek(max(size - _END_BYTES, 0))
            digest.update(file.read(_END_BYTES))
    return {"bytes": total, "sha256": digest.hexdigest()}


def unusable(source: EncoderSource, problem: str) -> PrepError:
    """The error for weights that cannot be used, with what can be done about it."""
    remedy = "try the tool with --weights tiny"
    if local_folder(source.location) is not None:
        remedy = f"see that the folder is whole, or {remedy}"
    else:
        parts = (
            ""
            if "" in source.subfolders
            else "".join(f" --include '{part}'" for part in _PIPELINE_PARTS)
        )
        fetch = f"hf download {source.location}{parts} --local-dir DIR"
        remedy = f"fetch it where there is a network ({fetch}) and name DIR, or {remedy}"
    return PrepError(f"{source.kind} encoder '{source.location}': {problem}; {remedy}")


def _text_encoder_names() -> Iterator[str]:
    yield "text_encoder"
    yield from (f"text_encoder_{number}" for number in itertools.count(2))


def _open_visual(source: EncoderSource) -> Checkpoint:
    jits = _places(source.subfolders, [JIT_FILE])
    found = _first_file(source, [*_places(source.subfolders, ["config.json"]), *jits])
    if found and found.path.name == JIT_FILE:
        return Checkpoint(source=source, family="cosmos-jit", main=found, jit=found)
    config = _read_config(source, found) if found else {}
    family = family_of(config)
    if found and family in VISUAL_FAMILIES:
        return Checkpoint(source=source, family=family, main=found, config=config)
    # A published Cosmos tokenizer says nothing of its class; one that names a class needs that
    # class's normalisation.
    jit = (
        _first_file(source, jits) if found and not family and "_class_name" not in config else None
    )
    if found and jit:
        return Checkpoint(source=source, family="cosmos-jit", main=found, config=config, jit=jit)
    raise _unsupported(source, found, config, ["config.json", JIT_FILE])


def _open_text(source: EncoderSource) -> Checkpoint:
    found = _first_file(source, _places(source.subfolders, ["config.json"]))
    if found is None and _first_file(source, _places(source.subfolders, [_OPEN_CLIP_FILE])):
        raise PrepError(
            f"text encoder '{source.location}': its files are OpenCLIP's ({_OPEN_CLIP_FILE}), "
            "which this tool does not load: name a copy in the format of transformers, with a "
            "config.json of model_type clip"
        )
    config = _read_config(source, found) if found else {}
    family = family_of(config)
    if found is None or family not in TEXT_FAMILIES:
        raise _unsupported(source, found, config, ["config.json"])
    places = _places(tokenizer_subfolders(found.subfolder), _TOKENIZER_FILES)
    tokenizer = _first_file(source, places)
    if tokenizer is None:
        raise unusable(source, f"no tokenizer, tried {_names(places)}")
    merges = [(tokenizer.subfolder, _MERGES_FILE)]
    if tokenizer.path.name == _VOCAB_FILE and _first_file(source, merges) is None:
        raise unusable(
            source,
            f"its tokenizer has {_VOCAB_FILE} and lacks {_names(merges)}, by which words are made",
        )
    return Checkpoint(source=source, family=family, main=found, config=config, tokenizer=tokenizer)


def _unsupported(
    source: EncoderSource, found: FoundFile | None, config: dict[str, Any], names: list[str]
) -> PrepError:
    if found is None:
        return unusable(source, f"nothing there, tried {_names(_places(source.subfolders, names))}")
    kind = config.get("_class_name") or config.get("model_type") or "nothing known"
    where = f"{found.subfolder}/config.json" if found.subfolder else "config.json"
    return PrepError(
        f"{source.kind} encoder '{source.location}': {where} says {kind}, which is no "
        f"{source.kind} encoder that this tool can run. Supported are {SUPPORTED}"
    )


def _places(subfolders: Iterable[str], names: Iterable[str]) -> list[tuple[str, str]]:
    names = list(names)
    return [(subfolder, name) for subfolder in subfolders for name in names]


def _names(places: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{subfolder}/{name}" if subfolder else name for subfolder, name in places)


def _read_config(source: EncoderSource, file: FoundFile) -> dict[str, Any]:
    try:
        config = json.loads(file.path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise unusable(source, f"{file.path} is not readable as JSON ({error})") from error
    if not isinstance(config, dict):
        raise unusable(source, f"{file.path} is not a JSON object")
    if quantization := config.get("quantization_config"):
        method = (
            quantization.get("quant_method", "unknown")
            if isinstance(quantization, dict)
            else "unknown"
        )
        raise PrepError(
            f"{source.kind} encoder '{source.location}': its weights are quantized "
            f"({method}), which gives other values than the model was trained on: name the "
            "repository that it was made from"
        )
    return config


def _first_file(source: EncoderSource, places: Iterable[tuple[str, str]]) -> FoundFile | None:
    folder = local_folder(source.location)
    if folder is None:
        return _first_on_hub(source, places)
    for subfolder, name in places:
        path = folder / subfolder / name
        if path.is_file():
            return FoundFile(path=path, subfolder=subfolder, commit=None)
    return None


def _first_on_hub(source: EncoderSource, places: Iterable[tuple[str, str]]) -> FoundFile | None:
    """Download the first file there is; without a network, the first one in the hub's local
    cache.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    is_local, unseen = not is_reachable(), False
    for subfolder, name in places:
        try:
            path = hf_hub_download(
                source.location,
                name,
                subfolder=subfolder or None,
                revision=source.revision,
                local_files_only=is_local,
            )
        except LocalEntryNotFoundError:
            is_local = unseen = True  # lost by now, if not before: one round of tries is enough
        except EntryNotFoundError:
            continue
        except (OSError, HFValidationError) as error:
            # gated, unknown, no such revision, refused, disk full
            raise unusable(source, _first_line(error)) from error
        else:
            commit = re.search(r"[/\\]snapshots[/\\]([0-9a-f]{40})[/\\]", path)
            return FoundFile(
                path=Path(path),
                subfolder=subfolder,
                commit=commit[1] if commit else source.revision,
                is_local=is_local,
            )
    if unseen:
        raise unusable(
            source, "it is no directory, and neither on a reachable hub nor in its local cache"
        )
    return None


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
