"""Makes the table of recipes.md: what each recipe downloads, under which terms, what it computes in
and stores.

python -m docs.recipe_table          prints the table
python -m docs.recipe_table --write  puts it into recipes.md, between its marks
"""

from __future__ import annotations

from docs.pages import Page, arguments
from energon_prep.cli.recipe_table import facts
from energon_prep.recipes.load import load_recipe, recipe_names

PAGE = Page(
    "recipes.md",
    marks=("<!-- recipes: made by docs/recipe_table.py -->", "<!-- end of recipes -->"),
)


def table() -> str:
    rows = [{"recipe": f"`{name}`", **facts(load_recipe(name))} for name in recipe_names()]
    lines = [f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}"]
    return "\n".join([*lines, *(f"| {' | '.join(row.values())} |" for row in rows)])


def main() -> None:
    PAGE.offer(table(), write=arguments(__doc__).parse_args().write)


if __name__ == "__main__":
    main()
