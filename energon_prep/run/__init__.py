"""Run: begin, work and finish, the life of a dataset."""
