"""Images to try the window on; nothing is fetched from a network."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import platformdirs

from diffseg.volume import Volume, write_float
from diffseg.volume.template import mni152_path
from napari_diffseg.plugin.readers import LayerData, image_layers

BRAIN = "mni152_t1.nii.gz"
HIPPOCAMPUS = "mni152_left_hippocampus_t1.nii.gz"
# Of the template, (plane, row, column): 40 x 51 x 36 mm around the left hippocampus.
_BOX = ((36, 76), (86, 137), (53, 89))


def brain() -> list[LayerData]:
    """The MNI152 template: an average brain at 1 mm, without its skull.

    Raises
    ------
    UserError
        nilearn, which brings it, is not installed.
    """
    return image_layers(Volume.read(brain_file(sample_folder())))


def hippocampus() -> list[LayerData]:
    """A piece of the template around the left hippocampus: quick to segment.

    Raises
    ------
    UserError
        As `brain`.
    """
    return image_layers(Volume.read(hippocampus_file(sample_folder())))


def sample_folder() -> Path:
    """Where samples are kept, so that masks beside them are the user's own."""
    home = os.environ.get("DIFFSEG_HOME")
    folder = home or platformdirs.user_data_dir("napari-diffseg", appauthor=False)
    return Path(folder) / "samples"


def brain_file(folder: Path) -> Path:
    """Copy the template into `folder`, unless it is there."""
    path = folder / BRAIN
    original = mni152_path()
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{os.getpid()}.{BRAIN}")
        shutil.copyfile(original, aside)
        aside.replace(path)
    return path


def hippocampus_file(folder: Path) -> Path:
    """Cut the piece out of the template into `folder`, unless it is there."""
    path = folder / HIPPOCAMPUS
    if not path.is_file():
        whole = Volume.read(mni152_path())
        folder.mkdir(parents=True, exist_ok=True)
        planes, rows, columns = (slice(*ends) for ends in _BOX)
        piece = whole.data[0][planes, rows, columns]
        write_float(path, piece, whole.grid.cropped(_BOX), whole.source, "MNI152 T1")
    return path
