"""``diffseg gui``: napari with the panels, an image, or a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffseg.cli.output import emit
from diffseg.cli.windows import check_display, window_opener
from diffseg.errors import UserError
from diffseg.project.recent import is_project


def gui(
    image: Annotated[
        str | None,
        typer.Argument(
            metavar="[IMAGE|PROJECT]", help="An image, or a project's folder, to open."
        ),
    ] = None,
    propose: Annotated[
        bool, typer.Option("--propose", help="Start a proposal for the image.")
    ] = False,
    screenshot: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG", help="Propose, write a picture of the window, and close it."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Open napari with the DiffSeg panels.

    Example: diffseg gui case.nii.gz
    """
    open_it = window_opener()
    if image is not None and is_project(Path(image)):
        if propose or screenshot:
            raise UserError("a project opens with its list; leave out --propose")
    elif image is not None:
        check_image(image)
    elif propose or screenshot:
        raise UserError("nothing to propose for; give an image: diffseg gui IMAGE")
    if screenshot is not None:
        check_picture(screenshot)
        open_it([str(image)], propose=True, screenshot=screenshot)
        emit({"screenshot": str(screenshot)}, json, f"written: {screenshot}")
        return
    check_display()
    open_it([image] if image else [], propose=propose)
    emit({"image": image}, json)


def check_image(path: str) -> None:
    """Raise `UserError` unless `path` is an image that can be opened.

    A folder of several DICOM series passes: the window asks which one.
    """
    from diffseg.volume import Volume, list_series
    from diffseg.volume.dicom import holds_dicom

    if Path(path).is_dir() and holds_dicom(path) and len(list_series(path)) > 1:
        return
    Volume.read(path)


def check_picture(path: Path) -> None:
    """Raise `UserError` unless a new PNG can be written at `path`."""
    if path.suffix.lower() != ".png":
        raise UserError(f"{path}: give a name that ends in .png")
    if path.exists():
        raise UserError(f"{path} is there; give another name or remove it")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path.absolute().parent}: no such folder; make it first")
