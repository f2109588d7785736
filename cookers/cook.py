"""The parts ``pth``, ``pickle`` and ``json`` of a crude sample -> LatentSample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from megatron.energon import Cooker, basic_sample_keys, stateless

from cookers.convert import as_latent, as_text, normalize, split_moments
from cookers.safe import DecodeError, load_json, load_pickle, load_pth
from cookers.samples import LatentSample

T = TypeVar("T")

#: Parts that tell other layouts: which cooker reads them, and the subflavors that select it.
_ELSEWHERE = {
    "latents.pth": ("primus_cookers", "encoding: preencoded"),
    "mean.pth": ("primus_cookers", "encoding: preencoded"),
    "mean.bytes": ("mlperf_cookers", "encoding: preencoded_numpy"),
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the parts of a dataset are read. The default takes what is known of the scripts of all
    trainers.
    """

    latent_ndims: tuple[int, ...] = (3, 4, 5)  #: of the stored latent; see ``as_latent``
    batched_text: bool = True  #: text [1, S, D] is taken as [S, D]
    trim: bool = True  #: zero rows at the end of a text are padding and are cut
    resolution: str | None = None  #: of several, the latent to take: "512" for the part ``512.pth``
    #: of several text encoders, the one whose hidden states are the text
    hidden_from: str | None = None
    pooled_from: str | None = None  #: and the one whose pooled embeddings are
    #: of latents that were stored without it: (z - shift) * scale is what training reads
    shift: float = 0.0
    scale: float = 1.0


def make_cooker(layout: Layout, has_subflavors: dict[str, Any] | None = None) -> Cooker:
    """A cooker of samples stored in ``layout``, for datasets of those subflavors; without, of all
    datasets.

    It raises ValueError (DecodeError if bytes are at fault) naming the sample's key, the part and
    what it is.
    """

    @stateless  # type: ignore[untyped-decorator]  # without it Energon yields no batches, and no error
    def cook(sample: dict[str, Any]) -> LatentSample:
        return _cook(sample, layout)

    return Cooker(cook, has_subflavors=has_subflavors)  # by name: its place differs by version


@stateless  # type: ignore[untyped-decorator]
def cook_latents(sample: dict[str, Any]) -> LatentSample:
    """Make a LatentSample of the parts ``pth`` (latent), ``pickle`` (text) and ``json``, or
    ``.pth`` and so on.

    A part is raw bytes, which are decoded safely, or what a decoder made of them. Raises as
    ``make_cooker`` says.
    """
    return _cook(sample, Layout())


#: For ``TaskEncoder.cookers``: cooks every crude sample. For some:
#: ``Cooker(cook_latents, has_subflavors={...})``.
latent_cooker = Cooker(cook_latents)


def read_part(
    sample: Mapping[str, Any], name: str, load: Callable[[bytes], Any], convert: Callable[[Any], T]
) -> T:
    """The part ``name``, or its twin with a dot before it, loaded if it is bytes and converted.

    Raises ValueError or DecodeError naming the sample's key and the part.
    """
    key = sample["__key__"]
    stored = name if name in sample else "." + name
    if stored not in sample:
        parts = part_names(sample)
        other = next(
            (_ELSEWHERE[part] for part in parts if part in _ELSEWHERE and name not in _ELSEWHERE),
            None,
        )
        hint = (
            f"; {other[0]} read these: put subflavors {{{other[1]}}} into dataset.yaml"
            if other
            else ""
        )
        raise ValueError(
            f"sample {key}: no part {name!r} or {'.' + name!r} (there are: "
            f"{', '.join(parts) or 'none'}){hint}"
        )
    value = sample[stored]
    try:
        return convert(load(value) if isinstance(value, bytes) else value)
    except DecodeError as error:
        raise type(error)(f"sample {key}, part {stored!r}: {error}") from error
    except ValueError as error:
        raise ValueError(f"sample {key}, part {stored!r}: {error}") from error


def has_part(sample: Mapping[str, Any], name: str) -> bool:
    """Whether ``read_part`` finds it."""
    return name in sample or "." + name in sample


def part_names(sample: Mapping[str, Any]) -> list[str]:
    return [name for name in sample if not name.startswith("__")]


def as_object(value: Any) -> dict[str, Any]:
    """The JSON part must be an object. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"JSON of a {type(value).__name__}, not an object")
    return value


def _cook(sample: dict[str, Any], layout: Layout) -> LatentSample:
    metadata = read_part(sample, "json", load_json, as_object)
    to_text = partial(
        as_text,
        allow_batched=layout.batched_text,
        trim=layout.trim,
        hidden_from=layout.hidden_from,
        pooled_from=layout.pooled_from,
    )
    text = read_part(sample, "pickle", load_pickle, to_text)

    def to_moments(value: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        latent, logvar = split_moments(as_latent(value, layout.latent_ndims), metadata)
        return normalize(latent, logvar, shift=layout.shift, scale=layout.scale)

    latent, logvar = read_part(
        sample, _latent_part(sample, layout.resolution), load_pth, to_moments
    )
    return LatentSample(
        **basic_sample_keys(sample),
        latent=latent,
        logvar=logvar,
        text=text.text,
        pooled=text.pooled,
        encoders=text.encoders,
        metadata=metadata,
    )


def _latent_part(sample: Mapping[str, Any], resolution: str | None) -> str:
    """The part with the latent: ``pth``, or that of a resolution, ``512.pth``. Raises ValueError if
    it is not clear.
    """
    if resolution is not None:
        return f"{resolution}.pth"
    if has_part(sample, "pth"):
        return "pth"
    several = [name for name in part_names(sample) if name.endswith(".pth") and name[0].isdigit()]
    if len(several) > 1:
        raise ValueError(
            f"sample {sample['__key__']}: latents of several resolutions "
            f"({', '.join(several)}); choose one with "
            f"make_cooker(Layout(resolution={several[0].removesuffix('.pth')!r}))"
        )
    return several[0] if several else "pth"
