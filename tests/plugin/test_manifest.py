"""The manifest: valid, every command there, and each of them works in a viewer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest
from npe2.types import PythonName

import napari_diffseg
from diffseg.errors import UserError
from diffseg.volume.source import DICOM_SUFFIXES, RASTER_SUFFIXES
from napari_diffseg.plugin import commands
from napari_diffseg.plugin.settings import Settings, into_environment, read_settings

FILE = Path(napari_diffseg.__file__).parent / "napari.yaml"
MENUS = {"napari/layers/segment", "napari/layers/annotate", "napari/file/io_utilities"}


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(FILE)


def test_every_command_can_be_imported(manifest: PluginManifest) -> None:
    manifest.validate_imports()
    for command in manifest.contributions.commands or ():
        assert command.python_name is not None
        assert command.id.startswith("napari-diffseg.")
        assert callable(_object(command.python_name))


def test_every_contribution_names_a_command(manifest: PluginManifest) -> None:
    points = manifest.contributions
    known = {command.id for command in points.commands or ()}
    used = [
        *(points.readers or ()), *(points.writers or ()), *(points.widgets or ()),
        *(points.sample_data or ()),
        *(item for menu in points.menus.values() for item in menu),
    ]  # fmt: skip
    assert {one.command for one in used} == known
    assert set(points.menus) == MENUS


def test_napari_finds_the_installed_manifest() -> None:
    manager = PluginManager()
    manager.discover()
    assert manager.get_manifest("napari-diffseg").display_name == "DiffSeg"


def test_every_readable_suffix_is_offered(manifest: PluginManifest) -> None:
    (reader,) = manifest.contributions.readers or ()
    assert reader.accepts_directories
    offered = {pattern.removeprefix("*") for pattern in reader.filename_patterns}
    wanted = {".nii", ".nii.gz", ".mha", ".nrrd", *DICOM_SUFFIXES, *RASTER_SUFFIXES}
    assert wanted <= offered


def test_settings_are_honoured_and_variables_go_before(
    manifest: PluginManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    (models,) = manifest.contributions.configurations.values()
    assert set(models.properties) == set(Settings.__dataclass_fields__)
    defaults = {name: one.default for name, one in models.properties.items()}
    assert Settings(**defaults) == Settings()
    for name in ("DEVICE", "ENGINE"):
        monkeypatch.delenv(f"DIFFSEG_{name}", raising=False)
    into_environment(Settings())
    assert "DIFFSEG_DEVICE" not in os.environ
    assert "DIFFSEG_ENGINE" not in os.environ
    monkeypatch.setenv("DIFFSEG_DEVICE", "cpu")
    monkeypatch.setenv("DIFFSEG_ENGINE", "")
    into_environment(Settings(device="cuda", engine="tcp://host:8786"))
    assert os.environ["DIFFSEG_DEVICE"] == "cpu"
    assert os.environ["DIFFSEG_ENGINE"] == "tcp://host:8786"


def test_a_command_without_a_window_is_told() -> None:
    with pytest.raises(UserError, match="no napari window is open"):
        commands.propose()


class Signal:
    """Counts what is emitted."""

    def __init__(self) -> None:
        self.count = 0

    def emit(self) -> None:
        self.count += 1


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """Stands in for the assembled window: a bare dock with the three intents."""
    from qtpy.QtWidgets import QWidget

    class Dock(QWidget):
        def __init__(self) -> None:
            super().__init__()
            self.propose = self.review = self.export = self
            self.run_requested, self.next_requested = Signal(), Signal()

    class Window:
        def __init__(self) -> None:
            self.dock = Dock()

    made: dict[Any, Window] = {}

    def assemble(viewer: Any) -> Window:
        return made.setdefault(viewer, Window())

    monkeypatch.setattr("napari_diffseg.plugin.window.assemble", assemble)
    return made


@pytest.mark.gui
@pytest.mark.parametrize(
    ("command", "signal"),
    [
        (commands.propose, "run_requested"),
        (commands.next_place, "next_requested"),
        (commands.export_mask, "run_requested"),
    ],
)
def test_a_menu_opens_the_panels_and_asks(
    make_napari_viewer: Callable[..., Any],
    window: dict[Any, Any],
    command: Callable[[], None],
    signal: str,
) -> None:
    viewer = make_napari_viewer(show=True)
    assert viewer.window is not None
    command()
    (made,) = window.values()
    assert getattr(made.dock, signal).count == 1
    frame = commands.frame_of(made.dock)
    assert list(viewer.window.dock_widgets) == ["DiffSeg"]
    assert frame is not None
    assert not frame.isHidden()
    frame.hide()
    command()
    assert not frame.isHidden()
    assert len(window) == 1
    assert getattr(made.dock, signal).count == 2


@pytest.mark.gui
def test_the_panels_are_docked_once(
    make_napari_viewer: Callable[..., Any], window: dict[Any, Any]
) -> None:
    viewer = make_napari_viewer()
    commands.propose()
    (made,) = window.values()
    # As napari's menu of plugins does, with a name of its own.
    viewer.window.add_dock_widget(commands.dock(), name="DiffSeg (DiffSeg)")
    assert len(viewer.window.dock_widgets) == 1
    assert commands.frame_of(made.dock) is not None


@pytest.mark.gui
def test_napari_opens_and_saves_with_us(
    make_napari_viewer: Callable[..., Any], tmp_path: Path
) -> None:
    viewer = make_napari_viewer()
    affine = np.diag([-0.8, 1.1, 2.0, 1.0])
    image = tmp_path / "case.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), affine), image)
    (layer,) = viewer.open(str(image), plugin="napari-diffseg")
    np.testing.assert_allclose(layer.scale, (2.0, 1.1, 0.8), rtol=1e-6)
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
    drawn = np.zeros(layer.data.shape, np.uint8)
    drawn[1, 2, 3] = 2
    mask = viewer.add_labels(
        drawn,
        name="mine",
        scale=layer.scale,
        translate=layer.translate,
        units=layer.units,
        metadata=layer.metadata,
    )
    saved = tmp_path / "mine_mask.nii.gz"
    assert mask.save(str(saved), plugin="napari-diffseg") == [str(saved)]
    back = nib.load(saved)
    np.testing.assert_allclose(back.affine, affine)
    (place,) = np.argwhere(np.asarray(back.dataobj))
    world = np.array(mask.scale) * (1, 2, 3) + mask.translate
    x, y, z = nib.affines.apply_affine(affine, place)
    np.testing.assert_allclose((-z, -y, -x), world, atol=1e-5)
    (again,) = viewer.open(str(saved), plugin="napari-diffseg")
    assert type(again).__name__ == "Labels"
    np.testing.assert_array_equal(again.data, drawn)


@pytest.mark.gui
def test_settings_appear_in_preferences(
    make_napari_viewer: Callable[..., Any],
) -> None:
    make_napari_viewer()
    assert read_settings() == Settings()


def _object(name: str) -> Any:
    from npe2.manifest.utils import import_python_name

    return import_python_name(PythonName(name))
