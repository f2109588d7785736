"""Something to try the tool on, and with."""
