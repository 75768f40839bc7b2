"""``diffseg demo``: a real whole brain, both hippocampi, in a window or in files."""

from __future__ import annotations

import filecmp
import json as json_format
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import emit, follow
from diffseg.cli.propose import counted, number, structures_table
from diffseg.errors import DiffsegError, UserError
from diffseg.progress import Progress, Work

if TYPE_CHECKING:
    from rich.console import RenderableType

MODEL = "hippocampus-mri"
STEM = "mni152_t1"
REPORT = "report.json"
SCREENSHOT = "screenshot.png"
WINDOW = "window"  # folder of the image that the window shows, and of its exports


def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="Open no window, write files only.")
    ] = False,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the results go.")
    ] = Path("demo-out"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find both hippocampi in a real brain, in a window or in files.

    Example: diffseg demo --headless --out demo-out
    """
    if not headless:
        image = show_demo(out)
        said = f"The window is closed. Its image, and what you exported: {image.parent}"
        emit({"image": str(image)}, json, said)
        return
    report, pictures = run_demo(out)
    emit(
        {**report, "pictures": [path.name for path in pictures]},
        json,
        lambda: _in_words(report, pictures),
    )


def show_demo(out: Path) -> Path:
    """Open a window on the MNI152 template and propose there; return once closed.

    Torch is not loaded here: the window's engine runs in another process.

    Returns
    -------
    Path
        The copy of the template that was shown, in a folder of `out`.

    Raises
    ------
    UserError
        There is no window or no display, the template's package is missing, or
        `out` cannot be written.
    """
    from diffseg.cli.windows import check_display, window_opener
    from diffseg.domain.outputs import probe, told
    from diffseg.volume.template import mni152_path

    open_window = window_opener()
    check_display()
    template, image = mni152_path(), out / WINDOW / f"{STEM}.nii.gz"
    probe(image.parent)
    with told(image.parent):
        image.parent.mkdir(parents=True, exist_ok=True)
        if not image.exists():
            shutil.copyfile(template, image)
        elif not filecmp.cmp(template, image, shallow=False):
            raise UserError(
                f"{image} is in the way: it is not the template; move it away or "
                "choose another folder with --out"
            )
    open_window([str(image)], propose=True)
    return image


def run_demo(out: Path) -> tuple[dict[str, Any], list[Path]]:
    """Propose for the MNI152 template; write masks, ``report.json`` and pictures.

    Everything is written aside and moved into `out` at the end. What an earlier
    demo left there is replaced; a file of anybody else is not.

    Returns
    -------
    report : dict
        The report, of the schema of ``propose``; `files` lists the pictures too, and
        `warnings` say why there is no picture of a window, where there is none.
    pictures : list of Path

    Raises
    ------
    UserError
        The template's package is missing, or `out` cannot be written.
    """
    from diffseg.domain.outputs import aside, move_in, probe, replaceable, told
    from diffseg.domain.report import SCHEMA, output_names
    from diffseg.models import find_model
    from diffseg.volume.template import mni152_path

    mni152_path()  # raises where nilearn is not installed
    labels = find_model(MODEL).card.labels
    names = output_names(STEM, labels, raster=False)
    probe(out)
    first = (*names.images, f"{STEM}.nii.gz", "overview.png", SCREENSHOT)
    ours = replaceable(out, first, REPORT, SCHEMA, overwrite=True)
    with told(out), aside(out) as hidden:
        report, pictures = _propose_into(hidden)
        (hidden / names.report).unlink()  # its content is in REPORT
        written = [one["name"] for one in report["files"]]
        move_in(hidden, out, (*written, REPORT), ours)
    return report, [out / path.name for path in pictures]


def _propose_into(folder: Path) -> tuple[dict[str, Any], list[Path]]:
    """Copy the template to `folder`, propose for it, report and draw there."""
    from diffseg.cli.pictures import draw_pictures
    from diffseg.domain import Request
    from diffseg.domain.outputs import entry
    from diffseg.segmenters import load_segmenter
    from diffseg.volume import Volume
    from diffseg.volume.template import mni152_path

    image = folder / f"{STEM}.nii.gz"
    shutil.copyfile(mni152_path(), image)
    volume = Volume.read(image)
    segmenter = load_segmenter(MODEL)
    proposal = follow(segmenter.iter_propose(Request(volume, keep_members=True)))
    # The members are for the contours; their masks would only crowd the folder.
    report = replace(proposal, members=None).save(folder)
    pictures = draw_pictures(volume, proposal, folder)
    del segmenter, proposal  # the window has an engine of its own, and its memory
    try:
        pictures.append(follow(_iter_photograph(image)))
    except DiffsegError as error:
        report["warnings"].append(f"no {SCREENSHOT}: {error}")
    report["files"] += [entry(path) for path in (image, *pictures)]
    text = json_format.dumps(report, indent=2, allow_nan=False) + "\n"
    (folder / REPORT).write_text(text, encoding="utf-8")
    return report, pictures


def _iter_photograph(image: Path) -> Work[Path]:
    """Take a picture of a window beside `image`."""
    from diffseg.cli.windows import picture_of_window

    yield Progress("window", 0, 1, "a picture of it, on a virtual screen")
    picture = image.with_name(SCREENSHOT)
    # The window shows the path of its image: not that of a folder about to go.
    with tempfile.TemporaryDirectory() as folder:
        shown = Path(folder) / "demo-out" / image.name
        shown.parent.mkdir()
        shutil.copyfile(image, shown)
        picture_of_window(shown, picture)
    return picture


def _in_words(report: dict[str, Any], pictures: list[Path]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    model = report["model"]
    head = f"MNI152 T1 template, {model['id']} {model['version']}"
    seconds = sum(value or 0 for value in report["seconds"].values())
    below = [
        f"{number(seconds, 1)} s for {counted(report['members'], 'member')} on "
        f"{report['device']}, {counted(report['threads'], 'thread')}",
        *(f"warning: {warning}" for warning in report["warnings"]),
        f"written to {pictures[0].parent}: masks, report.json, "
        + ", ".join(path.name for path in pictures),
    ]
    return Group(
        head,
        "",
        _regions_table(report),
        "",
        structures_table(report["structures"]),
        "",
        *below,
        Text("Not a medical device.", style="dim"),
    )


def _regions_table(report: dict[str, Any]) -> RenderableType:
    from rich.table import Table

    names = [one["name"] for one in report["structures"]]
    table = Table(box=None, pad_edge=False)
    table.add_column("Region")
    for name in (*names, "together"):
        table.add_column(f"{name} (ml)", justify="right")
    table.add_column("found by")
    for region in report["regions"]:
        volumes = [region["volume_ml"].get(name) for name in names]
        known = [ml for ml in volumes if ml is not None]
        cells = [number(ml) for ml in (*volumes, sum(known) if known else None)]
        table.add_row(region["name"], *cells, region["found_by"])
    return table
