"""Recipes: what a dataset is made with, one YAML per preset in presets/."""
