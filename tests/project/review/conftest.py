"""A project of some cases, with proposals of which the doubt is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from diffseg.domain import Label, LabelTable, Proposal, Provenance
from diffseg.project import store
from diffseg.project.store.sources import plain_source
from diffseg.volume import Affine, Grid

SHAPE = (6, 8, 10)
TABLE = LabelTable(
    labels=(
        Label(name="anterior", value=1, color="#112233", code=None),
        Label(name="posterior", value=7, color="#445566", code=None),
    )
)
GRID = Grid(SHAPE, Affine(np.diag([1.0, 1.0, 2.0, 1.0])))
Propose = Callable[..., Proposal]


def proposal_of(
    sure: float = 0.9,
    planes: tuple[int, ...] = (1, 2),
    members: NDArray[np.uint8] | None = None,
    seed: int = 3,
) -> Proposal:
    """Both structures, one beside the other, with this probability in these planes."""
    mask = np.zeros(SHAPE, np.uint8)
    for plane in planes:
        mask[plane, 2:5, 1:5] = 1
        mask[plane, 2:5, 5:9] = 7
    probability = np.stack([mask == 1, mask == 7]).astype(np.float32) * np.float32(sure)
    uncertainty = probability.max(0) * np.float32(1 - sure)
    model = {
        "id": "m", "version": "1", "sha256": "ab" * 32,
        "licence": "CC0", "calibration": None,
    }  # fmt: skip
    return Proposal(
        mask=mask,
        probability=probability,
        uncertainty=uncertainty,
        labels=TABLE,
        grid=GRID,
        source=plain_source(GRID, "Doe_Jane"),
        provenance=Provenance(model, seed, 4, 1, "cpu", 1, {"sample": 0.5}),
        members=members,
    )


def _write_image(path: Path, value: int = 0) -> Path:
    """Write an image of one value."""
    voxels = np.full(SHAPE[::-1], value, np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 2.0, 1.0])), path)
    return path


@pytest.fixture
def make() -> Propose:
    """Make a proposal; see `proposal_of`."""
    return proposal_of


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """Write an image of one value to a path."""
    return _write_image


@pytest.fixture
def study(tmp_path: Path) -> Iterator[store.Project]:
    """Four cases, a to d, without proposals."""
    with store.create_project(
        tmp_path / "study", labels=TABLE, annotator="anna"
    ) as made:
        for index, name in enumerate("abcd"):
            image = _write_image(tmp_path / f"{name}.nii.gz", index)
            store.add_case(made, image, annotator="anna")
        yield made


@pytest.fixture
def ids(study: store.Project) -> dict[str, str]:
    """Ids of the cases by name."""
    return {line.name: line.id for line in store.list_cases(study).lines}
