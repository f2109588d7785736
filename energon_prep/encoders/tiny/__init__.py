"""Models and tokenizers of published architectures with random weights, built offline."""

from energon_prep.encoders.tiny.pipeline import build_pipeline

__all__ = ["build_pipeline"]
