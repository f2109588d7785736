"""Encoders: pixels and captions -> tensors."""
