"""Recipes by name or file: found, put together and overridden; a mistake in one line.

Nothing here knows what a recipe may say: that is `diffseg_training.recipe`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from diffseg.errors import UserError, nearest
from diffseg.resources import merged, read_recipe, resource


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that ship, in order; bases to extend are not among them."""
    return tuple(sorted(path.stem for path in resource("recipes").glob("*.yaml")))


def recipe_path(name_or_file: str) -> Path:
    """File of a shipped recipe's name, or the YAML file itself.

    Raises
    ------
    UserError
        There is none.
    """
    path = Path(name_or_file)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise UserError(f"recipe file {path} is not there")
        return path
    names = recipe_names()
    if name_or_file not in names:
        hint = nearest(name_or_file, names) or "; see diffseg recipes list"
        raise UserError(f"recipe {name_or_file!r} does not ship{hint}")
    return resource("recipes", f"{name_or_file}.yaml")


def recipe_content(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What a recipe says, with what it extends and ``section.key=value`` overrides.

    An override that names another thing (``objective.name=feedforward``) takes
    nothing from the section it replaces.

    Raises
    ------
    UserError
        Not a recipe's YAML, or an override that is not key=value.
    """
    try:
        content = read_recipe(path)
    except ValueError as err:
        raise UserError(str(err)) from err
    for override in overrides:
        content = merged(content, _override(content, override))
    return content


def _override(content: dict[str, Any], override: str) -> dict[str, Any]:
    """The tables within tables that an override such as ``length.minutes=2`` means."""
    key, equals, text = override.partition("=")
    *sections, last = key.strip().split(".")
    if not equals or not last or not all(sections):
        raise UserError(f"override {override!r} is not key=value")
    below: Any = content
    for section in sections:
        below = below.get(section) or {}
        if not isinstance(below, dict):
            raise UserError(f"override {override!r}: {section} has no keys of its own")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"override {override!r}: {text!r} is not YAML") from None
    table: dict[str, Any] = {last: value}
    for section in reversed(sections):
        table = {section: table}
    return table


def told(err: ValidationError, model: type[BaseModel], within: str = "") -> str:
    """The first mistake of a recipe in one line: where, what, and what would be right.

    Parameters
    ----------
    err : ValidationError
        Of `model`.
    model : type of BaseModel
        The recipe, or a section of it whose name `within` is.
    within : str
    """
    # A key that is unknown explains one that is missing: it is told first.
    first = min(err.errors(), key=lambda each: each["type"] != "extra_forbidden")
    parts = [str(part) for part in first["loc"]]
    where = ".".join([*([within] if within else []), *parts])
    if first["type"] == "extra_forbidden":
        known = _keys(model, parts[:-1])
        hint = nearest(parts[-1], known) or f"; known: {', '.join(sorted(known))}"
        return f"{where} is no key of a recipe{hint}"
    if first["type"] == "missing":
        return f"{where} is missing"
    if isinstance(first["input"], dict):  # keys that do not go together
        return f"{where}: {_what(first)}" if where else _what(first)
    return f"{where} is {_short(first)}: {_what(first)}"


def _what(error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ").splitlines()[0]
    return message[:1].lower() + message[1:]


def _short(error: ErrorDetails) -> str:
    shown = " ".join(repr(error["input"]).split())
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _keys(model: type[BaseModel], parts: Sequence[str]) -> set[str]:
    """Keys that the section at `parts` of a model takes."""
    for part in parts:
        field = model.model_fields.get(part)
        inner = [] if field is None else [field.annotation, *get_args(field.annotation)]
        models = [
            one for one in inner if isinstance(one, type) and issubclass(one, BaseModel)
        ]
        if models:
            model = models[0]
    return set(model.model_fields)
