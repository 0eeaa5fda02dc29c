"""List the recipes, files with all settings of a run, or copy one to change it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gan_core.errors import UserError
from gan_core.runs.atomic import write_atomically
from gan_core.settings.recipes import Recipe, all_recipes, recipe_named

if TYPE_CHECKING:
    from rich.table import Table


def list_recipes(
    context: typer.Context, *, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List the recipes: how long each takes, and what it reaches.

    `gan_core train --config NAME` trains one. "x floor" is the FID as a multiple of that of real images.
    """
    if context.invoked_subcommand is not None:
        return
    recipes = all_recipes()
    if as_json:
        rows = [
            {"name": one.name, "about": one.about, "takes": one.takes, "reaches": one.reaches, "path": str(one.path)}
            for one in recipes
        ]
        print(json.dumps(rows, indent=2))
        return
    from gan_core.console import PlainConsole

    PlainConsole(table=True).print(recipes_table(recipes))


def recipes_table(recipes: Sequence[Recipe]) -> "Table":
    """Returns a table with a row for each recipe."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("recipe", no_wrap=True)
    table.add_column("takes")
    table.add_column("reaches")
    for one in recipes:
        table.add_row(one.name, one.takes or "not stated", one.reaches or "not stated")
    return table


def copy(
    name: Annotated[str, typer.Argument(help="A recipe, as listed by `gan_core recipes`.")],
    *,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The new file; by default NAME.yaml.")] = None,
) -> None:
    """Copy a recipe to a file of your own, to change it."""
    recipe = recipe_named(name)
    path = out or Path(f"{recipe.name}.yaml")
    if path.exists():
        raise UserError(f"out: {str(path)!r} already exists. Use --out FILE")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, recipe.path.read_bytes())
    except OSError as error:
        raise UserError(f"out: {str(path)!r} cannot be written: {error}") from None
    print(f"{path}\nTrain it: accelerate launch -m gan_core train --config {path}")
