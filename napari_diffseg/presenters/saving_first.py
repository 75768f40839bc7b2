"""Saving what is drawn before something asks the project for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_diffseg.presenters.project_cases import ProjectCases
from napari_diffseg.presenters.saving import SavePresenter, needs_saving


def save_open(
    cases: ProjectCases, saving: SavePresenter, then: Callable[[], Any]
) -> None:
    """Keep what is drawn in the project's open case, then call on."""
    case = cases.current
    if case is not None and needs_saving(case):
        saving.save(case, then)
    else:
        then()
