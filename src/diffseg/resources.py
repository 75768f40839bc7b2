"""Files that ship with the product, found by name in `diffseg_resources`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any


def resource(*parts: str) -> Path:
    """Path of a shipped file or folder, such as ``resource("models")``.

    Raises
    ------
    FileNotFoundError
        No such file ships with this version.
    """
    path = Path(str(files("diffseg_resources").joinpath(*parts)))
    if not path.exists():
        raise FileNotFoundError(f"resource {'/'.join(parts)} is not shipped: {path}")
    return path


def shipped_recipe(name: str) -> dict[str, Any]:
    """Content of a shipped recipe, with all that it takes from the one it extends."""
    import yaml

    text = resource("recipes", f"{name}.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    base = content.pop("extends", None)
    return content if base is None else merged(shipped_recipe(base), content)


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says, table by table.

    A table within that names another thing (`name`) takes nothing from the base's.
    """
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            same = value.get("name", below.get("name")) == below.get("name")
            value = merged(below, value) if same else value
        result[key] = value
    return result
