"""Chooses, fetches and rewrites samples before they are encoded or trained from."""
