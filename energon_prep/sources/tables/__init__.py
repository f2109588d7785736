"""Tables whose rows name or hold the media."""
