"""What happens to a sample first, whatever the trainer."""

from __future__ import annotations

from dataclasses import replace

from cookers import LatentSample
from task_encoders.blends import Blend
from task_encoders.captions import CaptionDropout, drop_caption
from task_encoders.checks import skip_unhealthy
from task_encoders.draws import normal
from task_encoders.filters import Filters, skip_unwanted


def prepare(
    sample: LatentSample, *, filters: Filters, dropout: CaptionDropout, blend: Blend
) -> LatentSample:
    """Filter, hold it against the other datasets of the blend, maybe drop the caption, draw from
    the posterior. Call it in an ``encode_sample`` that is ``seeded``.
    """
    skip_unwanted(sample, filters)
    blend.require_same(sample)
    sample = draw_latent(drop_caption(sample, dropout))
    skip_unhealthy(sample)
    return sample


def draw_latent(sample: LatentSample) -> LatentSample:
    """The sample with a draw from its posterior as latent: mean + exp(logvar / 2) * noise; itself
    if it has none.

    Each epoch draws anew, and a restored sample the same.
    """
    if sample.logvar is None:
        return sample
    noise = normal(sample.latent.shape)
    latent = sample.latent.float() + (0.5 * sample.logvar.float()).exp() * noise
    return replace(sample, latent=latent.to(sample.latent.dtype), logvar=None)
