"""Decode: bytes -> pixels."""
