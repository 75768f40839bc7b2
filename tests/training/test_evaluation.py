"""Evaluations of a segmenter whose answers are known, with numbers made by hand."""

import base64
import gc
import json
import re
import sys
import weakref
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.io import imsave
from typer.testing import CliRunner

from diffseg.domain import (
    Label,
    LabelTable,
    ModelCard,
    Preparation,
    Presence,
    Proposal,
    Provenance,
    Request,
    StructureReport,
)
from diffseg.errors import UserError
from diffseg.progress import Progress, run
from diffseg_training import evaluation_report
from diffseg_training.case_score import class_indices
from diffseg_training.cli.evaluate import evaluate
from diffseg_training.cli.recipes import recipes
from diffseg_training.dataset import load_dataset
from diffseg_training.evaluation import (
    Evaluation,
    EvaluationConfig,
    evaluation_config,
    iter_evaluate,
)
from diffseg_training.evaluation_plots import dice_plot
from diffseg_training.evaluation_report import report_html, save_evaluation
from diffseg_training.report_page import GENERATOR

# Other values and another order than the dataset's {1: head, 2: tail}.
TABLE = LabelTable(labels=(Label(name="tail", value=7), Label(name="head", value=4)))
SHAPE = (16, 6, 6)
VOXELS = 576
WHOLE = EvaluationConfig(split="all")


def card_of(table: LabelTable, name: str = "fake") -> ModelCard:
    return ModelCard(
        id=name,
        version="1.2.3",
        title="A model whose answers are known",
        method="fake",
        network={},
        labels=table,
        preparation=Preparation(),
        modality="MR",
        licence="CC0",
        sha256="ab" * 32,
        data="none",
        intended_use="tests",
        limits=(),
    )


class FakeSegmenter:
    """Answers with masks that it was given, 0.85 sure everywhere."""

    device = "cpu"

    def __init__(
        self,
        answers: dict[str, np.ndarray],
        table: LabelTable = TABLE,
        members: int = 8,
    ) -> None:
        self.card = card_of(table)
        self.answers = answers
        self.members = members
        self.requests: list[Request] = []
        self.closed = False

    def iter_propose(self, request: Request) -> Generator[Progress, None, Proposal]:
        self.requests.append(request)
        try:
            yield Progress("prepare")
            yield Progress("sample")
        finally:
            self.closed = True
        return self._proposal(request)

    def _proposal(self, request: Request) -> Proposal:
        table, classes = self.card.labels, self.answers[request.volume.name]
        probability = np.full(
            (len(table), *classes.shape), 0.15 / len(table), np.float32
        )
        for i in range(len(table)):
            probability[i][classes == i + 1] = 0.85
        uncertainty = np.full(classes.shape, 0.01, np.float32)
        uncertainty[0, 1:3, :4] = 0.5
        values = np.array([0, *table.values], np.uint8)
        voxel_ml = request.volume.grid.voxel_ml
        return Proposal(
            mask=values[classes],
            probability=probability,
            uncertainty=uncertainty,
            labels=table,
            grid=request.volume.grid,
            source=request.volume.source,
            provenance=Provenance({}, request.seed, self.members, 1, "cpu", 2, {}),
            structures=tuple(
                structure(label, int((classes == i).sum()), voxel_ml)
                for i, label in enumerate(table.each(), 1)
            ),
            warnings=("odd range",) if request.volume.name == "b" else (),
        )


def structure(label: Label, voxels: int, voxel_ml: float | None) -> StructureReport:
    ml = None if voxel_ml is None else voxels * voxel_ml
    low, high = (None, None) if ml is None else (ml - 1, ml + 1)
    agreement = 0.9 if label.name == "head" else 0.7
    return StructureReport(label.name, label.value, voxels, ml, low, high, agreement)


def masks() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Reference masks in the dataset's values, and answers in TABLE's classes."""
    a, b = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    a[0, :2, :4] = 1  # 8 voxels of head
    a[1, 0, :4] = b[3, 2, :4] = 2  # 4 voxels of tail
    answer = {"a": np.zeros(SHAPE, np.uint8), "b": np.zeros(SHAPE, np.uint8)}
    answer["a"][0, 0, :4] = 2  # half of the head
    answer["a"][1, 0, :4] = answer["b"][3, 2, :4] = 1
    return {"a": a, "b": b}, answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two patients, voxels of 1 ml; the second lacks a head."""
    root = tmp_path / "tiny"
    root.mkdir()
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    image = np.arange(VOXELS, dtype=np.float32).reshape(SHAPE).T
    for name, mask in masks()[0].items():
        nib.save(nib.Nifti1Image(image, affine), root / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(mask.T, affine), root / f"{name}_mask.nii.gz")
    (root / "classes.json").write_text('{"1": "head", "2": "tail"}')
    (root / "manifest.csv").write_text(
        "case,group,split,image,mask,labels\n"
        "a,p1,val,a.nii.gz,a_mask.nii.gz,head;tail\n"
        "b,p2,val,b.nii.gz,b_mask.nii.gz,tail\n"
    )
    return root


@pytest.fixture
def fake() -> FakeSegmenter:
    return FakeSegmenter(masks()[1])


@pytest.fixture
def perfect() -> FakeSegmenter:
    answers = masks()[1]
    answers["a"][0, 1, :4] = 2
    return FakeSegmenter(answers)


def test_numbers_made_by_hand(folder: Path, fake: FakeSegmenter) -> None:
    metrics = run(iter_evaluate(fake, load_dataset(folder), WHOLE)).metrics
    a, b = metrics["cases"]
    assert (a["case"], a["group"], b["warnings"]) == ("a", "p1", ["odd range"])
    assert a["dice"] == pytest.approx({"tail": 1, "head": 2 / 3})
    assert a["iou"] == pytest.approx({"tail": 1, "head": 1 / 2})
    assert a["hd95_mm"] == pytest.approx({"tail": 0, "head": 10})
    assert a["nsd_2mm"] == pytest.approx({"tail": 1, "head": 8 / 12})
    assert a["dice_foreground"] == pytest.approx(16 / 20)
    assert a["ece"] == pytest.approx(572 / 576 - 0.85)
    assert a["seconds"] >= 0
    assert b["dice"] == {"tail": 1, "head": 1}  # both empty: they agree
    assert b["hd95_mm"]["head"] is None
    assert a["counts"]["head"] == {"tp": 4, "fp": 0, "fn": 4}
    assert b["counts"]["head"] == {"tp": 0, "fp": 0, "fn": 0}
    assert a["hd95_px"] == {"tail": None, "head": None}  # in mm, where there are any
    assert a["raters"] is None
    assert metrics["mean"]["dice"] == pytest.approx({"tail": 1, "head": 5 / 6})
    assert metrics["mean"]["hd95_mm"] == pytest.approx({"tail": 0, "head": 10})
    assert metrics["mean_positive"]["dice"]["head"] == pytest.approx(2 / 3)
    assert metrics["dice_macro"] == pytest.approx(11 / 12)
    assert metrics["iou_macro"] == pytest.approx((1 + 3 / 4) / 2)
    assert metrics["dice_foreground"] == pytest.approx(0.9)
    assert metrics["raters"] is metrics["stability"] is None
    assert metrics["ci95"]["dice"]["head"] == pytest.approx((2 / 3, 1))
    assert metrics["ci95"]["dice_macro"] == pytest.approx((5 / 6, 1))


def test_calibration_and_ranking_by_hand(folder: Path, fake: FakeSegmenter) -> None:
    metrics = run(iter_evaluate(fake, load_dataset(folder), WHOLE)).metrics
    assert metrics["ece_pooled"] == pytest.approx(1148 / 1152 - 0.85)
    assert metrics["ci95"]["ece_pooled"] == pytest.approx((572 / 576 - 0.85, 0.15))
    ece = metrics["ece"]
    assert ece["top_label"]["pooled"] == metrics["ece_pooled"]
    assert ece["top_label"]["box"] == metrics["ece_foreground_box"]
    mean = (572 / 576 + 1) / 2 - 0.85
    assert ece["top_label"]["image_mean"] == pytest.approx(mean)
    # Head: 4 voxels at 0.85, inside it; else 0.075, and 4 of these inside.
    binary = 4 * 0.15 + abs(4 - 1148 * 0.075)
    assert ece["binary"]["pooled"]["head"] == pytest.approx(binary / 1152)
    rows = metrics["reliability_binary"]["head"]
    assert rows[8] == pytest.approx([0.85, 1, 4])
    assert rows[0] == pytest.approx([0.075, 4 / 1148, 1148])
    # Boxes: 7 x 6 x 6 voxels of case a, 9 x 6 x 6 of case b, 4 of them wrong.
    assert metrics["ece_foreground_box"] == pytest.approx(572 / 576 - 0.85)
    assert len(metrics["reliability"]) == 10
    confidence, accuracy, count = metrics["reliability"][8]
    assert (confidence, accuracy, count) == pytest.approx((0.85, 1148 / 1152, 1152))
    # 4 wrong voxels at 0.5; right: 12 at 0.5 and 1136 at 0.01.
    auroc = (1136 + 12 / 2) / 1148
    assert metrics["uncertainty_error_auroc"] == pytest.approx(auroc)
    assert sum(row[2] for row in metrics["uncertainty_error"]) == 1152
    assert metrics["uncertainty_error"][0][1:] == [0.0, 1136]
    grid = metrics["risk_coverage"]["grid"]
    assert grid["error_rate"] == pytest.approx(4 / 1152)
    # The last 16 of 1152 voxels are alike, 4 of them wrong.
    tied = [4 * k / 16 / (1136 + k) for k in range(1, 17)]
    assert grid["aurc"] == pytest.approx(sum(tied) / 1152)
    ideal = [k / (1148 + k) for k in range(1, 5)]
    assert grid["excess"] == pytest.approx((sum(tied) - sum(ideal)) / 1152)
    assert grid["curve"][-1] == pytest.approx([1, 4 / 1152])
    assert metrics["risk_coverage"]["box"]["auroc"] is not None
    assert metrics["member_pairwise_dice"] == pytest.approx(0.8)
    assert metrics["volume_interval_coverage"] == pytest.approx(3 / 4)


def test_metrics_say_what_was_run(folder: Path, fake: FakeSegmenter) -> None:
    config = EvaluationConfig(split="val", members=3, steps=2, seed=5)
    metrics = run(iter_evaluate(fake, load_dataset(folder), config)).metrics
    sha256 = "ab" * 32
    assert metrics["model"] == {"id": "fake", "version": "1.2.3", "sha256": sha256}
    assert (metrics["data"], metrics["split"], metrics["seed"]) == ("tiny", "val", 5)
    assert (metrics["members"], metrics["steps"], metrics["n_cases"]) == (8, 1, 2)
    assert (metrics["device"], metrics["threads"]) == ("cpu", 2)
    assert re.match(r"20\d\d-\d\d-\d\dT", metrics["date"])
    request = fake.requests[0]
    assert (request.members, request.steps, request.seed) == (3, 2, 5)
    assert not request.labels
    json.dumps(metrics, allow_nan=False)


def test_a_single_member_has_no_spread(folder: Path) -> None:
    one = FakeSegmenter(masks()[1], members=1)
    metrics = run(iter_evaluate(one, load_dataset(folder), WHOLE)).metrics
    assert metrics["volume_interval_coverage"] is None


def test_given_labels_reach_the_model(folder: Path, fake: FakeSegmenter) -> None:
    config = EvaluationConfig(split="val", labels="given")
    run(iter_evaluate(fake, load_dataset(folder), config))
    assert fake.requests[1].labels["head"] is Presence.ABSENT
    assert fake.requests[1].labels["tail"] is Presence.PRESENT


def test_predicted_labels_are_refused(folder: Path, fake: FakeSegmenter) -> None:
    config = EvaluationConfig(split="val", labels="predicted")
    with pytest.raises(UserError, match="no image-level classifier"):
        run(iter_evaluate(fake, load_dataset(folder), config))
    assert not fake.requests


def test_a_model_with_a_classifier_predicts_labels_itself(
    folder: Path, fake: FakeSegmenter
) -> None:
    fake.card = fake.card.model_copy(update={"network": {"classifier": {"size": 8}}})
    config = EvaluationConfig(split="val", labels="predicted")
    run(iter_evaluate(fake, load_dataset(folder), config))
    assert fake.requests
    assert not any(request.labels for request in fake.requests)


def test_structures_must_have_the_same_names(folder: Path) -> None:
    table = LabelTable(labels=(Label(name="head", value=1), Label(name="fin", value=2)))
    stranger = FakeSegmenter({}, table)
    with pytest.raises(UserError, match=r"finds head, fin, but .* are head, tail"):
        run(iter_evaluate(stranger, load_dataset(folder), WHOLE))


def test_cases_without_a_reference_are_left_out_and_said(
    folder: Path, fake: FakeSegmenter
) -> None:
    manifest = folder / "manifest.csv"
    lines = manifest.read_text()
    manifest.write_text(lines.replace("b_mask.nii.gz", ""))
    metrics = run(iter_evaluate(fake, load_dataset(folder), WHOLE)).metrics
    assert metrics["n_cases"] == 1
    assert "1 of 2 cases have no reference mask" in metrics["warnings"][0]
    # One patient says nothing of the spread between patients.
    assert metrics["ci95"]["dice_macro"] is None
    assert metrics["ci95"]["ece_pooled"] is None
    manifest.write_text(lines.replace("a_mask.nii.gz", "").replace("b_mask.nii.gz", ""))
    with pytest.raises(UserError, match="no case of split 'all'"):
        run(iter_evaluate(fake, load_dataset(folder), WHOLE))


def test_an_unusable_case_is_named(folder: Path, fake: FakeSegmenter) -> None:
    small = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    nib.save(small, folder / "b_mask.nii.gz")
    with pytest.raises(UserError, match="case b: "):
        run(iter_evaluate(fake, load_dataset(folder), WHOLE))


def test_photographs_have_no_millimetres(tmp_path: Path) -> None:
    picture = np.zeros((6, 8), np.uint8)
    mask = picture.copy()
    mask[2:4, 2:6] = 255
    for name, values in (("p", picture), ("m", mask)):
        imsave(tmp_path / f"{name}.png", values, check_contrast=False)
    (tmp_path / "manifest.csv").write_text(
        "case,group,split,image,mask,labels\np,p,,p.png,m.png,lesion\n"
    )
    table = LabelTable(labels=(Label(name="lesion", value=1),))
    segmenter = FakeSegmenter({"p": (mask > 0)[None].astype(np.uint8)}, table)
    evaluation = run(iter_evaluate(segmenter, load_dataset(tmp_path), WHOLE))
    metrics = evaluation.metrics
    assert metrics["mean"]["dice"] == {"lesion": 1}
    assert metrics["mean"]["hd95_mm"] == {"lesion": None}
    assert metrics["mean"]["nsd_2mm"] == {"lesion": None}
    assert metrics["mean"]["hd95_px"] == {"lesion": 0}
    assert metrics["mean"]["nsd_2px"] == {"lesion": 1}
    assert metrics["volume_interval_coverage"] is None
    assert evaluation.worst[0].image.shape == (6, 8)
    page = report_html(evaluation)
    assert "<h2>Worst cases</h2>" in page
    assert "HD95, px" in page


def test_differences_are_paired(
    folder: Path, fake: FakeSegmenter, perfect: FakeSegmenter
) -> None:
    dataset = load_dataset(folder)
    metrics = run(iter_evaluate(fake, dataset, WHOLE, perfect)).metrics
    found = metrics["comparison"]
    head = found["dice"]["head"]
    assert head["model"] == pytest.approx(5 / 6)
    assert head["compared"] == 1
    assert head["difference"] == pytest.approx(-1 / 6)
    assert head["ci95"] == pytest.approx((-1 / 3, 0))
    assert found["dice_macro"]["difference"] == pytest.approx(-1 / 12)
    assert found["hd95_mm"]["head"]["difference"] == pytest.approx(10)
    # Fewer hits, and as sure: nearer to 0.85, so the calibration error is smaller.
    assert found["ece_pooled"]["difference"] == pytest.approx(-4 / 1152)
    assert found["ece_pooled"]["ci95"] == pytest.approx((-4 / 576, 0))
    assert found["uncertainty_error_auroc"]["compared"] is None
    assert found["uncertainty_error_auroc"]["difference"] is None
    # Two patients, one of which differs: either way round, the gap is as large.
    assert head["p_permutation"] == head["p_wilcoxon"] == 1
    assert found["iou_macro"]["difference"] == pytest.approx(-1 / 8)
    assert found["ece_image_mean"]["difference"] == pytest.approx(-2 / 576)
    assert found["ece"]["top_label"]["pooled"] == found["ece_pooled"]
    assert found["ece_pooled"]["p_wilcoxon"] is None
    assert "raters" not in found
    assert found["compared"]["dice_macro"] == 1
    assert metrics["dice_macro"] == pytest.approx(11 / 12)
    # The same image, seed and labels for both.
    assert [r.volume.name for r in perfect.requests] == ["a", "b"]
    assert fake.requests[0] is perfect.requests[0]


def test_one_case_is_held_at_a_time(folder: Path, fake: FakeSegmenter) -> None:
    work = iter_evaluate(fake, load_dataset(folder), WHOLE)
    voxels: list[weakref.ref[np.ndarray]] = []
    for _ in work:
        if fake.requests:
            voxels.append(weakref.ref(fake.requests.pop().volume.data))
            gc.collect()
            alive = [ref for ref in voxels if ref() is not None]
            assert len(alive) == 1
    assert len(voxels) == 2


def test_closing_cancels_the_proposal(folder: Path, fake: FakeSegmenter) -> None:
    work = iter_evaluate(fake, load_dataset(folder), WHOLE)
    first, second = next(work), next(work)
    assert (first.done, first.total, first.message) == (0, 2, "a")
    assert second.stage == "evaluate"
    assert not fake.closed
    work.close()
    assert fake.closed


def test_the_worst_cases_are_kept(folder: Path, fake: FakeSegmenter) -> None:
    evaluation = run(iter_evaluate(fake, load_dataset(folder), WHOLE))
    worst = evaluation.worst[0]
    assert [p.score.case for p in evaluation.worst] == ["a", "b"]
    # RAS to LPS: rows and columns run the other way, the planes as before.
    assert worst.plane == 0
    (reference,) = worst.references
    assert np.array_equal(reference, masks()[0]["a"][0, ::-1, ::-1] * 2)
    assert worst.aspect == 1


@pytest.fixture
def evaluation(folder: Path, fake: FakeSegmenter, perfect: FakeSegmenter) -> Evaluation:
    return run(iter_evaluate(fake, load_dataset(folder), WHOLE, perfect))


@pytest.mark.slow
def test_the_report_stands_alone(evaluation: Evaluation) -> None:
    page = report_html(evaluation)
    assert "http" not in page
    assert "<link" not in page
    assert not re.search(r"<script[^>]*\ssrc", page)
    sources = re.findall(r'src="([^"]*)"', page)
    # Dice, two of reliability, two of uncertainty, differences, and two worst cases.
    assert len(sources) == 8
    for source in sources:
        head, _, data = source.partition(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(data, validate=True).startswith(b"\x89PNG")
    assert "0.833" in page
    assert "−0.167" in page
    assert "odd range" in page


@pytest.mark.slow
def test_names_cannot_break_out_of_the_report(
    folder: Path, fake: FakeSegmenter
) -> None:
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("a,p1", "<b onload=x>,p1"))
    evaluation = run(iter_evaluate(fake, load_dataset(folder), WHOLE))
    page = report_html(evaluation)
    assert "<b onload" not in page
    assert "&lt;b onload=x&gt;" in page


def test_a_dollar_in_a_name_is_no_formula() -> None:
    name = "$x^$"  # as mathematics, an error
    assert dice_plot([{"dice": {name: 0.5}}], [name]).startswith(b"\x89PNG")


def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write reports without pictures, which take a second each."""
    page = f"<!doctype html>{GENERATOR}"
    monkeypatch.setattr(evaluation_report, "report_html", lambda _: page)


def test_only_an_evaluation_is_overwritten(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blank(monkeypatch)
    out = tmp_path / "out"
    paths = save_evaluation(evaluation, out)
    written = json.loads(paths["metrics.json"].read_text())
    assert written["dice_macro"] == evaluation.metrics["dice_macro"]
    save_evaluation(evaluation, out)
    paths["metrics.json"].write_text("{}")
    with pytest.raises(UserError, match="was not written by an evaluation"):
        save_evaluation(evaluation, out)
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(UserError, match="cannot write into"):
        save_evaluation(evaluation, blocked / "out")


@settings(max_examples=20, deadline=None)
@given(st.permutations(["head", "tail", "fin"]), st.integers(0, 2**16))
def test_classes_are_matched_by_name(order: list[str], seed: int) -> None:
    ours = LabelTable(
        labels=tuple(Label(name=n, value=10 * i) for i, n in enumerate(order, 1))
    )
    theirs = LabelTable(
        labels=tuple(
            Label(name=n, value=v) for v, n in enumerate(["fin", "head", "tail"], 3)
        )
    )
    values = np.random.default_rng(seed).choice([0, *theirs.values], (2, 3, 4))
    indices = class_indices(values.astype(np.uint8), theirs, ours)
    for name in order:
        there = values == theirs.values[theirs.index(name)]
        assert np.array_equal(indices == ours.index(name) + 1, there)


def command(monkeypatch: pytest.MonkeyPatch, segmenter: FakeSegmenter) -> Any:
    def load_segmenter(model: str, device: str = "auto") -> FakeSegmenter:
        assert (model, device) == ("fake", "cpu")
        return segmenter

    module = SimpleNamespace(load_segmenter=load_segmenter)
    monkeypatch.setitem(sys.modules, "diffseg.segmenters", module)
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(evaluate)
    return app


@pytest.mark.slow
def test_the_command_writes_and_prints(
    folder: Path, fake: FakeSegmenter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = command(monkeypatch, fake)
    out = tmp_path / "out"
    args = ["--model", "fake", "--data", str(folder), "--split", "val", "--json"]
    result = CliRunner().invoke(app, [*args, "--out", str(out), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed == json.loads((out / "metrics.json").read_text())
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    blank(monkeypatch)
    again = [*args[:-1], "--compare", "fake", "--out", str(out), "--device", "cpu"]
    text = CliRunner().invoke(app, again).stdout
    assert "0.833" in text
    assert "model - compared" in text
    assert "p (exchange)" in text


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--members", "0"], "members is 0"),
        (["--labels", "all"], "labels is 'all'"),
        (["--split", "dev"], "split 'dev' is not one of"),
    ],
)
def test_the_command_refuses_before_it_loads(
    folder: Path, monkeypatch: pytest.MonkeyPatch, extra: list[str], message: str
) -> None:
    module = SimpleNamespace(load_segmenter=None)  # calling it would be a TypeError
    monkeypatch.setitem(sys.modules, "diffseg.segmenters", module)
    app = typer.Typer()
    app.command()(evaluate)
    out = folder.parent / "out"
    args = ["--model", "m", "--data", str(folder), "--split", "val", "--out", str(out)]
    result = CliRunner().invoke(app, [*args, *extra])
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)
    assert not out.exists()


def test_config_errors_name_the_field() -> None:
    with pytest.raises(UserError, match="seed is -1"):
        evaluation_config(seed=-1)


RECIPE = """\
name: tiny
title: A tiny model
method: ensemdiff
network: {name: compact_unet}
objective: {name: recycling}
patch: [8, 8, 8]
preparation: {}
card: {id: tiny, title: Tiny, modality: MR, licence: CC0, data: none,
  intended_use: tests, limits: [none]}
"""


def test_recipes_are_listed_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(RECIPE)

    def resource(*parts: str) -> Path:
        return tmp_path.joinpath(*parts[1:])

    monkeypatch.setattr("diffseg_training.recipe_reading.resource", resource)
    listed = CliRunner().invoke(recipes, ["list", "--json"]).stdout
    (entry,) = json.loads(listed)["recipes"]
    assert (entry["name"], entry["title"]) == ("tiny", "A tiny model")
    assert entry["method"] == "ensemdiff"
    assert "tiny" in CliRunner().invoke(recipes, ["list"]).stdout
    assert CliRunner().invoke(recipes, ["show", "tiny"]).stdout == RECIPE
    shown = json.loads(CliRunner().invoke(recipes, ["show", "tiny", "--json"]).stdout)
    assert shown["patch"] == [8, 8, 8]
    unknown = CliRunner().invoke(recipes, ["show", "huge"])
    assert isinstance(unknown.exception, UserError)
