"""``diffseg project check``, ``recover`` and ``export``: whole, repaired, taken out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import emit, follow
from diffseg.cli.project_options import Dir, Json

if TYPE_CHECKING:
    from diffseg.project.store import Health


DAMAGED = 3
"""Exit status where the command did its work, and the project is damaged."""


def check(folder: Dir, json: Json = False) -> int:
    """Compare a project's database with its files, and both with their checksums.

    Ends with status 0 if all that was saved is as it was saved, and with 3 if not.

    Example: diffseg project check my-study --json
    """
    from diffseg.project.store import check_folder

    health = follow(check_folder(folder))
    emit(_told(health), json, "\n".join(_lines(health)))
    return 0 if health.sound else DAMAGED


def recover(folder: Dir, json: Json = False) -> int:
    """Repair a project as far as it can be; nobody may have it open.

    Ends with status 0 if all that was saved is there again, and with 3 if not.

    Example: diffseg project recover my-study
    """
    from diffseg.project.store import recover as repair

    done = follow(repair(folder))
    lines = [*done.done, *_lines(done.health)]
    emit({"done": list(done.done), **_told(done.health)}, json, "\n".join(lines))
    return 0 if done.health.sound else DAMAGED


def export(
    folder: Dir,
    out: Annotated[Path, typer.Option(metavar="DIR2", help="Where the files go.")],
    format: Annotated[
        str, typer.Option(help="nifti, nnunet, seg-nrrd, dicom-seg or csv.")
    ] = "nifti",
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="CASE", help="Only this one; give it several times."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export.")
    ] = False,
    json: Json = False,
) -> None:
    """Write the newest masks of a project as files of another format.

    Example: diffseg project export my-study --format nifti --out masks
    """
    from diffseg.project import exporting, store

    with store.open_project(folder) as opened:
        cases, left = store.with_masks(opened, case or ())
        settings = exporting.ExportSettings(overwrite=overwrite)
        given = store.export_cases(opened, cases)
        work = exporting.export(given, format, out, settings, total=len(cases))
        made = follow(work)
    told = {
        "format": format,
        "cases": [one.name for one in cases],
        "without_mask": left,
        "files": [str(path) for path in made.paths],
        "notes": list(made.notes),
    }
    lines = [f"{len(made.paths)} files are in {out}", *made.notes]
    if left:
        lines.append(f"without a mask yet: {len(left)} cases")
    emit(told, json, "\n".join(lines))


def _told(health: Health) -> dict[str, Any]:
    return {
        "sound": health.sound,
        "cases": health.cases,
        "files": health.files,
        "findings": [
            {
                "trouble": one.trouble.name.lower(),
                "damage": one.trouble.is_damage,
                "where": one.where,
                "what": one.what,
            }
            for one in health.findings
        ],
    }


def _lines(health: Health) -> list[str]:
    said = "all that was saved is there" if health.sound else "the project is damaged"
    return [
        *(f"{one.trouble.value}: {one.where}: {one.what}" for one in health.findings),
        f"{said} ({health.cases} cases, {health.files} files)",
    ]
