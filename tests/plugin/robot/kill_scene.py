"""What a window that is killed is given, and which of its strokes are there again."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from killed_window import BRUSH, MODEL, PROJECT
from numpy.typing import NDArray

from diffseg.models import find_model
from diffseg.project import store
from diffseg.project.journal import Journal

SHAPE = (40, 160, 160)
SMALL = (32, 48, 48)
"""Of a project's images, which a model proposes for and learns from in seconds."""
CASES = 5
Shape = tuple[int, int, int]


def make_image(path: Path, shape: Shape, seed: int) -> NDArray[np.uint8]:
    """Write noise with a bright ball of two halves in it; its mask (Z, Y, X)."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape).transpose(1, 2, 3, 0)
    z, y, x = np.moveaxis(grid - np.divide(shape, 2) - rng.uniform(-3, 3, 3), -1, 0)
    inside = z**2 + y**2 + x**2 < (min(shape) / 3) ** 2
    mask = np.where(inside, np.where(y < 0, 1, 2), 0).astype(np.uint8)
    voxels = (3 * inside + rng.normal(size=shape)).astype(np.float32)
    # Axes to the patient's left, back and feet are shown as they are stored.
    nib.save(nib.Nifti1Image(voxels.T, np.diag([-1, -1, -1, 1])), path)
    return mask


def make_project(folder: Path, seed: int) -> None:
    """Make a project: a case to paint in, and four that are done, to learn from."""
    labels = find_model(MODEL).card.labels
    with store.create_project(
        folder / PROJECT, labels=labels, annotator="robot"
    ) as made:
        for index in range(CASES):
            path = folder / (f"image{index}.nii.gz" if index else "image.nii.gz")
            mask = make_image(path, SMALL, seed + index)
            case = store.add_case(made, path, annotator="robot")
            if index:
                store.add_correction(made, case.id, mask, annotator="robot")
                store.set_review(made, case.id, store.State.DONE, reviewer="robot")


def kept_in(folder: Path) -> NDArray[np.uint8]:
    """The mask that the journal has."""
    journal = Journal(folder / "journal")
    kept = np.zeros(SHAPE, np.uint8)
    for leftover in journal.leftovers():
        kept = journal.restore(leftover.id).values
    journal.close()
    return kept


def kept_in_project(folder: Path) -> NDArray[np.uint8]:
    """The mask that is there once the project is opened again."""
    with store.open_project(folder) as project:
        journal = Journal(project.journal_folder)
        found = [journal.restore(one.id).values for one in journal.leftovers()]
        journal.close()
        case = store.find_case(project, "image")
        newest = store.newest_correction(project, case.id)
        if newest is not None:
            found.append(np.array(store.read_correction(project, newest)))
    return found[0] if found else np.zeros(SMALL, np.uint8)


def disc() -> NDArray[np.bool_]:
    """What one dab sets, about its middle."""
    from napari.layers import Labels

    side = 2 * BRUSH + 1
    layer = Labels(np.zeros((side, side), np.uint8))
    layer.brush_size = BRUSH
    layer.paint((BRUSH, BRUSH), 1)
    return np.asarray(layer.data) > 0


def first_lost(
    dabs: list[tuple[float, list[int], int]], kept: NDArray[np.uint8]
) -> int:
    """Index of the earliest dab of which some voxel is not there, or their count."""
    since = np.full(kept.shape, -1, np.int32)  # the dab since which a voxel differs
    rows, columns = np.nonzero(disc())
    for index, (_, (plane, row, column), value) in enumerate(dabs):
        y, x = rows - BRUSH + row, columns - BRUSH + column
        inside = (y >= 0) & (y < kept.shape[1]) & (x >= 0) & (x < kept.shape[2])
        at = (plane, y[inside], x[inside])
        same = kept[at] == value
        here = since[at]
        here[same] = -1
        here[~same & (here < 0)] = index
        since[at] = here
    lost = since[since >= 0]
    return int(lost.min()) if lost.size else len(dabs)
