"""Shards: parts -> tar, whole or not at all."""
