"""Makes the table of recipes.md: what each recipe downloads, under which terms, what it computes in
and stores.

python docs/recipe_table.py          prints the table
python docs/recipe_table.py --write  puts it into recipes.md, between its marks
"""

from __future__ import annotations

import argparse
from pathlib import Path

from energon_prep.cli.recipe_table import facts
from energon_prep.recipes.load import load_recipe, recipe_names

PAGE = Path(__file__).parent / "recipes.md"
BEGIN, END = "<!-- recipes: made by docs/recipe_table.py -->", "<!-- end of recipes -->"


def table() -> str:
    rows = [{"recipe": f"`{name}`", **facts(load_recipe(name))} for name in recipe_names()]
    lines = [f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}"]
    return "\n".join([*lines, *(f"| {' | '.join(row.values())} |" for row in rows)])


def page() -> str:
    """recipes.md with the table as it is to be."""
    text = PAGE.read_text(encoding="utf-8")
    return f"{text.partition(BEGIN)[0]}{BEGIN}\n\n{table()}\n\n{END}{text.partition(END)[2]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(table())


if __name__ == "__main__":
    main()
