"""Whether the cookers and task encoders work on the Energon that each trainer wants: ``make compat``."""
