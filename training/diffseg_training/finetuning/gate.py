"""Parent and child on the held-out cases: the same members, steps and seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffseg.domain import Request
from diffseg.errors import UserError
from diffseg.metrics import confusion
from diffseg.models import ModelFolder
from diffseg.models.calibrated import uncalibrated
from diffseg.progress import Progress, Work, told_as
from diffseg.project.store.sources import plain_source
from diffseg.segmenters import Segmenter
from diffseg.segmenters.base import load_method
from diffseg.volume import Volume, atomic_write_bytes, read_mask, write_mask
from diffseg_training.case_score import class_indices
from diffseg_training.dataset import Case, read_image
from diffseg_training.finetuning.materials import Materials
from diffseg_training.finetuning.verdict import CaseDice

SHOWN = "held-out"


def iter_held_out(
    model: ModelFolder,
    who: str,
    materials: Materials,
    folder: Path,
    *,
    seed: int,
    device: str,
) -> Work[tuple[CaseDice, ...]]:
    """Propose for every held-out case, and count the Dice of each class.

    The model is asked without its calibration, which the child has none of. Its masks
    are kept in ``held-out/ID-WHO.nii.gz``, its figures in ``WHO.json``: a run that goes
    on takes them from there.

    Parameters
    ----------
    who : {"parent", "child"}
    """
    file, name = folder / SHOWN / f"{who}.json", f"{who}, held out"
    kept = _kept(file, model.card.sha256, seed)
    if kept is not None:
        return kept
    judges = [case for case in materials.dataset.cases if case.split == "val"]
    method = load_method(model.card.method, f"model {model.name}")
    segmenter = method.from_model(uncalibrated(model), device)
    found = []
    for done, case in enumerate(judges):
        progress = Progress(name, done, len(judges))
        yield progress
        one = yield from _scored(
            segmenter, case, materials, folder, who, seed, progress
        )
        found.append(one)
    told = {"sha256": model.card.sha256, "seed": seed, "cases": _told(found)}
    atomic_write_bytes(file, json.dumps(told, indent=1).encode())
    return tuple(found)


def _scored(
    segmenter: Segmenter,
    case: Case,
    materials: Materials,
    folder: Path,
    who: str,
    seed: int,
    progress: Progress,
) -> Work[CaseDice]:
    volume, labels = read_image(case), materials.dataset.labels
    work = segmenter.iter_propose(Request(volume, seed=seed))
    proposal = yield from told_as(work, progress)
    assert case.mask is not None
    reference = read_mask(case.mask, like=volume, classes=labels.values)
    known = _known(case, volume)
    found = class_indices(proposal.mask, proposal.labels, labels)[known]
    wanted = class_indices(reference, labels, labels)[known]
    counts = {n: confusion(found, wanted, i + 1) for i, n in enumerate(labels.names)}
    id = materials.ids[case.case]
    shown = folder / SHOWN / f"{id}-{who}.nii.gz"
    source = plain_source(volume.grid, id)
    write_mask(shown, proposal.mask, volume.grid, source)
    held = {n for n, c in counts.items() if c.true_positive + c.false_negative}
    dice = {name: one.dice for name, one in counts.items()}
    return CaseDice(id, case.group, dice, frozenset(held))


def _known(case: Case, volume: Volume) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if case.reviewed is None:
        return np.ones(volume.shape, np.bool_)
    return read_mask(case.reviewed, like=volume).astype(np.bool_)


def _told(found: Sequence[CaseDice]) -> list[dict[str, Any]]:
    return [
        {
            "case": one.case,
            "group": one.group,
            "dice": dict(one.dice),
            "present": sorted(one.present),
        }
        for one in found
    ]


def _kept(file: Path, sha256: str, seed: int) -> tuple[CaseDice, ...] | None:
    """Figures of an earlier sitting of the run; None where these weights have none."""
    try:
        told: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as err:
        raise UserError(f"{file} cannot be read: {err}; begin anew") from None
    if told["sha256"] != sha256 or told["seed"] != seed:
        return None
    return tuple(
        CaseDice(one["case"], one["group"], one["dice"], frozenset(one["present"]))
        for one in told["cases"]
    )
