"""Reading an image with its voxels, and knowing it again by its files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from diffseg.errors import UserError
from diffseg.project.facts import Stamp, stamp_of
from diffseg.volume import SeriesInfo, Volume, check_readable, list_series
from napari_diffseg.session import Case


def read_image(
    names: Sequence[str], series: str | None, frame: int | None
) -> Volume | tuple[SeriesInfo, ...]:
    """Read an image with its voxels, or list the series that it could be."""
    if series is None and one_folder(names):
        found = tuple(list_series(names[0]))
        if len(found) > 1:
            return found
    volume = Volume.read(list(names), frame=frame, series=series)
    return check_readable(volume, keep=True)


def of_files(
    cases: Sequence[Case], names: Sequence[str], series: str | None
) -> Case | None:
    """The case that was opened from these files, or None."""
    wanted = real_paths(names)
    for case in cases:
        source = case.volume.source
        same = bool(source.paths) and real_paths(source.paths) == wanted
        if same and series in (None, source.series_uid):
            return case
    return None


def stamps_of(names: Sequence[str]) -> tuple[Stamp | None, ...]:
    """What an image's files are now: size and time of each."""
    return tuple(stamp_of(path) for path in real_paths(names))


def check_unchanged(case: Case) -> None:
    """Refuse a case whose files are not what was read: models read them anew.

    Raises
    ------
    UserError
        They have changed, or are gone.
    """
    names = case.volume.source.paths
    if names and case.stamps and stamps_of(names) != case.stamps:
        where = case.volume.source.where
        raise UserError(
            f"{where} has changed on disk since it was opened; close it and open it "
            "again"
        )


def one_folder(names: Sequence[str]) -> bool:
    """Whether there is one path, and it is a folder's."""
    return len(names) == 1 and Path(names[0]).is_dir()


def real_paths(names: Sequence[str]) -> tuple[str, ...]:
    """Absolute paths, links followed: what two names of one file share."""
    return tuple(os.path.realpath(Path(name).expanduser()) for name in names)


def series_line(info: SeriesInfo) -> str:
    """Tell a series in a line."""
    what = info.description or "without a description"
    return f"{what} ({info.modality or '?'}, {info.n_slices} slices)"
