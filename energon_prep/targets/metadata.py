"""Station 4, targets: the JSON part, with the same keys in every sample whatever the target."""

from __future__ import annotations

from typing import Any

from energon_prep.samples import EncodedSample


def sample_metadata(sample: EncodedSample) -> dict[str, Any]:
    """What is known of a sample: sizes in pixels (of what was encoded, and of the original after orientation).

    ``crop`` is [top, left, bottom, right] in original pixels; ``text_tokens`` counts real tokens by text encoder;
    ``latent_shape`` is [C, T, H, W]; the source's own metadata is under ``meta``.
    """
    decoded, frames = sample.decoded, sample.decoded.frames
    num_frames, height, width, _ = frames.pixels.shape
    return {
        "key": decoded.key,
        "source": decoded.source,
        "caption": decoded.caption,
        "media": "image" if frames.framerate is None else "video",
        "original_height": frames.original_height,
        "original_width": frames.original_width,
        "height": height,
        "width": width,
        "aspect_ratio": round(width / height, 6),
        "num_frames": num_frames,
        "framerate": frames.framerate,
        "crop": list(frames.crop),
        "text_tokens": {name: text.num_tokens for name, text in sample.texts.items()},
        "latent_shape": list(sample.latent.shape),
        "meta": decoded.metadata,
    }
