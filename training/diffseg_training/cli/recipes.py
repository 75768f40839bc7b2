"""``diffseg recipes``: what can be trained with one command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from diffseg.cli.output import emit

if TYPE_CHECKING:
    from rich.table import Table

    from diffseg_training.recipe import Recipe

recipes = typer.Typer(
    help="List and show training recipes.\n\nExample: diffseg recipes list",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@recipes.command("list")
def list_recipes(json: Json = False) -> None:
    """List the recipes that ship with this version.

    Example: diffseg recipes list --json
    """
    from diffseg_training.recipe import load_recipe, recipe_names

    found = [load_recipe(name) for name in recipe_names()]
    about = [{"name": r.name, "title": r.title, "method": r.method} for r in found]
    emit({"recipes": about}, json, lambda: _table(found))


@recipes.command("show")
def show_recipe(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A recipe's name, or a YAML file.")
    ],
    json: Json = False,
) -> None:
    """Show a recipe, ready to be saved, changed and trained with.

    Example: diffseg recipes show hippocampus-mri > mine.yaml
    """
    from diffseg_training.recipe import load_recipe, recipe_path

    recipe = load_recipe(name)
    text = recipe_path(name).read_text(encoding="utf-8").rstrip("\n")
    emit(recipe.model_dump(mode="json"), json, text)


def _table(found: list[Recipe]) -> Table:
    from rich.table import Table

    table = Table("recipe", "method", "what it trains", box=None, pad_edge=False)
    for recipe in found:
        table.add_row(recipe.name, recipe.method, recipe.title)
    return table
