"""A model that is too sure, calibrated from a data set to a version that is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import pytest
from scipy.special import softmax
from typer.testing import CliRunner

from diffseg.cli.app import assemble
from diffseg.domain import (
    Label,
    LabelTable,
    ModelCard,
    Preparation,
    Presence,
    Proposal,
    Request,
)
from diffseg.ensemble.calibration import calibration_of
from diffseg.errors import UserError
from diffseg.models import ModelFolder, find_model, list_models, read_folder
from diffseg.models.calibrated import FIGURES, store_calibration, uncalibrated
from diffseg.models.folder import sha256_of
from diffseg.progress import Progress, run
from diffseg.segmenters import base
from diffseg.segmenters.pipeline import Host, iter_propose_with
from diffseg_training.calibration import CalibrationConfig, iter_calibrate
from diffseg_training.dataset import load_dataset

# Other values and another order than the dataset's {1: head, 2: tail}.
TABLE = LabelTable(labels=(Label(name="tail", value=7), Label(name="head", value=4)))
SHAPE = (10, 12, 14)
CASES = 10


def card_of(**changes: Any) -> ModelCard:
    given = {
        "id": "sure", "version": "1.2", "title": "Too sure", "method": "fake",
        "network": {}, "labels": TABLE, "preparation": Preparation(),
        "modality": "MR", "licence": "CC0", "sha256": "0", "data": "none",
        "intended_use": "tests", "limits": (),
    }  # fmt: skip
    return ModelCard(**given | changes)


def scores(image: np.ndarray) -> np.ndarray:
    """Log-odds (3, Z, Y, X) of background, tail, head that an image tells."""
    return np.stack([np.zeros_like(image), image - 2, -image - 2]).astype(np.float64)


class TooSure:
    """Tells softmax(3 z) where the reference was drawn from softmax(z)."""

    device = "cpu"

    def __init__(self, card: ModelCard) -> None:
        self.card = card

    @classmethod
    def from_model(cls, folder: ModelFolder, device: str) -> TooSure:
        return cls(folder.card)

    def iter_propose(self, request: Request) -> Generator[Progress, None, Proposal]:
        def draw(
            image: np.ndarray, *, members: int, steps: int, seed: int
        ) -> Generator[np.ndarray, None, None]:
            rng = np.random.default_rng(seed)
            for _ in range(members):
                noise = rng.normal(0, 0.05, image[0].shape)
                yield softmax(3 * scores(image[0] + noise), axis=0).astype(np.float32)

        return iter_propose_with(self.card, draw, request, Host("cpu", 1))

    def propose(self, request: Request) -> Proposal:
        return run(self.iter_propose(request))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    lines = ["case,group,split,image,mask,labels"]
    for i in range(CASES):
        rng = np.random.default_rng(i)
        image = rng.normal(size=SHAPE)
        image[3:6, 4:8, 4:10] += 3 + i / 5
        image[7:9, 4:8, 4:10] -= 3
        image = (image - image.mean()) / image.std()  # as the preparation would
        real = softmax(scores(image), axis=0).cumsum(axis=0)
        drawn = (rng.random(SHAPE) > real[:2]).sum(axis=0)
        mask = np.array([0, 2, 1], np.uint8)[drawn]  # head is 1, tail is 2
        for name, one in (("i", image.astype(np.float32)), ("m", mask)):
            nib.save(nib.Nifti1Image(one.T, np.eye(4)), root / f"{name}{i}.nii.gz")
        lines.append(f"c{i},p{i // 2},val,i{i}.nii.gz,m{i}.nii.gz,head;tail")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    (root / "classes.json").write_text('{"1": "head", "2": "tail"}')
    return root


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model whose method is `TooSure`, and an empty catalogue."""
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    card = card_of(sha256=sha256_of(folder / "model.safetensors"))
    (folder / "card.json").write_text(card.model_dump_json())
    monkeypatch.setattr(base, "load_method", lambda name, by="": TooSure)
    return folder


@pytest.fixture
def calibrate() -> Callable[..., Any]:
    entry = EntryPoint(
        "calibrate", "diffseg_training.cli.calibrate:calibrate", "diffseg.commands"
    )
    app = assemble([entry])

    def call(*args: str) -> Any:
        return CliRunner().invoke(app, ["calibrate", *args])

    return call


@pytest.mark.parametrize("labels", ["given", "none"])
def test_a_model_is_told_labels_where_they_are_given(
    dataset: Path, labels: Literal["given", "none"]
) -> None:
    asked: list[Request] = []

    class Asked(TooSure):
        def iter_propose(self, request: Request) -> Generator[Progress, None, Proposal]:
            asked.append(request)
            return super().iter_propose(request)

    manifest = dataset / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("head;tail", "head"))
    config = CalibrationConfig(split="val", labels=labels, members=1)
    work = iter_calibrate(Asked(card_of()), load_dataset(dataset), config)
    next(work)
    next(work)
    work.close()
    given = asked[0].labels
    assert (given["tail"] is Presence.ABSENT) == (labels == "given")


@pytest.mark.slow
def test_a_split_gives_a_calibration_that_is_right(dataset: Path) -> None:
    config = CalibrationConfig(split="val", members=3)
    work = iter_calibrate(TooSure(card_of()), load_dataset(dataset), config)
    found = run(work)
    assert found.calibration.kind == "temperature"
    (temperature,) = found.calibration.temperatures
    assert temperature == pytest.approx(3, rel=0.1)
    told = found.calibration.fitted
    assert (told["data"], told["split"], told["groups"]) == ("data", "val", 5)
    assert told["ece_box"][1] < told["ece_box"][0] / 3
    assert (found.calibration.members, found.calibration.steps) == (3, 1)
    # Structures stand in the order of the model, whatever the data set's.
    assert list(found.figures["after"]["dice"]) == ["tail", "head"]
    assert set(found.figures["predicted_dice"]) == {"tail", "head"}
    assert found.calibration.predicted_dice is not None


def test_one_member_predicts_no_dice(dataset: Path) -> None:
    config = CalibrationConfig(split="val", members=1, method="temperature")
    work = iter_calibrate(TooSure(card_of()), load_dataset(dataset), config)
    found = run(work)
    assert found.calibration.predicted_dice is None
    assert found.figures["predicted_dice"] is None


def test_other_structures_are_refused(dataset: Path) -> None:
    (dataset / "classes.json").write_text('{"1": "head", "2": "trunk"}')
    manifest = dataset / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("head;tail", "head"))
    config = CalibrationConfig(split="val")
    work = iter_calibrate(TooSure(card_of()), load_dataset(dataset), config)
    with pytest.raises(UserError, match=r"model sure finds tail, head, but.*trunk"):
        run(work)


@pytest.mark.slow
def test_the_command_keeps_a_version_that_propose_uses(
    dataset: Path, model: Path, calibrate: Callable[..., Any]
) -> None:
    from diffseg.models import add_model

    add_model(model, "sure")
    args = ("--data", str(dataset), "--split", "val", "--members", "3")
    done = calibrate("--model", "sure", *args, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["model"]["version"] == "1.2+cal1"
    kept = find_model("sure")  # the newest
    assert kept.name == "sure@1.2+cal1"
    assert kept.card.sha256 == find_model("sure@1.2").card.sha256
    assert find_model("sure@1.2").card.calibration is None
    assert json.loads((kept.path / FIGURES).read_text()) == told["figures"]
    assert (kept.path / "reliability.png").read_bytes()[1:4] == b"PNG"
    again = calibrate("--model", "sure", *args)
    assert again.exit_code == 0, again.output
    assert "sure@1.2+cal2 is calibrated (temperature" in again.stdout
    # From the model's own probabilities, not from those calibrated before.
    assert find_model("sure").card.calibration == kept.card.calibration

    case = load_dataset(dataset).cases[0]
    from diffseg_training.dataset import read_image

    request = Request(read_image(case), members=3)
    before = TooSure.from_model(uncalibrated(kept), "cpu").propose(request)
    after = TooSure.from_model(kept, "cpu").propose(request)
    np.testing.assert_array_equal(before.mask, after.mask)
    assert before.probability.max() > after.probability.max() + 0.01
    assert after.uncertainty.mean() > before.uncertainty.mean() + 0.05
    report = after.report()
    assert before.report()["model"]["calibration"] is None
    told = report["model"]["calibration"]
    assert told["words"].startswith("calibrated (temperature")
    assert told["fitted"]["split"] == "val"
    for one in report["structures"]:
        assert one["predicted_dice_p05"] < one["predicted_dice"] < 1
    assert before.structures[0].predicted_dice is None
    assert after.warnings == before.warnings
    other = TooSure.from_model(kept, "cpu").propose(
        Request(read_image(case), members=2)
    )
    assert "calibrated with members 3" in other.warnings[-1]


@pytest.mark.slow
def test_a_folder_gets_a_new_card_and_keeps_the_old(
    dataset: Path, model: Path, calibrate: Callable[..., Any]
) -> None:
    former = (model / "card.json").read_text()
    count = len(list_models())
    done = calibrate(
        "--model", str(model), "--data", str(dataset), "--split", "val",
        "--members", "2", "--method", "isotonic",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    card = read_folder(model).card
    assert card.version == "1.2+cal1"
    known = calibration_of(card.calibration, 3, "sure")
    assert known is not None
    assert known.kind == "isotonic"
    assert (model / "card-1.2.json").read_text() == former
    assert len(list_models()) == count


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--split", "test"), "holds no case"),
        (("--split", "val", "--method", "platt"), "--method is 'platt'; give auto"),
        (("--split", "val", "--members", "0"), "--members is 0; give 1 or more"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_kept(
    args: tuple[str, ...], said: str, dataset: Path, model: Path,
    calibrate: Callable[..., Any],
) -> None:  # fmt: skip
    done = calibrate("--model", str(model), "--data", str(dataset), *args)
    assert isinstance(done.exception, UserError)
    assert said in str(done.exception)
    assert sorted(one.name for one in model.iterdir()) == [
        "card.json", "model.safetensors",
    ]  # fmt: skip


def test_weights_that_are_not_the_card_s_are_not_versioned(model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"others")
    with pytest.raises(UserError, match="checksum"):
        store_calibration(read_folder(model), {})
    assert not (model / "card-1.2.json").exists()


def test_a_card_with_a_broken_calibration_is_refused_before_anything_is_drawn(
    dataset: Path,
) -> None:
    from diffseg_training.dataset import read_image

    card = card_of(calibration={"kind": "temperature", "members": 1, "steps": 1})
    case = load_dataset(dataset).cases[0]
    with pytest.raises(UserError, match=r"model sure@1\.2 is not valid"):
        TooSure(card).propose(Request(read_image(case), members=1))
