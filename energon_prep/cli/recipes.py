"""``energon-prep recipes``."""

from __future__ import annotations

import click

from energon_prep.cli.recipe_table import facts


@click.command()
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the recipes; with NAME (or a YAML file) print that recipe whole.

    What is printed is a recipe file, with what it downloads in comments: save it, change it, and
    give it to `encode --recipe FILE.yaml`.
    """
    from energon_prep.recipes.load import dump_recipe, load_recipe, recipe_names

    if name is not None:
        recipe = load_recipe(name)
        for column, value in facts(recipe).items():
            click.echo(f"# {column}: {value}")
        click.echo(dump_recipe(recipe), nl=False)
        return
    width = max(len(known) for known in recipe_names())
    for known in recipe_names():
        click.echo(f"{known:<{width}}  {load_recipe(known).description}")
