"""Sources: where raw samples come from."""
