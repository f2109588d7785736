"""Pipeline: the way of a sample through one worker; line.py has it whole."""
