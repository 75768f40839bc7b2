"""All masks of a project as one format, in a folder of their own."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path

from diffseg.progress import run
from diffseg.project import exporting, store


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What an export of a project wrote.

    Parameters
    ----------
    folder : Path
    files, cases : int
    left : tuple of str
        Names of cases that have no mask yet.
    notes : tuple of str
        What had to be decided, a line each.
    """

    folder: Path
    files: int
    cases: int
    left: tuple[str, ...]
    notes: tuple[str, ...]


def export_project(project: store.Project, format: str, folder: str | Path) -> Outgoing:
    """Write the newest mask of every case that has one.

    Parameters
    ----------
    format : str
        One of `diffseg.project.exporting.formats`.
    folder : path
        Made where it is missing; what an earlier export wrote there is replaced.

    Raises
    ------
    UserError
        No case has a mask, one does not fit the format, or a file is in the way.
    """
    cases, left = store.with_masks(project)
    given = store.export_cases(project, cases)
    settings = exporting.ExportSettings(overwrite=True)
    work = exporting.export(given, format, folder, settings, total=len(cases))
    made = run(work)
    return Outgoing(Path(folder), len(made.paths), len(cases), tuple(left), made.notes)


def free_folder(project: Path, format: str) -> Path:
    """``<project>-<format>`` beside the project, with a number where it is taken."""
    names = (f"{project.name}-{format}{n if n > 1 else ''}" for n in count(1))
    paths = (project.parent / name for name in names)
    return next(path for path in paths if not path.exists())
