"""Modules that tests load by file: helpers that lie beside them, scripts that measure.

Tests are imported one by one and know no package.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

_MEASURING = str(Path(__file__).parents[2] / "docs" / "measuring")


def beside(test: str, name: str) -> Any:
    """A module of helpers, its place told from a file, which gives its ``__file__``."""
    path = Path(test).parent / f"{name}.py"
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measuring(name: str) -> Any:
    """A script that measures, as one that lies beside it imports it."""
    if _MEASURING not in sys.path:  # some import others only when they run
        sys.path.append(_MEASURING)
    return import_module(name)
