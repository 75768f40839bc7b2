"""``diffseg info``: what an image is, before anything is done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import emit

if TYPE_CHECKING:
    from rich.console import RenderableType


def info(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A file or folder.")],
    series: Annotated[
        str | None, typer.Option(help="DICOM series, where a folder holds several.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show an image's shape, spacing, orientation and affine.

    Example: diffseg info case.nii.gz --json
    """
    from diffseg.volume import describe

    about = describe(image, series=series)
    emit(about, json, lambda: _table(about))


def _table(about: dict[str, Any]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for key, value in about.items():
        table.add_row(key.replace("_mm", " (mm)").replace("_", " "), _in_words(value))
    return table


def _in_words(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, (list, tuple)):
        if not value:
            return "none"
        if all(isinstance(item, (list, tuple)) for item in value):
            return "\n".join(_in_words(row) for row in value)
        if all(isinstance(item, str) for item in value):
            return "\n".join(value)
        return "  ".join(f"{x:g}" if isinstance(x, float) else str(x) for x in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
