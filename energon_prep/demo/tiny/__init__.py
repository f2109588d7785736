"""Models and tokenizers of published architectures with random weights, built offline."""

from energon_prep.demo.tiny.pipeline import build_pipeline

__all__ = ["build_pipeline"]
