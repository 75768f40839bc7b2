"""A proposal's report and files: all of them are written, or none.

The report comes last and lists the images with their checksums, which is how a
later run knows what it may replace; see `diffseg.domain.outputs`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain.labels import LabelTable
from diffseg.domain.outputs import aside, entry, move_in, probe, replaceable, told
from diffseg.domain.proposal import Proposal
from diffseg.volume import (
    Grid,
    Source,
    atomic_write,
    write_float,
    write_mask,
    write_png,
)

INTERVAL = "5-95 % spread over members; its coverage is not established"
SCHEMA = "diffseg-proposal-1"

Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OutputNames:
    """Names of a proposal's files within its folder.

    Parameters
    ----------
    probability : tuple of str
        One name, or one for each class where the source is a raster.
    members : tuple of str
        One name for each member that was kept.
    """

    mask: str
    probability: tuple[str, ...]
    uncertainty: str
    members: tuple[str, ...]
    report: str

    @property
    def images(self) -> tuple[str, ...]:
        """Every name but the report's."""
        return (self.mask, *self.probability, self.uncertainty, *self.members)


def gives_pictures(grid: Grid, source: Source) -> bool:
    """Whether a proposal for this image is written as PNGs and not as NIfTI.

    True for a raster of one plane; a raster of several planes is a volume.
    """
    return source.is_raster and grid.shape[0] == 1


def output_names(
    stem: str, labels: LabelTable, *, raster: bool, members: int = 0
) -> OutputNames:
    """Name the files of a proposal.

    Parameters
    ----------
    stem : str
        The image's name without its suffixes.
    labels : LabelTable
    raster : bool
        Write PNGs, one probability for each class; see `gives_pictures`.
    members : int
        How many members' masks are kept.
    """
    suffix = ".png" if raster else ".nii.gz"
    classes = [f"_{_file_safe(name)}" for name in labels.names] if raster else [""]
    if len(set(classes)) != len(classes):  # two names that differ in a slash only
        pairs = zip(classes, labels.values, strict=True)
        classes = [f"{one}_{value}" for one, value in pairs]
    return OutputNames(
        mask=f"{stem}_mask{suffix}",
        probability=tuple(f"{stem}_probability{one}{suffix}" for one in classes),
        uncertainty=f"{stem}_uncertainty{suffix}",
        members=tuple(f"{stem}_member_{i:02d}{suffix}" for i in range(members)),
        report=f"{stem}_report.json",
    )


def report_of(proposal: Proposal) -> Report:
    """Build the content of ``<stem>_report.json``, without the list of files.

    ``seconds.write`` is None until the proposal is saved.
    """
    provenance = proposal.provenance
    stages = ("load", "prepare", "sample", "write")
    information = proposal.mutual_information_mean
    return {
        "schema": SCHEMA,
        "model": dict(provenance.model),
        **({} if provenance.text is None else {"text": provenance.text}),
        "seed": provenance.seed,
        "members": provenance.members,
        "steps": provenance.steps,
        "device": provenance.device,
        "threads": provenance.threads,
        "seconds": {stage: provenance.seconds.get(stage) for stage in stages},
        "structures": [asdict(structure) for structure in proposal.structures],
        "interval": INTERVAL,
        "regions": [
            {**asdict(region), "box": [list(axis) for axis in region.box]}
            for region in proposal.regions
        ],
        "mutual_information_mean": None if information is None else float(information),
        "warnings": list(proposal.warnings),
    }


def check_writable(
    folder: str | Path,
    stem: str,
    labels: LabelTable,
    *,
    raster: bool,
    members: int = 0,
    overwrite: bool = False,
) -> None:
    """Check that a proposal could be saved, before the work for it starts.

    Creates nothing that stays.

    Parameters
    ----------
    folder : path
    stem, labels, raster, members
        As for `output_names`.
    overwrite : bool
        As for `save_proposal`.

    Raises
    ------
    UserError
        The folder cannot be written into, or a file is in the way.
    """
    folder = Path(folder)
    probe(folder)
    names = output_names(stem, labels, raster=raster, members=members)
    replaceable(folder, names.images, names.report, SCHEMA, overwrite)


def save_proposal(
    proposal: Proposal, folder: str | Path, *, overwrite: bool = False
) -> Report:
    """Write masks, probabilities, uncertainty and report onto the source's grid.

    A volume gives ``<stem>_mask.nii.gz``, ``<stem>_probability.nii.gz`` (3D for
    one class, else 4D with classes last) and ``<stem>_uncertainty.nii.gz``; a
    raster of one plane ``<stem>_mask.png`` (0/255 for one class, else its values),
    ``<stem>_probability_<class>.png`` and ``<stem>_uncertainty.png`` (16 bit,
    65535 is 1.0). Members that were kept become ``<stem>_member_XX``. The report
    is ``<stem>_report.json``. On failure the folder is as it was before.

    Parameters
    ----------
    proposal : Proposal
    folder : path
        Created where it is missing.
    overwrite : bool
        Replace what an earlier run wrote, where nobody changed it since.

    Returns
    -------
    dict
        The report: that of `report_of`, ``seconds.write``, and ``files`` with
        each image's name, bytes and sha256.

    Raises
    ------
    UserError
        The folder cannot be written into or is full, or a file is in the way
        that no earlier run wrote, or one that did and `overwrite` is not given.
    """
    folder, started = Path(folder), time.perf_counter()
    members = 0 if proposal.members is None else len(proposal.members)
    names = output_names(
        proposal.source.stem,
        proposal.labels,
        raster=gives_pictures(proposal.grid, proposal.source),
        members=members,
    )
    ours = replaceable(folder, names.images, names.report, SCHEMA, overwrite)
    with told(folder), aside(folder) as hidden:
        for name, write in _writers(proposal, names):
            write(hidden / name)
        report = report_of(proposal)
        report["files"] = [entry(hidden / name) for name in names.images]
        report["seconds"]["write"] = time.perf_counter() - started
        text = json.dumps(report, indent=2, allow_nan=False, ensure_ascii=False)
        payload = (text + "\n").encode()
        atomic_write(hidden / names.report, lambda path: _put(path, payload))
        move_in(hidden, folder, (*names.images, names.report), ours)
    return report


def _writers(
    proposal: Proposal, names: OutputNames
) -> Iterator[tuple[str, Callable[[Path], object]]]:
    grid, source = proposal.grid, proposal.source
    picture, one_class = gives_pictures(grid, source), len(proposal.labels) == 1

    def mask(array: NDArray[np.uint8]) -> Callable[[Path], object]:
        if picture:  # one class is seen best in black and white
            shown = np.where(array > 0, np.uint8(255), array) if one_class else array
            return lambda path: write_png(path, shown)
        return lambda path: write_mask(path, array, grid, source)

    def floats(array: NDArray[np.float32]) -> Callable[[Path], object]:
        return lambda path: write_float(path, array, grid, source)

    yield names.mask, mask(proposal.mask)
    if len(names.probability) == len(proposal.probability):
        for name, one in zip(names.probability, proposal.probability, strict=True):
            yield name, floats(one)
    else:
        yield names.probability[0], floats(proposal.probability)
    yield names.uncertainty, floats(proposal.uncertainty)
    for index, name in enumerate(names.members):
        assert proposal.members is not None
        yield name, mask(proposal.members[index])


def _put(path: Path, payload: bytes) -> None:
    path.write_bytes(payload)


def _file_safe(name: str) -> str:
    """Replace what some file system does not take in a name."""
    return re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "-", name)
