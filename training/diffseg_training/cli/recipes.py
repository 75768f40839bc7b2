"""``diffseg recipes``: what can be trained with one command, and on which data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import emit, follow

if TYPE_CHECKING:
    from rich.console import RenderableType

    from diffseg_training.recipe import Recipe

recipes = typer.Typer(
    help="List and show training recipes, and prepare their data.\n\n"
    "Example: diffseg recipes list",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ELSEWHERE = "other"
"""What recipes for no data set in particular are listed under."""


@recipes.command("list")
def list_recipes(
    dataset: Annotated[
        str | None,
        typer.Argument(metavar="[DATASET]", help="Only those for this data set."),
    ] = None,
    json: Json = False,
) -> None:
    """List the recipes that ship with this version, by data set.

    Example: diffseg recipes list ph2
    """
    from diffseg.errors import UserError, nearest
    from diffseg_training.recipe import load_recipe, recipe_names

    found = by_dataset([load_recipe(name) for name in recipe_names()])
    if dataset is not None:
        if dataset not in found:
            hint = nearest(dataset, found) or f"; known: {', '.join(found)}"
            raise UserError(f"no recipe is for data set {dataset!r}{hint}")
        found = {dataset: found[dataset]}
    about = [_about(r, group) for group, those in found.items() for r in those]
    emit({"recipes": about}, json, lambda: _listing(found))


@recipes.command("show")
def show_recipe(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A recipe's name, or a YAML file.")
    ],
    whole: Annotated[
        bool, typer.Option("--whole", help="With all that it extends, in one file.")
    ] = False,
    json: Json = False,
) -> None:
    """Show a recipe, ready to be saved, changed and trained with.

    Example: diffseg recipes show ph2-ensemdiff --whole > mine.yaml
    """
    import yaml

    from diffseg_training.recipe import load_recipe, recipe_content, recipe_path

    recipe, path = load_recipe(name), recipe_path(name)
    if whole:
        content = recipe_content(path)
        text = yaml.safe_dump(content, sort_keys=False, width=88, allow_unicode=True)
    else:
        text = path.read_text(encoding="utf-8")
    emit(recipe.model_dump(mode="json"), json, text.rstrip("\n"))


@recipes.command("prepare")
def prepare(
    name: Annotated[
        str, typer.Argument(metavar="DATASET", help="Such as isic16 or brats21.")
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where it was unpacked.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="New folder for manifest and masks; else a check."),
    ] = None,
    json: Json = False,
) -> None:
    """Check a downloaded data set, line by line, and make a manifest of it.

    Images stay where they are. Without --out nothing is written.

    Example: diffseg recipes prepare isic16 ~/Downloads/ISIC16 --out data/isic16
    """
    from diffseg_training.preparers import preparer
    from diffseg_training.preparers.writing import check_folder, prepare_folder

    found, lines = check_folder(name, folder)
    manifest = None if out is None else follow(prepare_folder(name, folder, out))
    about = preparer(name).ABOUT
    result: dict[str, Any] = {
        "dataset": name,
        "whole": not found.missing,
        "lines": [{"good": line.good, "text": line.text} for line in lines],
        "manifest": None if manifest is None else str(manifest),
    }
    said = [f"{'ok     ' if line.good else 'missing'}  {line.text}" for line in lines]
    if found.missing:
        said.append(f"needed   {about.layout}; from {about.home}")
    said.append(f"split    {about.split}")
    if manifest is not None:
        said.append(f"written  {manifest}")
    emit(result, json, "\n".join(said))


def by_dataset(found: list[Recipe]) -> dict[str, list[Recipe]]:
    """Recipes by the name of their data set.

    One that names none goes with the data set that its own name begins with, if any.
    """
    names = sorted({recipe.dataset.name for recipe in found if recipe.dataset})
    groups: dict[str, list[Recipe]] = {name: [] for name in [*names, ELSEWHERE]}
    for recipe in found:
        if recipe.dataset:
            name = recipe.dataset.name
        else:
            begun = [name for name in names if recipe.name.startswith(f"{name}-")]
            name = max(begun, key=len, default=ELSEWHERE)
        groups[name].append(recipe)
    return {name: those for name, those in groups.items() if those}


def _about(recipe: Recipe, group: str) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "title": recipe.title,
        "method": recipe.method,
        "network": recipe.network.get("name"),
        "dataset": group,
        "licence": recipe.card.licence,
        "length": _length(recipe),
    }


def _length(recipe: Recipe) -> str:
    length = recipe.length
    if length.steps is not None:
        return f"{length.steps} steps"
    return f"{length.minutes:g} min"


def _listing(found: dict[str, list[Recipe]]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from diffseg_training.preparers import preparer_names

    parts: list[RenderableType] = []
    widest = max(len(recipe.name) for those in found.values() for recipe in those)
    for group, those in found.items():
        source = next((recipe.dataset for recipe in those if recipe.dataset), None)
        heading = Text(source.title if source else group, style="bold")
        if source is not None:
            heading.append(f"  ({group})", style="not bold dim")
        parts.append(heading)
        if source is not None:
            parts.append(Text(f"  licence: {source.licence}", style="dim"))
            if source.home:
                parts.append(Text(f"  data: {source.home}", style="dim"))
        if group in preparer_names():
            command = f"  to prepare: diffseg recipes prepare {group} FOLDER --out DIR"
            parts.append(Text(command, style="dim"))
        table = Table.grid(padding=(0, 2))
        for width in (widest, 11, 15):
            table.add_column(min_width=width, no_wrap=True)
        table.add_column(no_wrap=True, justify="right", min_width=12)
        for recipe in those:
            network = str(recipe.network.get("name"))
            table.add_row(f"  {recipe.name}", recipe.method, network, _length(recipe))
        parts += [table, Text("")]
    return Group(*parts[:-1])
