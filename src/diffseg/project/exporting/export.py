"""Cases out into a folder, as one format: all of it or nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path

from diffseg.domain.outputs import aside, entry, move_in, replaceable, told
from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from diffseg.project.exporting.formats import CSV, NNUNET, ExportFormat, format_named
from diffseg.project.exporting.measures import Measures, measures_of, table_text
from diffseg.project.exporting.nnunet import export_nnunet
from diffseg.project.exporting.nouns import ExportCase, Exported, ExportSettings

SCHEMA = "diffseg-export-1"
TABLE = "measurements.csv"
_AS_GIVEN = ExportSettings()


def manifest_of(name: str) -> str:
    """Name of the file that lists what an export of that format wrote."""
    return f"export_{name}.json"


def export(
    cases: Iterable[ExportCase],
    name: str,
    folder: str | Path,
    settings: ExportSettings = _AS_GIVEN,
    total: int = 0,
) -> Work[Exported]:
    """Write cases into `folder` as the format `name`.

    A case is asked for when its turn comes, so that a generator of cases keeps one in
    memory. What is in the way stops the export, unless an earlier one wrote it, nobody
    changed it since, and ``settings.overwrite`` is set; other files stay. The manifest
    ``export_FORMAT.json`` comes last and lists the files with their checksums. On an
    error, or when the work is closed, the folder is as it was.

    Parameters
    ----------
    cases : iterable of ExportCase
    name : str
        One of `diffseg.project.exporting.formats`.
    folder : path
        Made where it is missing.
    settings : ExportSettings
    total : int
        How many cases there are, for progress; 0 if it is not known.

    Returns
    -------
    Exported

    Raises
    ------
    UserError
        A case does not fit the format, two have one name, a file is in the way, or the
        folder cannot be written into.
    """
    chosen, folder = format_named(name), Path(folder)
    if isinstance(cases, Sized) and not total:
        total = len(cases)
    if name == NNUNET:
        return (yield from export_nnunet(cases, total, folder, settings))
    manifest = manifest_of(name)
    with told(folder):
        ours = replaceable(folder, (), manifest, SCHEMA, True)
    with told(folder), aside(folder) as hidden:
        gate = _Gate(folder, ours, settings.overwrite)
        if name == CSV:
            notes = yield from _table(cases, total, hidden, gate)
        else:
            notes = yield from _files(cases, total, chosen, hidden, gate, settings)
        if not gate.names:
            raise UserError("no case to export; correct or accept one first")
        kept = sorted(ours - set(gate.names) - {manifest})
        listed = [entry(folder / one) for one in kept]
        listed += [entry(hidden / one) for one in gate.names]
        content = {"schema": SCHEMA, "format": name, "notes": notes, "files": listed}
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (hidden / manifest).write_text(text + "\n", encoding="utf-8")
        wanted = (*gate.names, manifest)
        move_in(hidden, folder, wanted, ours & set(wanted))
    return Exported(tuple(folder / one for one in gate.names), notes)


class _Gate:
    """Lets names pass that are free, or ours to replace; remembers them in order."""

    def __init__(self, folder: Path, ours: frozenset[str], overwrite: bool) -> None:
        self._folder, self._ours, self._overwrite = folder, ours, overwrite
        self.names: list[str] = []
        self._taken: set[str] = set()

    def passed(self, names: Sequence[str]) -> Sequence[str]:
        for name in names:
            if name.lower() in self._taken:  # one file on some file systems
                raise UserError(f"{name}: two cases give a file of this name; rename")
            self._taken.add(name.lower())
            if os.path.lexists(self._folder / name):
                self._require_ours(name)
            self.names.append(name)
        return names

    def _require_ours(self, name: str) -> None:
        path = self._folder / name
        if name not in self._ours:
            raise UserError(
                f"{path} is in the way: no earlier export wrote it, or it was changed "
                "since; move it away or choose another folder"
            )
        if not self._overwrite:
            raise UserError(
                f"{path} is there from an earlier export; choose another folder or ask "
                "to overwrite (--overwrite)"
            )


def _files(
    cases: Iterable[ExportCase],
    total: int,
    chosen: ExportFormat,
    hidden: Path,
    gate: _Gate,
    settings: ExportSettings,
) -> Work[tuple[str, ...]]:
    """Write each case into its own files."""
    assert chosen.cases is not None
    notes: dict[str, None] = {}
    for done, case in enumerate(cases):
        yield Progress("export", done, total, case.name)
        chosen.check(case)
        names = gate.passed(chosen.cases.names(case))
        paths = [hidden / one for one in names]
        said = chosen.cases.write(case, paths, settings)
        notes |= dict.fromkeys(f"{case.name}: {one}" for one in said)
    return tuple(notes)


def _table(
    cases: Iterable[ExportCase], total: int, hidden: Path, gate: _Gate
) -> Work[tuple[str, ...]]:
    """Measure each case, and write the table."""
    rows: list[Measures] = []
    names: set[str] = set()
    gate.passed((TABLE,))
    for case in _distinct(cases, names):
        yield Progress("measure", len(names) - 1, total, case.name)
        rows += measures_of(case)
    if not rows:
        raise UserError("no case to export; correct or accept one first")
    (hidden / TABLE).write_text(table_text(rows), encoding="utf-8", newline="")
    return ()


def _distinct(cases: Iterable[ExportCase], names: set[str]) -> Iterator[ExportCase]:
    for case in cases:
        if case.name in names:
            raise UserError(f"{case.name}: two cases have this name; rename one")
        names.add(case.name)
        yield case
