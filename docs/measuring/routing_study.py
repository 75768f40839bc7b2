"""What to review first: orders of cases measured against each other on one budget.

    python docs/measuring/routing_study.py propose --data DIR --out proposals
    python docs/measuring/routing_study.py measure --out proposals

`propose` keeps a model's proposals for the cases of a split, with their members and the
reference; it goes on where it stopped. `measure` puts the cases in order in every way
that a queue of `diffseg.project.review` knows, as if the reference were unknown, and
asks what share of all that there is to correct lies in the share of cases reviewed so
far. Two readings of what there is to correct: 1 - Dice, summed over structures, and
wrong voxels. Orders that draw are averaged over seeds. Intervals are of resampled
patients, whose places in the order stay; differences from foreground-aware random are
paired.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from diffseg.ensemble.calibration_choice import Plan, calibrate
from diffseg.ensemble.calibration_evidence import Evidence, evidence_of
from diffseg.ensemble.routing import Candidate, candidate_of
from diffseg.errors import UserError
from diffseg.metrics import confusion
from diffseg.project.review.strategies import ORDERS, ordered

app = typer.Typer(add_completion=False, help=__doc__)
BUDGETS = (0.1, 0.2, 0.3, 0.5)
BASE = "foreground"
Out = Annotated[Path, typer.Option(help="Where proposals are kept.")]


@dataclass(frozen=True)
class Known:
    """One case: what a queue knows of it, and what there is to correct."""

    group: str
    candidate: Candidate
    errors: Mapping[str, float]


@app.command()
def propose(
    out: Out,
    data: Annotated[Path, typer.Option(help="A data set.")],
    model: Annotated[str, typer.Option()] = "hippocampus-mri",
    split: Annotated[str, typer.Option()] = "val",
    members: Annotated[int, typer.Option()] = 4,
    cases: Annotated[int, typer.Option(help="At most.")] = 1000,
) -> None:
    """Keep a proposal for every case of a split."""
    from diffseg.domain import Request
    from diffseg.models import find_model
    from diffseg.models.calibrated import uncalibrated
    from diffseg.segmenters.base import load_method
    from diffseg_training.case_score import class_indices
    from diffseg_training.dataset import load_dataset, read_image, read_reference

    dataset = load_dataset(data)
    folder = uncalibrated(find_model(model))
    segmenter = load_method(folder.card.method).from_model(folder, "cpu")
    labels = segmenter.card.labels
    out.mkdir(parents=True, exist_ok=True)
    for case in dataset.split(split)[:cases]:
        target = out / f"{case.case}.npz"
        if target.exists() or case.mask is None:
            continue
        volume = read_image(case)
        request = Request(volume, members=members, keep_members=True)
        proposal = segmenter.propose(request)
        assert proposal.members is not None
        reference = read_reference(case, volume, dataset.labels)
        aside = target.with_suffix(".tmp.npz")
        np.savez_compressed(
            aside,
            probability=proposal.probability,
            uncertainty=proposal.uncertainty,
            mask=class_indices(proposal.mask, labels, labels),
            members=class_indices(proposal.members, labels, labels),
            reference=class_indices(reference, dataset.labels, labels),
            agreement=[one.expected_dice for one in proposal.structures],
            group=case.group,
            names=labels.names,
            steps=proposal.provenance.steps,
        )
        aside.rename(target)
        typer.echo(case.case)


@app.command()
def measure(
    out: Out,
    seeds: Annotated[int, typer.Option(help="Of orders that draw.")] = 20,
    resamples: Annotated[int, typer.Option(help="Of patients.")] = 200,
) -> None:
    """Compare the orders, and print what was found as JSON."""
    files = sorted(one for one in out.glob("*.npz") if ".tmp" not in one.name)
    stored = {one.stem: dict(np.load(one)) for one in files}
    if len(stored) < 4:
        raise typer.BadParameter(f"{len(stored)} proposals in {out}; propose first")
    known = [_known(name, one) for name, one in stored.items()]
    result: dict[str, Any] = {"cases": len(known)}
    for kind in ("dice", "voxels"):
        result[kind] = _compared(known, kind, seeds, resamples)
    result["calibration"] = _calibration(stored)
    typer.echo(json.dumps(result, indent=1))


def found_curve(
    errors: NDArray[np.float64], order: Sequence[int] | NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Share of all error found after 0, 1, ... cases of an order, (N + 1,)."""
    total = np.concatenate([[0.0], np.cumsum(errors[list(order)])])
    curve: NDArray[np.float64] = total / max(total[-1], 1e-300)
    return curve


def found_at(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share found at each of `BUDGETS`, and the mean over all budgets, (B + 1,)."""
    shares = np.linspace(0, 1, len(curve))
    area = float(((curve[1:] + curve[:-1]) / 2).mean())
    return np.append(np.interp(BUDGETS, shares, curve), area)


def _known(name: str, one: Mapping[str, Any]) -> Known:
    mask, reference = one["mask"], one["reference"]
    candidate = candidate_of(
        name, one["probability"], mask, one["uncertainty"], one["members"]
    )
    structures = range(1, len(one["names"]) + 1)
    dice = [1 - confusion(mask, reference, k).dice for k in structures]
    wrong = float(np.count_nonzero(mask != reference))
    return Known(str(one["group"]), candidate, {"dice": sum(dice), "voxels": wrong})


def _compared(
    known: Sequence[Known], kind: str, seeds: int, resamples: int
) -> dict[str, Any]:
    errors = np.array([one.errors[kind] for one in known])
    candidates = [one.candidate for one in known]
    orders = {
        name: [ordered(candidates, name, seed) for seed in range(seeds)]
        for name in ORDERS
    }
    orders["ideal"] = [tuple(np.argsort(-errors, kind="stable").tolist())]
    groups, which = np.unique([one.group for one in known], return_inverse=True)
    generator = np.random.default_rng(0)
    draws = [
        generator.multinomial(len(groups), np.full(len(groups), 1 / len(groups)))[which]
        for _ in range(resamples)
    ]
    once = np.ones(len(known), int)
    found = {name: _found(errors, some, once) for name, some in orders.items()}
    drawn = {
        name: np.array([_found(errors, some, times) for times in draws])
        for name, some in orders.items()
    }
    result = {}
    for name, values in found.items():
        result[name] = {
            "found": dict(zip((*BUDGETS, "mean"), values.round(3), strict=True)),
            "ci95": _interval(drawn[name]),
            f"minus_{BASE}": (values - found[BASE]).round(3).tolist(),
            "minus_ci95": _interval(drawn[name] - drawn[BASE]),
        }
    return result


def _found(
    errors: NDArray[np.float64],
    orders: Sequence[Sequence[int]],
    times: NDArray[np.integer[Any]],
) -> NDArray[np.float64]:
    """What is found by orders on average, if each case stands there so many times."""
    rows = []
    for order in orders:
        repeated = np.repeat(order, times[list(order)])
        rows.append(found_at(found_curve(errors, repeated)))
    mean: NDArray[np.float64] = np.mean(rows, axis=0)
    return mean


def _interval(draws: NDArray[np.float64]) -> list[list[float]]:
    ends: list[list[float]] = np.quantile(draws, [0.025, 0.975], axis=0).T.tolist()
    return [[round(one, 3) for one in pair] for pair in ends]


def _calibration(stored: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Calibrate on the same proposals; None where it is refused."""
    generator = np.random.default_rng(0)
    evidence: list[Evidence] = [
        evidence_of(
            name, str(one["group"]), one["probability"], one["reference"], generator
        )
        for name, one in stored.items()
    ]
    first = next(iter(stored.values()))
    plan = Plan(
        names=tuple(str(one) for one in first["names"]),
        members=len(first["members"]),
        steps=int(first["steps"]),
        about={},
    )
    agreement = np.array([one["agreement"] for one in stored.values()], np.float64)
    try:
        found = calibrate(evidence, plan, agreement)
    except UserError as refused:
        return {"refused": str(refused)}
    figures = dict(found.figures)
    for side in ("before", "after"):
        for place in ("box", "image"):
            figures[side][place].pop("reliability_binary")
    return {"words": found.calibration.words, **figures}


if __name__ == "__main__":
    app()
