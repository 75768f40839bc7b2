"""What is said of single slices: a request carries it to the network's own order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from beside import beside

from diffseg import Request, Volume
from diffseg.cli.app import main
from diffseg.domain import ImageLabels, Region
from diffseg.domain.slice_labels import ABSENT, PRESENT, SliceLabels
from diffseg.errors import UserError
from diffseg.models import save_model
from diffseg.segmenters import Host
from diffseg.segmenters.cldf import CLDF
from diffseg.segmenters.weak.fitting import said_of
from diffseg.volume import write_float

small = beside(__file__, "small_cldf")
card, network = small.card, small.network

ABLE = card().model_copy(
    update={"capabilities": card().capabilities | {"slice_labels"}}
)


def volume(flips: tuple[int, int, int] = (1, 1, 1), planes: int = 4) -> Volume:
    """A volume whose axes run along R, A and S, or the other way where -1."""
    data = np.random.default_rng(1).random((1, planes, 13, 18)).astype(np.float32)
    affine = np.diag([*(float(one) for one in flips), 1.0])
    return Volume.from_array(data, affine=affine)


def labels(*states: int) -> SliceLabels:
    return SliceLabels(("tumour",), np.array(states, np.uint8)[:, None])


def request(image: Volume, *states: int, **more: object) -> Request:
    return Request(image, slice_labels=labels(*states), **more)  # type: ignore[arg-type]


def test_masks_lie_in_the_slices_that_are_said_to_show_it() -> None:
    # The classifier would open no slice by itself.
    one = CLDF(ABLE, network(gate=1.01), Host("cpu", 1))
    asked = request(volume(), ABSENT, PRESENT, PRESENT, ABSENT)
    found = one.propose(asked).probability[0].any(axis=(1, 2))
    assert found.tolist() == [False, True, True, False]


def test_planes_are_turned_with_the_image() -> None:
    turned = ABLE.model_copy(
        update={
            "preparation": ABLE.preparation.model_copy(update={"orientation": "RAS"})
        }
    )
    asked = request(volume((1, 1, -1)), PRESENT, ABSENT, ABSENT, ABSENT)
    assert said_of(asked, turned)[:, 0].tolist() == [ABSENT, ABSENT, ABSENT, PRESENT]
    assert said_of(asked, ABLE)[:, 0].tolist() == [PRESENT, ABSENT, ABSENT, ABSENT]


def test_a_region_takes_its_own_planes() -> None:
    region = Region((1, 3), (0, 13), (0, 18))
    asked = request(volume(), ABSENT, PRESENT, 0, 0, region=region)
    assert said_of(asked, ABLE)[:, 0].tolist() == [PRESENT, ABSENT]
    asked = request(volume(), ABSENT, 0, 0, 0, region=region)
    assert said_of(asked, ABLE)[:, 0].tolist() == [0, 0]


def test_slices_that_the_network_cuts_across_are_refused() -> None:
    across = ABLE.model_copy(
        update={
            "preparation": ABLE.preparation.model_copy(update={"orientation": "SRA"})
        }
    )
    with pytest.raises(UserError, match="its slices lie across those that model weak"):
        said_of(request(volume(), PRESENT, 0, 0, 0), across)


def test_what_contradicts_itself_is_refused() -> None:
    whole = ImageLabels.parse("tumour=absent")
    with pytest.raises(UserError, match="slice 1: tumour is present"):
        said_of(request(volume(), 0, PRESENT, 0, 0, labels=whole), ABLE)
    with pytest.raises(UserError, match=r"labels of 3 slices, but .* has 4"):
        request(volume(), 0, PRESENT, 0)
    other = SliceLabels(("tumor",), np.array([[1], [0], [0], [0]], np.uint8))
    with pytest.raises(UserError, match="'tumor' is not one of tumour"):
        said_of(Request(volume(), slice_labels=other), ABLE)


def test_a_model_that_does_not_use_them_says_so() -> None:
    one = CLDF(card(), network(), Host("cpu", 1))
    with pytest.raises(UserError, match="does not use slice_labels"):
        one.propose(request(volume(), PRESENT, 0, 0, 0))


def test_the_command_reads_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path / "model", ABLE, network(gate=1.01).state_dict())
    scan = volume()
    write_float(tmp_path / "scan.nii.gz", scan.data[0], scan.grid, scan.source)
    table = tmp_path / "ranges.csv"
    table.write_text("case,label,slices\nscan,tumour,1:3\n", encoding="utf-8")
    line = [
        "propose",
        str(tmp_path / "scan.nii.gz"),
        "--model",
        str(tmp_path / "model"),
    ]
    line += ["--slices", str(table), "--out", str(tmp_path / "out")]
    assert main(line) == 0
    mask = Volume.read(tmp_path / "out" / "scan_mask.nii.gz").data[0]
    shown = mask.any(axis=(1, 2))
    assert shown.tolist() == [False, True, True, False]

    table.write_text("case,label,slices\nscam,tumour,1:3\n", encoding="utf-8")
    assert main([*line, "--overwrite"]) == 2
    assert "says nothing of case 'scan'" in capsys.readouterr().err
