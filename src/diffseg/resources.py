"""Files that ship with the product, found by name in `diffseg_resources`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


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
