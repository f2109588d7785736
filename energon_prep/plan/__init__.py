"""Plan: a source becomes shards."""
