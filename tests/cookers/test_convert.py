from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cookers.convert import as_latent, normalize, trim_zero_rows


@settings(deadline=None)  # the first call loads what torch needs
@given(shift=st.floats(-1, 1), scale=st.floats(0.1, 2))
def test_normalized_moments_draw_normalized_latents(shift: float, scale: float) -> None:
    mean, logvar, noise = torch.randn(2, 1, 2, 2), torch.randn(2, 1, 2, 2), torch.randn(2, 1, 2, 2)
    drawn = mean + (logvar / 2).exp() * noise
    scaled_mean, scaled_logvar = normalize(mean, logvar, shift=shift, scale=scale)
    assert scaled_logvar is not None
    torch.testing.assert_close(
        scaled_mean + (scaled_logvar / 2).exp() * noise, (drawn - shift) * scale
    )


def test_what_is_normalized_already_is_not_touched() -> None:
    latent = torch.ones(1, 1, 1, 1)
    assert normalize(latent, None, shift=0.0, scale=1.0) == (latent, None)
    assert normalize(latent.bfloat16(), None, shift=0.5, scale=2.0)[0].dtype == torch.bfloat16


@settings(deadline=None)
@given(rows=st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=8))
def test_trimming_keeps_every_real_row(rows: list[float]) -> None:
    text = torch.tensor(rows)[:, None].expand(-1, 3)
    kept = trim_zero_rows(text)
    assert torch.equal(kept, text[: len(kept)])
    assert not text[len(kept) :].any()
    assert len(kept) == 1 or bool(kept[-1].any())


@pytest.mark.parametrize(
    ("shape", "ndims"), [((16, 4, 4), (4,)), ((1, 16, 1, 4, 4), (3, 4)), ((2, 16, 1, 4, 4), (5,))]
)
def test_shapes_that_are_not_asked_for(shape: tuple[int, ...], ndims: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"a latent of shape \[.*\], not \["):
        as_latent(torch.ones(shape), ndims)
