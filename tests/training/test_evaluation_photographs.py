"""Photographs with two raters, several seeds, and what a report shows of them."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from skimage.io import imsave
from typer.testing import CliRunner

from diffseg.domain import (
    Label,
    LabelTable,
    ModelCard,
    Preparation,
    Proposal,
    Request,
)
from diffseg.errors import UserError
from diffseg.metrics import ErrorRanking, disagreement, energy_distance
from diffseg.progress import Progress, run
from diffseg.segmenters.pipeline import Host, iter_propose_with
from diffseg_training.case_score import score_case
from diffseg_training.cli.evaluate import evaluate
from diffseg_training.dataset import Dataset, load_dataset
from diffseg_training.evaluation import Evaluation, EvaluationConfig, iter_evaluate
from diffseg_training.evaluation_config import parse_seeds
from diffseg_training.evaluation_report import report_html
from diffseg_training.evaluation_statistics import mapped, statistics_of
from diffseg_training.evaluation_text import number, p_value
from diffseg_training.gallery import Gallery
from diffseg_training.pictures import Picture

SHAPE = (24, 32)
CASES = ("1L", "1R", "2L", "2R", "3L", "3R")
ALL = EvaluationConfig(split="all")


def vessel(case: str) -> np.ndarray:
    """What the first rater draws; nothing in the last image."""
    mask = np.zeros(SHAPE, bool)
    row = 2 + 3 * CASES.index(case)
    if case != "3R":
        mask[row : row + 4, 4:28] = True
    return mask


def second(case: str) -> np.ndarray:
    """What the second rater draws: one row less."""
    mask = vessel(case)
    if mask.any():
        mask[np.argmax(mask.any(axis=1))] = False
    return mask


class Ensemble:
    """Draws either rater's mask of the image that it sees, by a seeded coin."""

    device = "cpu"

    def __init__(self, name: str = "toy", blur: float = 0.0) -> None:
        self.blur = blur
        self.requests: list[Request] = []
        self.card = ModelCard(
            id=name,
            version="1.0.0",
            title="Draws what it is shown",
            method="toy",
            network={},
            labels=LabelTable(labels=(Label(name="vessel", value=1),)),
            preparation=Preparation(dims=2, channels=("red", "green", "blue")),
            modality="photograph",
            licence="CC0",
            sha256="cd" * 32,
            data="none",
            intended_use="tests",
            limits=(),
        )

    def draw(
        self, image: np.ndarray, *, members: int, steps: int, seed: int
    ) -> Generator[np.ndarray, None, None]:
        first, less = (image[i] > image[i].mean() for i in (0, 1))
        coins = np.random.default_rng(seed).random(members) < 0.5
        for coin in coins:
            inside = np.where(first if coin else less, 0.9 - self.blur, 0.05)
            yield np.stack([1 - inside, inside]).astype(np.float32)

    def iter_propose(self, request: Request) -> Generator[Progress, None, Proposal]:
        self.requests.append(request)
        host = Host("cpu", 1)
        return (yield from iter_propose_with(self.card, self.draw, request, host))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Six pictures of three patients; red shows one rater's mask, green the other's."""
    root = tmp_path_factory.mktemp("fundus")
    lines = ["case,group,split,image,mask,labels,mask_2"]
    for case in CASES:
        picture = np.full((*SHAPE, 3), 90, np.uint8)
        picture[vessel(case), 0] = 200
        picture[second(case), 1] = 200
        for name, values in (
            (case, picture),
            (f"{case}_1", vessel(case) * np.uint8(255)),
            (f"{case}_2", second(case) * np.uint8(255)),
        ):
            imsave(root / f"{name}.png", values, check_contrast=False)
        present = "vessel" if vessel(case).any() else ""
        second_mask = "" if case == "2R" else f"{case}_2.png"
        row = f"{case},{case[0]},val,{case}.png,{case}_1.png,{present},{second_mask}"
        lines.append(row)
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    return load_dataset(root)


@pytest.fixture(scope="module")
def evaluation(dataset: Dataset) -> Evaluation:
    config = EvaluationConfig(split="all", members=5, seed=3, more_seeds=(4, 5))
    return run(iter_evaluate(Ensemble(), dataset, config, Ensemble("plain", 0.2)))


# --- numbers -----------------------------------------------------------------


def test_ged_is_that_of_members_and_raters(
    dataset: Dataset, evaluation: Evaluation
) -> None:
    ensemble = Ensemble()
    config = EvaluationConfig(split="all", members=5, seed=3)
    metrics = run(iter_evaluate(ensemble, dataset, config)).metrics
    distances = []
    for request, entry in zip(ensemble.requests, metrics["cases"], strict=True):
        case = entry["case"]
        assert request.keep_members == (case != "2R")
        if case == "2R":
            assert entry["raters"] is None
            continue
        proposal = run(Ensemble().iter_propose(request))
        raters = np.stack([vessel(case), second(case)])[:, None].astype(np.uint8)
        assert proposal.members is not None
        expected = energy_distance(proposal.members, raters)
        assert entry["raters"]["ged2"]["vessel"] == pytest.approx(expected.squared)
        distances.append(expected)
        ranking = ErrorRanking().add(proposal.uncertainty, disagreement(raters))
        found = entry["raters"]["uncertainty_disagreement_auroc"]
        assert found == (None if case == "3R" else pytest.approx(ranking.auroc))
    raters = metrics["raters"]
    assert (raters["n_cases"], raters["n_raters"]) == (5, 2)
    mean = np.mean([one.squared for one in distances])
    assert raters["ged2"]["vessel"] == pytest.approx(mean)
    # IoU of four rows and three: 3/4; each with itself: 1; of two empty masks: 1.
    assert raters["rater_diversity"]["vessel"] == pytest.approx(4 / 5 * 1 / 8)
    assert raters["rater_dice"]["vessel"] == pytest.approx((4 * 6 / 7 + 1) / 5)
    low, high = metrics["ci95"]["raters"]["ged2"]["vessel"]
    assert low <= raters["ged2"]["vessel"] <= high
    # The members differ in the very row that the raters dispute.
    assert raters["uncertainty_disagreement_auroc"] > 0.99
    assert evaluation.metrics["raters"]["ged2"] == raters["ged2"]


def test_the_proposal_is_held_against_each_rater(evaluation: Evaluation) -> None:
    for entry in evaluation.metrics["cases"]:
        if entry["raters"] is None or entry["case"] == "3R":
            continue
        assert entry["raters"]["proposal_dice"][0] == entry["dice"]
        pair = [dice["vessel"] for dice in entry["raters"]["proposal_dice"]]
        assert sorted(pair) == pytest.approx([6 / 7, 1])


def test_one_member_is_its_own_sample(dataset: Dataset) -> None:
    config = EvaluationConfig(split="all", members=1)
    metrics = run(iter_evaluate(Ensemble(), dataset, config)).metrics
    assert metrics["raters"]["member_diversity"] == {"vessel": 0}
    # It draws one of both raters: half of E d(S,Y) is 1/4, less the raters' 1/8.
    ged2 = metrics["cases"][0]["raters"]["ged2"]["vessel"]
    assert ged2 == pytest.approx(2 * (1 / 8) - 1 / 8)


def test_several_members_must_be_at_hand(dataset: Dataset) -> None:
    ensemble = Ensemble()
    run(iter_evaluate(ensemble, dataset, EvaluationConfig(split="all", members=2)))
    request = next(one for one in ensemble.requests if not one.keep_members)
    proposal = run(Ensemble().iter_propose(request))
    reference = np.zeros_like(proposal.mask)
    with pytest.raises(ValueError, match="need the proposal's members"):
        score_case("a", "p", proposal, [reference, reference], 0.0)


def test_every_average_follows_from_the_counts(evaluation: Evaluation) -> None:
    metrics = evaluation.metrics
    counts = [case["counts"]["vessel"] for case in metrics["cases"]]
    tp, fp, fn = (np.array([c[k] for c in counts]) for k in ("tp", "fp", "fn"))
    wrong = tp + fp + fn
    iou = np.where(wrong > 0, tp / np.maximum(wrong, 1), 1.0)
    found = metrics["averages"]["iou"]
    assert found["image_mean"]["vessel"] == pytest.approx(iou.mean())
    assert found["image_mean"] == metrics["mean"]["iou"]
    assert found["positive_mean"]["vessel"] == pytest.approx(iou[tp + fn > 0].mean())
    assert found["positive_mean"] == metrics["mean_positive"]["iou"]
    assert found["pooled"]["vessel"] == pytest.approx(tp.sum() / wrong.sum())
    patients = iou.reshape(3, 2).mean(axis=1)
    assert found["patient_mean"]["vessel"] == pytest.approx(patients.mean())
    assert set(metrics["ci95"]["averages"]["iou"]) == set(found)


def test_lengths_are_in_pixels_where_there_is_no_spacing(
    evaluation: Evaluation,
) -> None:
    for case in evaluation.metrics["cases"]:
        assert case["hd95_mm"] == case["nsd_2mm"] == {"vessel": None}
        if case["case"] != "3R":
            assert case["hd95_px"]["vessel"] in (0.0, 1.0)
            assert case["nsd_2px"]["vessel"] == 1.0


def test_what_has_an_interval_has_a_value(evaluation: Evaluation) -> None:
    metrics = evaluation.metrics
    walked = 0
    for kind in ("averages", "ece", "risk_coverage", "raters"):
        walked += check(metrics["ci95"][kind], metrics[kind])
        assert kind in metrics["comparison"]
    assert walked > 25
    json.dumps(metrics, allow_nan=False)


def check(intervals: dict[str, Any], values: dict[str, Any]) -> int:
    walked = 0
    for name, bounds in intervals.items():
        if isinstance(bounds, dict):
            walked += check(bounds, values[name])
        else:
            walked += 1
            # Histograms are coarser where groups are drawn anew.
            assert (
                bounds is None or bounds[0] - 0.02 <= values[name] <= bounds[1] + 0.02
            )
    return walked


def test_statistics_of_one_model_are_a_tree(evaluation: Evaluation) -> None:
    scores = [picture.score for picture in evaluation.worst]
    tree = mapped(statistics_of(scores), lambda one: one.value)
    assert tree["dice"]["vessel"] == pytest.approx(
        np.mean([score.dice["vessel"] for score in scores])
    )


# --- seeds -------------------------------------------------------------------


def test_stability_is_over_seeds_alone(
    dataset: Dataset, evaluation: Evaluation
) -> None:
    found = evaluation.metrics["stability"]
    assert found["seeds"] == [3, 4, 5]
    columns = []
    for seed in (3, 4, 5):
        config = EvaluationConfig(split="all", members=5, seed=seed)
        metrics = run(iter_evaluate(Ensemble(), dataset, config)).metrics
        columns.append([case["dice"]["vessel"] for case in metrics["cases"]])
    values = np.array(columns)
    dice = found["dice"]["vessel"]
    assert dice["values"] == pytest.approx(values.mean(axis=1).tolist())
    assert dice["std"] == pytest.approx(values.mean(axis=1).std(ddof=1))
    assert dice["case_std"] == pytest.approx(values.std(axis=0, ddof=1).mean())
    assert dice["std"] > 0
    low, high = dice["std_ci95"]
    assert low <= dice["std"] <= high
    assert evaluation.metrics["seed"] == 3
    assert evaluation.metrics["mean"]["dice"]["vessel"] == dice["values"][0]
    assert evaluation.metrics["comparison"]["compared"]["stability"] is not None


def test_further_seeds_keep_no_members(dataset: Dataset) -> None:
    ensemble = Ensemble()
    config = EvaluationConfig(split="all", members=2, more_seeds=(7,))
    run(iter_evaluate(ensemble, dataset, config))
    asked = [(one.seed, one.keep_members) for one in ensemble.requests[:2]]
    assert asked == [(0, True), (7, False)]


@pytest.mark.parametrize("text", ["1", "a,b", "1,1", "0,-1", ""])
def test_seeds_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="two or more different numbers"):
        parse_seeds(text)
    assert parse_seeds("4, 0,2") == (4, 0, 2)


def test_the_first_of_the_seeds_is_the_seed(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(evaluate)
    args = ["--model", "x", "--data", "y", "--split", "val"]
    args += ["--out", str(tmp_path / "out"), "--seed", "1", "--seeds", "0,1"]
    result = CliRunner().invoke(app, args)
    assert isinstance(result.exception, UserError)
    assert "leave --seed out" in str(result.exception)


# --- report ------------------------------------------------------------------


@pytest.mark.slow
def test_the_report_has_a_section_for_each(evaluation: Evaluation) -> None:
    page = report_html(evaluation)
    assert "Is it as close to the raters" in page
    assert "Does it depend on the noise?" in page
    assert "Against plain 1.0.0" in page
    assert "B: predicted class" in page
    assert "A: each structure" in page
    assert "surface Dice at 2 px" in page
    assert 'class="sortable"' in page
    assert 'data-value="1" style="--share:1.000"' in page
    assert "http" not in page


@pytest.mark.slow
def test_a_report_of_one_rater_and_seed_lacks_these(dataset: Dataset) -> None:
    alone = Dataset(
        dataset.root,
        tuple(case for case in dataset.cases if case.case == "2R"),
        dataset.labels,
    )
    page = report_html(run(iter_evaluate(Ensemble(), alone, ALL)))
    assert "raters" not in page
    assert "Does it depend on the noise?" not in page
    assert "Against" not in page


def test_pictures_keep_their_colours_and_all_raters(evaluation: Evaluation) -> None:
    shown = (*evaluation.worst, *evaluation.typical, *evaluation.best)
    names = [picture.score.case for picture in shown]
    assert len(set(names)) == len(names)
    assert "3R" not in [
        one.score.case for one in (*evaluation.typical, *evaluation.best)
    ]
    for picture in shown:
        case = picture.score.case
        assert picture.image.shape[-1] == 3
        assert len(picture.references) == (1 if case == "2R" else 2)
        red = picture.image[..., 0] > 0.5
        assert np.array_equal(red, picture.references[0] == 1)


def test_a_large_picture_is_thinned(tmp_path: Path) -> None:
    mask = np.zeros((40, 1600), np.uint8)
    mask[10:30, 10:1590] = 255
    imsave(tmp_path / "wide.png", mask // 2, check_contrast=False)
    imsave(tmp_path / "m.png", mask, check_contrast=False)
    (tmp_path / "manifest.csv").write_text(
        "case,group,split,image,mask,labels\nw,p,,wide.png,m.png,vessel\n"
    )
    evaluation = run(iter_evaluate(Ensemble(), load_dataset(tmp_path), ALL))
    assert max(evaluation.worst[0].prediction.shape) <= 640


class Score:
    """A case of known Dice, as far as a gallery looks."""

    def __init__(self, dice: float, present: bool = True) -> None:
        self.case, self.dice_macro = f"{dice:.3f}-{present}", dice
        self.present = frozenset({"vessel"} if present else ())


def hung(scores: list[Score]) -> tuple[Gallery, int]:
    gallery, most = Gallery(), 0
    for score in scores:
        if gallery.wants(score):  # type: ignore[arg-type]
            plane = np.zeros((1, 1), np.uint8)
            one: Any = score
            gallery.add(
                Picture(one, 0, plane.astype(np.float16), (plane,), plane,
                        plane.astype(np.float16), 1.0)
            )  # fmt: skip
        kept = gallery._worst + gallery._best + gallery._sample
        most = max(most, len(kept))
    return gallery, most


def dice_of(pictures: tuple[Picture, ...]) -> list[float]:
    return [picture.score.dice_macro for picture in pictures]


def test_the_gallery_shows_worst_typical_and_best() -> None:
    dice = np.random.default_rng(1).permutation(np.arange(300)) / 300
    gallery, most = hung([Score(float(one)) for one in dice])
    assert dice_of(gallery.worst) == pytest.approx([0, 1 / 300, 2 / 300])
    assert dice_of(gallery.best) == pytest.approx([299 / 300, 298 / 300])
    assert all(abs(one - 0.5) < 0.1 for one in dice_of(gallery.typical))
    assert most <= 29


def test_an_empty_picture_is_never_the_best() -> None:
    empty = [Score(1.0, present=False) for _ in range(20)]
    gallery, _ = hung([*empty, Score(0.7), Score(0.8), Score(0.6), Score(0.75)])
    assert dice_of(gallery.worst) == [0.6, 0.7, 0.75]
    assert dice_of(gallery.best) == [0.8]
    assert gallery.typical == ()
    wrong, _ = hung([Score(0.0, present=False), Score(0.7)])
    assert dice_of(wrong.worst) == [0.0, 0.7]


def test_numbers_as_a_person_reads_them() -> None:
    assert number(-0.0004, signed=True) == "0.000"
    assert number(-0.25, 2) == "−0.25"
    assert number(0.25, 2, signed=True) == "+0.25"
    assert (p_value(0.0001), p_value(0.5), p_value(None)) == ("< 0.001", "0.500", "–")
