"""The JSON part, with the same keys in every sample whatever the target."""

from __future__ import annotations

from typing import Any

from energon_prep.samples import EncodedSample


def sample_metadata(sample: EncodedSample) -> dict[str, Any]:
    """What is known of a sample: sizes in pixels (of what was encoded, and of the original after
    orientation).

    ``crop`` is [top, left, bottom, right] in original pixels; ``text_tokens`` counts real tokens by
    text encoder; ``latent_shape`` is [C, T, H, W], of stored moments that of a draw, by which
    cookers tell them from latents; the source's own metadata is under ``meta``.
    """
    info = sample.info
    channels, *size = sample.latent.shape
    return {
        "key": info.key,
        "source": info.source,
        "caption": info.caption,
        "media": "image" if info.framerate is None else "video",
        "original_height": info.original_height,
        "original_width": info.original_width,
        "height": info.main.height,
        "width": info.main.width,
        "aspect_ratio": round(info.main.width / info.main.height, 6),
        "num_frames": info.num_frames,
        "framerate": info.framerate,
        "clip": info.clip,
        "start": info.start,
        "crop": list(info.main.crop),
        "text_tokens": {name: text.num_tokens for name, text in sample.texts.items()},
        "latent_shape": [channels // 2 if sample.moments else channels, *size],
        "meta": info.metadata,
    }
