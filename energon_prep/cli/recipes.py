"""``energon-prep recipes``."""

from __future__ import annotations

import click


@click.command()
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the recipes; with NAME (or a YAML file) print that recipe whole.

    What is printed is a recipe file: save it, change it, and give it to `encode --recipe FILE.yaml`.
    """
    from energon_prep.recipes.load import dump_recipe, load_recipe, recipe_names

    if name is not None:
        click.echo(dump_recipe(load_recipe(name)), nl=False)
        return
    width = max(len(known) for known in recipe_names())
    for known in recipe_names():
        click.echo(f"{known:<{width}}  {load_recipe(known).description}")
