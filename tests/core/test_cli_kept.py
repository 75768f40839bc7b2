"""``diffseg propose --initial --touched``: a corrected mask is drawn anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from diffseg.cli import main
from diffseg.models import save_model
from diffseg.networks import build_network

NETWORK = {
    "name": "compact_unet", "dims": 3, "image_channels": 1, "classes": 3,
    "channels": (8, 12), "member_channels": (4, 6), "embedding": 16,
}  # fmt: skip
SHAPE = (12, 10, 9)


@pytest.fixture(autouse=True)
def desk(monkeypatch: Any, tmp_path: Path, toys: Any) -> None:
    """An image, a mask of it, and where that was touched; values 3 and 7."""
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DIFFSEG_DEVICE", raising=False)
    monkeypatch.chdir(tmp_path)
    card = toys.card(3).model_copy(update={"network": NETWORK})
    config = {key: value for key, value in NETWORK.items() if key != "name"}
    network = build_network("compact_unet", **config)
    save_model(tmp_path / "home" / "models" / "toy" / "1", card, network.state_dict())
    mask, touched = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    mask[3:9, 2:8, 2:7] = 3
    mask[4, 3:6, 4], mask[5, 4:6, 3] = 0, 7
    touched[4, 3:6, 4] = touched[5, 4:6, 3] = 1
    voxels = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    for name, array in {"case": voxels, "mask": mask, "touched": touched}.items():
        nib.save(nib.Nifti1Image(array, np.eye(4)), f"{name}.nii")
    nib.save(nib.Nifti1Image(touched * 0, np.eye(4)), "none.nii")


def propose(*more: str) -> int:
    given = ["case.nii", "--model", "toy", "--out", "out", "--members", "2"]
    return main(["propose", *given, *more])


def read(path: str) -> Any:
    return np.asarray(nib.load(path).dataobj)  # type: ignore[attr-defined]


def test_what_was_touched_stays_and_the_rest_is_drawn_anew(capsys: Any) -> None:
    given = ["--initial", "mask.nii", "--touched", "touched.nii"]
    assert propose(*given, "--noise-level", "0.9") == 0, capsys.readouterr().err
    mask, touched = read("mask.nii"), read("touched.nii") > 0
    found = read("out/case_mask.nii.gz")
    assert np.array_equal(found[touched], mask[touched])
    assert (found != mask).any()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--initial", "mask.nii"], "--initial and --touched go together"),
        (["--touched", "touched.nii"], "--initial and --touched go together"),
        (["--noise-level", "0.5"], "give --initial and --touched, too"),
        (["--initial", "mask.nii", "--touched", "none.nii"], "nothing would be kept"),
        (
            ["--initial", "mask.nii", "--touched", "touched.nii", "--noise-level", "2"],
            "noise_level is 2.0",
        ),
        (["--initial", "touched.nii", "--touched", "touched.nii"], "are not labels"),
        (["other.nii", "--initial", "mask.nii", "--touched", "mask.nii"], "one image"),
    ],
)
def test_what_does_not_go_together_is_refused(
    capsys: Any, given: list[str], said: str
) -> None:
    assert propose(*given) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not Path("out").exists()
