"""highdicom, loaded when a segmentation first needs it, and kept from speaking."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffseg.errors import UserError
from diffseg.volume.quiet import heard


def highdicom() -> Any:
    """Return highdicom, loaded when it is first needed; `UserError` without it."""
    try:
        with heard():
            import highdicom as module
    except ImportError:
        raise UserError(
            "DICOM-SEG needs highdicom: pip install 'napari-diffseg[dicom]'"
        ) from None
    return module


@contextmanager
def quiet_highdicom() -> Iterator[None]:
    """Keep highdicom's words from logs: they may quote the patient's name."""
    logger = logging.getLogger("highdicom")
    before, logger.disabled = logger.disabled, True
    children = [
        child
        for name, child in logging.Logger.manager.loggerDict.items()
        if name.startswith("highdicom.") and isinstance(child, logging.Logger)
    ]
    states = [child.disabled for child in children]
    for child in children:
        child.disabled = True
    try:
        with heard():
            yield
    finally:
        logger.disabled = before
        for child, state in zip(children, states, strict=True):
            child.disabled = state
