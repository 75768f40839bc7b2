"""Diffusion ensembles for medical segmentation: volumes in, proposals out.

The façade loads lazily: ``import diffseg`` brings in neither torch nor Qt.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffseg.domain import ImageLabels, Proposal, Region, Request
    from diffseg.errors import DiffsegError, UserError
    from diffseg.progress import Progress, run
    from diffseg.segmenters import load_segmenter
    from diffseg.volume import Volume

__version__ = "0.1.0"

_HOME = {
    "DiffsegError": "diffseg.errors",
    "ImageLabels": "diffseg.domain",
    "Progress": "diffseg.progress",
    "Proposal": "diffseg.domain",
    "Region": "diffseg.domain",
    "Request": "diffseg.domain",
    "UserError": "diffseg.errors",
    "Volume": "diffseg.volume",
    "load_segmenter": "diffseg.segmenters",
    "run": "diffseg.progress",
}

__all__ = [
    "DiffsegError",
    "ImageLabels",
    "Progress",
    "Proposal",
    "Region",
    "Request",
    "UserError",
    "Volume",
    "__version__",
    "load_segmenter",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'diffseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
