"""The demo and its pictures: where left and right are, and what is written."""

import json
import subprocess
import sys
from importlib.util import find_spec
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from diffseg.cli import main
from diffseg.cli.pictures import draw_pictures
from diffseg.cli.planes import OKABE_ITO, centre_of, plane_of, view_of
from diffseg.domain import (
    Label,
    LabelTable,
    Localisation,
    ModelCard,
    Preparation,
    Proposal,
    Provenance,
    RegionReport,
    Sampling,
    StructureReport,
    TemplateBox,
)
from diffseg.errors import UserError
from diffseg.volume import Affine, Volume, template

TABLE = LabelTable(
    labels=(Label(name="anterior", value=1), Label(name="posterior", value=2))
)
MODEL = {
    "id": "hippocampus-mri",
    "version": "0.0",
    "sha256": "0" * 64,
    "licence": "CC0-1.0",
    "calibration": None,
}
needs_template = pytest.mark.skipif(
    find_spec("nilearn") is None, reason="nilearn, which holds the template, is absent"
)


def proposal_of(volume, mask, regions=(), members=None):
    probability = np.stack([mask == 1, mask == 2]).astype(np.float32) * 0.9
    return Proposal(
        mask=mask,
        probability=probability,
        uncertainty=(mask > 0).astype(np.float32) / 2,
        labels=TABLE,
        grid=volume.grid,
        source=volume.source,
        provenance=Provenance(MODEL, 0, 2, 1, "cpu", 1, {}),
        structures=(StructureReport("anterior", 1, 5, 0.1, 0.1, 0.1, 1.0),),
        regions=regions,
        members=members,
    )


def head(code="RAS"):
    """A volume of 20 x 24 x 16 mm in orientation `code`, bright at one place.

    The place is to the patient's right, in front, at the bottom.
    """
    ras = np.ones((20, 24, 16), np.float32)
    ras[15:18, 18:22, 2:5] = 9.0
    image = nib.Nifti1Image(ras, np.eye(4))
    to = nib.orientations.axcodes2ornt(code)
    turned = image.as_reoriented(nib.orientations.io_orientation(np.eye(4)))
    turned = turned.as_reoriented(
        nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), to)
    )
    array = np.asarray(turned.dataobj).transpose(2, 1, 0)
    return Volume.from_array(array, Affine(turned.affine), name="head")


@pytest.mark.parametrize("code", ["RAS", "LPS", "PIR", "SAL", "ARI"])
def test_right_is_on_the_left_and_the_head_is_up(code):
    volume = head(code)
    mask = (volume.data[0] > 5).astype(np.uint8)
    proposal = proposal_of(volume, mask)
    view = view_of(volume, proposal)
    centre, extent = centre_of(volume, proposal, None)
    assert extent == pytest.approx(4)
    middle = tuple((n - 1) / 2 for n in view.grey.shape)
    assert view.grey.shape == (16, 24, 20)
    for name, towards in (
        ("axial", (-1, -1)),  # in front is up, right is left
        ("coronal", (1, -1)),  # the bottom is down, right is left
        ("sagittal", (1, -1)),  # the bottom is down, in front is left
    ):
        across = {"axial": 0, "coronal": 1, "sagittal": 2}[name]
        through = tuple(
            c if i == across else m
            for i, (c, m) in enumerate(zip(centre, middle, strict=True))
        )
        plane = plane_of(view, name, through, 40)
        rows, columns = np.nonzero(plane.grey > 0.5)
        assert np.sign(plane.rows_mm[rows].mean()) == towards[0]
        assert np.sign(plane.columns_mm[columns].mean()) == towards[1]
        assert plane.letters == {"axial": "RLAP", "coronal": "RLSI"}.get(name, "APSI")


def test_the_centre_is_that_of_the_region_only():
    volume = head()
    mask = np.zeros(volume.shape, np.uint8)
    mask[2:4, 4, 4] = 1
    mask[10:12, 20, 10] = 2
    box = ((8, 16), (0, 24), (0, 20))
    region = RegionReport("upper", box, "given", {"anterior": 0.0})
    (z, y, x), _ = centre_of(volume, proposal_of(volume, mask), region)
    # The view is turned: x and y run to the left and to the back.
    assert (z, y, x) == (10.5, 24 - 1 - 20, 20 - 1 - 10)


def test_a_window_beyond_the_border_is_black():
    volume = head()
    view = view_of(volume, proposal_of(volume, np.zeros(volume.shape, np.uint8)))
    plane = plane_of(view, "axial", (3.0, 0.0, 0.0), 5)
    assert plane.grey.shape == (11, 11)
    assert not plane.grey[:5].any()
    assert not plane.grey[:, :5].any()


def test_agreement_is_that_of_the_members_where_they_are_kept():
    volume = head()
    mask = np.zeros(volume.shape, np.uint8)
    mask[4, 4, 4] = 1
    members = np.stack([mask, 0 * mask, 0 * mask, mask])
    kept = view_of(volume, proposal_of(volume, mask, members=members))
    assert kept.by_members
    assert kept.agreement[0].max() == 0.5
    lost = view_of(volume, proposal_of(volume, mask))
    assert not lost.by_members
    assert lost.agreement[0].max() == np.float32(0.9)


def test_structures_of_one_colour_are_told_apart():
    volume = head()
    view = view_of(volume, proposal_of(volume, np.zeros(volume.shape, np.uint8)))
    assert view.colors == OKABE_ITO[:2]


def region(name, stop):
    return RegionReport(name, ((0, stop), (0, 24), (0, 20)), "given", {"anterior": 0.1})


@pytest.mark.parametrize(
    "regions", [(), (region("all", 16),), (region("a b", 8), region("c", 16))]
)
def test_pictures_of_any_number_of_regions(tmp_path, regions):
    volume = head()
    mask = (volume.data[0] > 5).astype(np.uint8)
    paths = draw_pictures(volume, proposal_of(volume, mask, regions), tmp_path)
    names = [one.name.replace(" ", "_") for one in regions] or ["head"]
    assert [path.stem for path in paths] == ["overview", *names]
    for path in paths:
        picture = np.asarray(Image.open(path).convert("RGB"), int)
        assert min(picture.shape[:2]) > 800
        orange = np.abs(picture - (0xE6, 0x9F, 0x00)).sum(2) < 12
        assert orange.sum() > 200  # the contour and the legend


def test_pictures_of_an_empty_mask_in_a_flat_image(tmp_path):
    volume = Volume.from_array(np.zeros((1, 9, 9)), name="flat")
    proposal = proposal_of(volume, np.zeros((1, 9, 9), np.uint8))
    assert all(p.is_file() for p in draw_pictures(volume, proposal, tmp_path))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A DIFFSEG_HOME whose newest hippocampus-mri is tiny and of random weights."""
    from diffseg.models import save_model
    from diffseg.networks import build_network

    folder = tmp_path_factory.mktemp("home")
    config = {"channels": [4, 8], "member_channels": [4, 8], "embedding": 8}
    boxes = tuple(
        TemplateBox(name=f"{side}_hippocampus", low_mm=low, high_mm=high)
        for side, low, high in (
            ("left", (-44.0, -50.0, -34.0), (-8.0, 2.0, 8.0)),
            ("right", (8.0, -50.0, -34.0), (44.0, 2.0, 8.0)),
        )
    )
    card = ModelCard(
        id="hippocampus-mri", version="999.0", title="Random weights",
        method="ensemdiff", network={"name": "compact_unet", "classes": 3, **config},
        labels=TABLE, sampling=Sampling(members=2, steps=1),
        preparation=Preparation(orientation="RAS", spacing_mm=(1.0, 1.0, 1.0)),
        localisation=Localisation(boxes=boxes, largest_mm=(60.0, 80.0, 60.0)),
        modality="T1 MRI", licence="CC0-1.0", sha256="0" * 64, data="none",
        intended_use="tests", limits=("random weights",),
    )  # fmt: skip
    network = build_network("compact_unet", classes=3, **config)
    save_model(
        folder / "models" / "hippocampus-mri" / "999.0", card, network.state_dict()
    )
    return folder


class Photographer:
    """Stands in for the window that is photographed, or says why there is none."""

    def __init__(self, monkeypatch):
        self.trouble = None
        monkeypatch.setattr("diffseg.cli.windows.picture_of_window", self)

    def __call__(self, image, picture):
        assert image.is_file()
        if self.trouble:
            raise self.trouble
        picture.write_bytes(b"picture")


@needs_template
@pytest.mark.slow
def test_the_demo_from_end_to_end(tmp_path, home, monkeypatch, capsys):
    monkeypatch.setenv("DIFFSEG_HOME", str(home))
    photographer = Photographer(monkeypatch)
    out = tmp_path / "demo-out"
    assert main(["demo", "--headless", "--out", str(out)]) == 0
    said, err = capsys.readouterr()
    assert err == ""
    assert "left_hippocampus" in said
    assert "warning" not in said
    written = [
        "left_hippocampus.png",
        "mni152_t1.nii.gz",
        "mni152_t1_mask.nii.gz",
        "mni152_t1_probability.nii.gz",
        "mni152_t1_uncertainty.nii.gz",
        "overview.png",
        "report.json",
        "right_hippocampus.png",
        "screenshot.png",
    ]
    assert sorted(path.name for path in out.iterdir()) == written
    report = json.loads((out / "report.json").read_text())
    assert report["model"]["version"] == "999.0"
    assert "screenshot.png" in [one["name"] for one in report["files"]]
    assert [one["name"] for one in report["structures"]] == ["anterior", "posterior"]
    image = nib.load(out / "mni152_t1.nii.gz")
    mask = nib.load(out / "mni152_t1_mask.nii.gz")
    assert mask.shape == image.shape
    np.testing.assert_array_equal(mask.affine, image.affine)

    # Once more, where there is no window: what we wrote is replaced, and said.
    photographer.trouble = UserError("no window: napari is not installed")
    assert main(["demo", "--headless", "--out", str(out)]) == 0
    line = "warning: no screenshot.png: no window: napari is not installed"
    assert line in capsys.readouterr().out
    written.remove("screenshot.png")
    assert sorted(path.name for path in out.iterdir()) == written
    # What somebody else put there is not.
    (out / "overview.png").write_text("mine")
    assert main(["demo", "--headless", "--out", str(out), "--json"]) == 2
    said, err = capsys.readouterr()
    assert said == ""
    assert err.count("\n") == 1
    assert "overview.png is in the way" in err
    assert (out / "overview.png").read_text() == "mine"


@needs_template
def test_the_demo_in_a_window(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DISPLAY", ":0")
    opened = []

    def open_window(images, *, propose=False, screenshot=None):
        opened.append((images, propose, screenshot))

    monkeypatch.setattr("diffseg.cli.windows.window_opener", lambda: open_window)
    image = tmp_path / "out" / "window" / "mni152_t1.nii.gz"
    for _ in range(2):  # the template that is there already is taken
        assert main(["demo", "--out", str(tmp_path / "out")]) == 0
        assert str(image.parent) in capsys.readouterr().out.replace("\n", "")
    assert opened == [([str(image)], True, None)] * 2
    assert image.read_bytes() == template.mni152_path().read_bytes()
    image.write_bytes(b"mine")
    assert main(["demo", "--out", str(tmp_path / "out")]) == 2
    assert "mni152_t1.nii.gz is in the way" in capsys.readouterr().err
    assert len(opened) == 2
    assert image.read_bytes() == b"mine"


def test_the_demo_in_a_window_needs_one(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    monkeypatch.setattr("diffseg.cli.windows.installed", lambda name: None)
    assert main(["demo", "--out", str(out)]) == 2
    said, err = capsys.readouterr()
    assert (said, err.count("\n")) == ("", 1)
    assert "napari-diffseg[gui]" in err
    assert not out.exists()


def test_the_demo_in_a_window_loads_no_torch():
    script = """
import sys
sys.modules["torch"] = None
from pathlib import Path
from diffseg.cli import demo, windows
windows.window_opener = lambda: lambda images, propose: print(images, propose)
windows.check_display = lambda: None
demo.show_demo(Path(sys.argv[1]))
"""
    if find_spec("nilearn") is None:
        pytest.skip("nilearn, which holds the template, is absent")
    with TemporaryDirectory() as folder:
        run = subprocess.run(
            [sys.executable, "-c", script, folder], capture_output=True, text=True
        )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().endswith("True")


def test_the_demo_without_its_template_names_the_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(template, "find_spec", lambda name: None)
    assert main(["demo", "--headless", "--out", str(tmp_path / "out")]) == 2
    said, err = capsys.readouterr()
    assert said == ""
    assert "napari-diffseg[demo]" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
