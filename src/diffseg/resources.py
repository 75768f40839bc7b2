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


def shipped_part(name: str, file: str) -> Path | None:
    """Folder of a part of models that ships, if it is one that holds such a file."""
    if not name.replace("-", "").isalnum():
        return None  # a path, and no name
    try:
        return resource("parts", name, file).parent
    except FileNotFoundError:
        return None


def shipped_parts(file: str) -> tuple[str, ...]:
    """Names of the parts of models that ship and hold such a file."""
    return tuple(sorted(one.parent.name for one in resource("parts").glob(f"*/{file}")))


def shipped_recipe(name: str) -> dict[str, Any]:
    """Content of a shipped recipe, with all that it takes from those it extends."""
    return read_recipe(resource("recipes", f"{name}.yaml"))


def read_recipe(path: Path) -> dict[str, Any]:
    """Content of a recipe's file, with all that it takes from those it extends.

    ``extends`` names one recipe or a list of them, of which a later one has the last
    word, and the file itself over all. Each is a shipped recipe, a shipped base
    (``base/ensemdiff``), or a YAML file beside the one that names it.

    Raises
    ------
    ValueError
        In one line: no YAML, no table, a key given twice, no such file to extend, or
        recipes that extend one another in a circle.
    """
    return _extended(path, ())


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says, table by table.

    A table within that names another thing (`name`) takes nothing from the base's.
    """
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            names = {table["name"] for table in (below, value) if "name" in table}
            value = merged(below, value) if len(names) < 2 else value
        result[key] = value
    return result


def _extended(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    here = path.resolve()
    if here in above:
        circle = [one.stem for one in (*above[above.index(here) :], here)]
        raise ValueError(f"recipe {path} extends itself: {' extends '.join(circle)}")
    content = _table(path)
    given = content.pop("extends", None)
    names = given if isinstance(given, list) else [given] if given else []
    whole: dict[str, Any] = {}
    for name in names:
        below = _extended(_parent(path, str(name)), (*above, here))
        whole = merged(whole, below)
    return merged(whole, content)


def _parent(path: Path, name: str) -> Path:
    """Find what a recipe extends."""
    file = name.endswith((".yaml", ".yml"))
    found = path.parent / name if file else resource("recipes") / f"{name}.yaml"
    if not found.is_file():
        raise ValueError(
            f"recipe {path} extends {name!r}, which is neither a shipped recipe nor a "
            "YAML file beside it"
        )
    return found


def _table(path: Path) -> dict[str, Any]:
    """Read a YAML file that is a table; every key stands once."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        # The loader in C, where PyYAML has it, is ten times as fast.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        content = yaml.load(text, Loader=loader)
        twice = _repeated(yaml.compose(text, Loader=loader))
    except UnicodeDecodeError:
        raise ValueError(f"recipe {path} is not text in UTF-8") from None
    except OSError as err:
        raise ValueError(f"recipe {path} cannot be read: {err.strerror}") from None
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        what = getattr(err, "problem", None) or "it cannot be read"
        raise ValueError(f"recipe {path}{where} is not YAML: {what}") from None
    if not isinstance(content, dict):
        raise ValueError(f"recipe {path} is not a table of keys and values")
    if twice is not None:
        raise ValueError(f"recipe {path} line {twice[1]} gives {twice[0]!r} twice")
    return content


def _repeated(node: Any) -> tuple[str, int] | None:
    """The first key that a YAML table gives twice, and its line."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                return key.value, key.start_mark.line + 1
            seen.add(key.value)
            if (found := _repeated(value)) is not None:
                return found
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            if (found := _repeated(value)) is not None:
                return found
    return None
