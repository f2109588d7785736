"""Whether cookers and task encoders work on the Energon of each trainer: ``make compat``."""
