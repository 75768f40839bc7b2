"""A project on either database, and images and masks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from beside import beside
from numpy.typing import NDArray

from diffseg.domain import Label, LabelTable, Proposal, Provenance
from diffseg.project.store import Case, Project, add_case, create_project
from diffseg.project.store.sources import plain_source
from diffseg.volume import Affine, Grid

SHAPE = (6, 7, 9)
TABLE = LabelTable(
    labels=(
        Label(name="anterior", value=1, color="#112233", code=None),
        Label(name="posterior", value=7, color="#445566", code=None),
    )
)
MODEL = {
    "id": "hippocampus-mri",
    "version": "1.0",
    "sha256": "ab" * 32,
    "licence": "CC0",
    "calibration": None,
}
postgres = beside(__file__, "postgres")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a PostgreSQL server that lives as long as the tests."""
    pytest.importorskip("psycopg", reason="no driver of PostgreSQL: install [team]")
    place = postgres.binaries()
    if place is None:
        pytest.skip("no PostgreSQL server is installed (apt install postgresql)")
    with postgres.server(place) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """What a project is created with: nothing for a file, or a URL."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgresql")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def project(tmp_path: Path, database: str | None, clock: Clock) -> Iterator[Project]:
    """A project with a label table, on either database."""
    made = create_project(
        tmp_path / "study", labels=TABLE, database=database, annotator="anna",
        clock=clock, patience=0.3,
    )  # fmt: skip
    with made:
        yield made


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Project]:
    """A project in a file."""
    made = create_project(
        tmp_path / "study", labels=TABLE, annotator="anna", patience=0.3
    )
    with made:
        yield made


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image on disk, outside of the project, whose name is a patient's."""
    return _write_image(tmp_path / "Doe_Jane_1970.nii.gz")


@pytest.fixture
def case(project: Project, image: Path) -> Case:
    return add_case(project, image, annotator="anna", name="first")


def _write_image(path: Path, value: int = 0, spacing: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.full(SHAPE[::-1], value, np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([spacing, 0.75, 2.0, 1.0])), path)
    return path


def _mask_of(*values: int) -> NDArray[np.uint8]:
    mask = np.zeros(SHAPE, np.uint8)
    for index, value in enumerate(values):
        mask[1 + index, 2, 1:7] = value
    return mask


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """Write an image of one value to a path."""
    return _write_image


@pytest.fixture
def mask_of() -> Callable[..., NDArray[np.uint8]]:
    """A mask with a row of six voxels of each value, from plane 1 on."""
    return _mask_of


@pytest.fixture
def proposal() -> Proposal:
    """A proposal of both labels, on the images' grid."""
    mask = _mask_of(1, 7)
    probability = np.stack([mask == 1, mask == 7]).astype(np.float32) * 0.75
    grid = Grid(SHAPE, Affine(np.diag([0.5, 0.75, 2.0, 1.0])))
    return Proposal(
        mask=mask,
        probability=probability,
        uncertainty=probability.max(0) / 2,
        labels=TABLE,
        grid=grid,
        source=plain_source(grid, "Doe_Jane_1970"),
        provenance=Provenance(dict(MODEL), 3, 8, 1, "cpu", 1, {"sample": 0.5}),
    )
