"""Helpers that lie beside tests, which are imported one by one and know no package."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


def beside(test: str, name: str) -> Any:
    """A module of helpers in the folder of a file, which gives its ``__file__``."""
    spec = spec_from_file_location(name, Path(test).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
