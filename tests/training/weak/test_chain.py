"""The whole chain on drawn blobs: from images and labels to masks, and resumed."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from beside import beside
from skimage.io import imsave

from diffseg import Request, Volume, load_segmenter
from diffseg.domain import ImageLabels
from diffseg.errors import UserError
from diffseg.models import load_weights
from diffseg.models.folder import read_folder
from diffseg.progress import run
from diffseg_training.run import train_model
from diffseg_training.weak.baselines import save_baseline
from diffseg_training.weak.stages import load_part

RECIPE: dict[str, Any] = beside(__file__, "small_chain").RECIPE
STAGES = ("diffusion", "classifier", "cam", "pixels", "decoder")


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of which every other shows a disc, with labels; the masks are lies."""
    root = tmp_path_factory.mktemp("blobs")
    rows = []
    for case in range(16):
        random = np.random.default_rng(case)
        y, x = np.mgrid[:32, :32] - random.uniform(10, 22, (2, 1, 1))
        disc = (x**2 + y**2 < 36) & (case % 2 == 0)
        grey = 60 + 120 * disc + 10 * random.standard_normal(disc.shape)
        imsave(root / f"{case}.png", grey.clip(0, 255).astype(np.uint8))
        split = "train" if case < 10 else "val"
        # Nobody may look for the mask: it is not there.
        rows.append([case, case, split, f"{case}.png", "", "" if case % 2 else "disc"])
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "group", "split", "image", "mask", "labels"])
        writer.writerows(rows)
    (root / "classes.json").write_text(json.dumps({"1": "disc"}))
    return root


@pytest.fixture(scope="module")
def recipe(blobs: Path) -> str:
    path = blobs / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return str(path)


@pytest.fixture(scope="module")
def trained(
    blobs: Path, recipe: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A run that was interrupted in its fourth stage, and resumed."""
    out = tmp_path_factory.mktemp("run") / "out"
    work = train_model(recipe, str(blobs), out, device="cpu")
    for progress in work:
        if progress.stage == "pixels" and progress.done == 4:
            work.close()
    assert (out / "cam" / "done.json").is_file()
    assert not (out / "pixels" / "done.json").exists()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    told = run(train_model(recipe, str(blobs), out, resume=True, device="cpu"))
    assert (
        before.items()
        <= {
            path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")
        }.items()
    )
    return out, told


@pytest.mark.slow
def test_it_goes_from_pictures_to_a_model_and_resumes(
    trained: tuple[Path, dict[str, Any]],
) -> None:
    out, told = trained
    assert told["model"] == str(out / "model")
    assert set(told["stages"]) == set(STAGES)
    pixels = told["stages"]["pixels"]
    assert pixels["slices"] == 5
    assert pixels["selected"] + pixels["skipped"] == 5
    assert {"accuracy", "loss", "score"} == set(told["best"])
    assert Path(told["curve"]).is_file()


@pytest.mark.slow
def test_its_model_proposes_and_the_label_is_heard(
    trained: tuple[Path, dict[str, Any]], blobs: Path
) -> None:
    out, _ = trained
    segmenter = load_segmenter(out / "model", device="cpu")
    volume = Volume.read(blobs / "12.png")
    labels = ImageLabels.parse("disc")
    found = segmenter.propose(Request(volume, labels=labels))
    assert found.probability.shape == (1, 1, 32, 32)
    assert found.probability.any()
    absent = ImageLabels.parse("disc=absent")
    assert not segmenter.propose(Request(volume, labels=absent)).mask.any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["perturbed", "anomaly"])
def test_its_weights_make_the_baselines(
    trained: tuple[Path, dict[str, Any]], blobs: Path, tmp_path: Path, kind: Any
) -> None:
    model = read_folder(trained[0] / "model")
    folder = save_baseline(model, kind, tmp_path / kind, level=100, steps=2)
    segmenter = load_segmenter(folder.path, device="cpu")
    labels = ImageLabels.parse("disc")
    found = segmenter.propose(Request(Volume.read(blobs / "12.png"), labels=labels))
    assert found.provenance.model["id"] == f"blobs-weak-{kind}"
    assert found.mask.any()
    with pytest.raises(UserError, match="is of the method cdm"):
        save_baseline(folder, kind, tmp_path / "again")


@pytest.mark.slow
def test_a_finished_run_is_told_again_and_other_settings_are_refused(
    trained: tuple[Path, dict[str, Any]], blobs: Path, recipe: str
) -> None:
    out, told = trained
    again = run(train_model(recipe, str(blobs), out, resume=True, device="cpu"))
    assert again["stages"] == told["stages"]
    with pytest.raises(UserError, match="holds a run already"):
        run(train_model(recipe, str(blobs), out, device="cpu"))
    with pytest.raises(UserError, match=r"stage pixels .* made with other settings"):
        run(
            train_model(
                recipe,
                str(blobs),
                out,
                ["objective.gradients.draws=2"],
                resume=True,
                device="cpu",
            )
        )


@pytest.mark.slow
def test_pixels_are_the_same_however_the_stage_was_cut(
    trained: tuple[Path, dict[str, Any]], blobs: Path, recipe: str, tmp_path: Path
) -> None:
    out, _ = trained
    other = tmp_path / "out"
    shutil.copytree(out, other)
    shutil.rmtree(other / "pixels")
    run(train_model(recipe, str(blobs), other, resume=True, device="cpu"))
    names = sorted(path.name for path in (out / "pixels").glob("*.npy"))
    assert names == sorted(path.name for path in (other / "pixels").glob("*.npy"))
    for name in names:
        one, two = (np.load(root / "pixels" / name) for root in (out, other))
        np.testing.assert_allclose(one.astype(float), two.astype(float), atol=1e-2)


def test_what_would_fail_after_hours_is_refused_at_once(
    blobs: Path, recipe: str, tmp_path: Path
) -> None:
    for override, message in (
        ("network.blocks=[99]", "give 0 to 3"),
        ("objective.gradients.timesteps=[5000]", "timestep 5000"),
        ("objective.diffusion.objective.name=feedforwards", "is not one of"),
        ("network.classifier.size=31", "multiple of 2"),
        ("network.features=unet", "give diffusion or classifier or encoder"),
    ):
        with pytest.raises(UserError, match=message):
            run(
                train_model(
                    recipe, str(blobs), tmp_path / "out", [override], device="cpu"
                )
            )
        assert not (tmp_path / "out" / "diffusion" / "log.jsonl").exists()
        (tmp_path / "out" / "chain.json").unlink(missing_ok=True)


@pytest.mark.slow
def test_nothing_sure_anywhere_is_told(
    trained: tuple[Path, dict[str, Any]], blobs: Path, recipe: str, tmp_path: Path
) -> None:
    other = tmp_path / "out"
    shutil.copytree(trained[0], other)
    shutil.rmtree(other / "pixels")
    overrides = [
        "objective.selection.gradient.kind=fixed",
        "objective.selection.gradient.value=2",
    ]
    work = train_model(recipe, str(blobs), other, overrides, resume=True, device="cpu")
    with pytest.raises(UserError, match="of 5 slices none has pixels"):
        run(work)


@pytest.mark.slow
def test_a_local_classifier_is_the_one_whose_maps_were_refined(
    trained: tuple[Path, dict[str, Any]], blobs: Path, recipe: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for stage in ("diffusion", "classifier"):
        shutil.copytree(trained[0] / stage, out / stage)
    shutil.copy(trained[0] / "chain.json", out / "chain.json")
    overrides = [
        "objective.cam.network={name: local_classifier, width: 4}",
        "objective.cam.source=local_map",
        "objective.selection.negatives=3",
        "objective.decoder.absent=0.9",
        "network.local={width: 4}",
    ]
    work = train_model(recipe, str(blobs), out, overrides, resume=True, device="cpu")
    told = run(work)
    assert "disc_auroc" in told["best"]
    weights = load_weights(read_folder(out / "model"))
    part = load_part(out / "cam" / "part").state_dict()
    for key, value in part.items():
        torch.testing.assert_close(weights[f"local.{key}"], value, atol=1e-3, rtol=1e-3)
    assert float(weights["offsets"][1]) != 0
    overrides[-1] = "network.local={width: 8}"
    with pytest.raises(UserError, match=r"network\.local takes the weights of"):
        run(train_model(recipe, str(blobs), tmp_path / "other", overrides))
