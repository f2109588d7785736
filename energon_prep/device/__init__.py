"""Device: what a machine is, and what it can hold."""
