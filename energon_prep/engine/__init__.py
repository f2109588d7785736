"""The engine: runs the way of a sample, from plan to ledger."""
