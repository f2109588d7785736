"""Something to try the tool on."""
