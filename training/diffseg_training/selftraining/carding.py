"""The card of a segmenter that learnt from weak masks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from diffseg.domain import ModelCard
from diffseg.errors import UserError
from diffseg.models import ModelFolder, find_model, reference_of, save_model
from diffseg_training.finetuning.begun import Begun
from diffseg_training.finetuning.keeping import MODEL, versions_of
from diffseg_training.recipe import Recipe
from diffseg_training.run import draft_card
from diffseg_training.selftraining.job import SelfTrainJob
from diffseg_training.selftraining.licences import inherited
from diffseg_training.sitting import TrainingResult

_ID = re.compile(r"[a-z0-9][a-z0-9._-]*")
_VERSION = re.compile(r"1\.(\d+)\.0")


def student_card(job: SelfTrainJob, recipe: Recipe, parent: ModelCard) -> ModelCard:
    """The card as it is known before the network learns.

    The structures are the weak model's; the licence is the most restrictive of the
    weak model's and of that of the model whose weights it begins from.

    Raises
    ------
    UserError
        Its id is no id, or means another model already.
    """
    card = draft_card(recipe, parent.labels)
    licences = [parent.licence]
    limits = [*card.limits, *parent.limits]
    if recipe.start is not None:
        start = find_model(recipe.start).card
        licences.append(start.licence)
    limits.append(
        f"Learnt from the masks that {parent.id}@{parent.version} proposed, with what "
        "is wrong in them."
    )
    named = card.model_copy(update={"id": _id(job, recipe, parent)})
    return named.model_copy(
        update={
            "version": next_student(named),
            "title": f"{card.title}, from weak masks",
            "licence": inherited(*licences),
            "parent": reference_of(parent),
            "limits": tuple(dict.fromkeys(limits)),
        }
    )


def next_student(card: ModelCard) -> str:
    """Version of the next model of a card's id that learns from weak masks.

    ``1.0.0``, ``1.1.0``, ...: each began from scratch, and fine-tuned versions stand
    between them.

    Raises
    ------
    UserError
        The id means a model that did not learn so, or has other structures.
    """
    known = [one.card for one in versions_of(card)]
    for one in known:
        if one.self_training is None or one.labels.names != card.labels.names:
            raise UserError(
                f"model {one.id} is there already, and is another: name the new one",
                option="--id",
            )
    numbers = [int(found[1]) for one in known if (found := _VERSION.match(one.version))]
    return f"1.{max(numbers, default=-1) + 1}.0"


def save_student(begun: Begun[SelfTrainJob], result: TrainingResult) -> ModelFolder:
    """Write the weights and the card into the run's folder."""
    facts, parent = _facts(begun), begun.parent
    trained = {
        "val_during_training": {k: round(v, 4) for k, v in result.best.items()},
        "steps": result.steps,
        "minutes": round(result.minutes, 1),
        "trained": date.today().isoformat(),
    }
    data = (
        f"Images of a project. Masks that {parent.name} proposed, of "
        f"{_cases(facts['weak_cases'])}; corrections of "
        f"{_cases(facts['corrected_cases'])}. The weak model: {parent.card.data}"
    )
    card = begun.card.model_copy(
        update={"data": data, "metrics": trained, "self_training": facts}
    )
    target: Path = begun.folder / MODEL
    return save_model(target, card, dict(result.network.state_dict()))


def _facts(begun: Begun[SelfTrainJob]) -> Mapping[str, Any]:
    """What the card says of the run; neither names of cases nor paths."""
    job, options, materials = begun.job, begun.recipe.self_training, begun.materials
    assert options is not None
    weak = sum(materials.weak.values())
    taken = (
        {"keep": options.keep} if options.worst is None else {"worst": options.worst}
    )
    return {
        "project": begun.project_id,
        "run": begun.id,
        "weak_model": reference_of(begun.parent.card),
        "weak_cases": len(materials.weak),
        "weak_voxels": weak,
        "corrected_cases": materials.reviewed,
        "corrected_voxels": materials.voxels - weak,
        "left_out": materials.told.get("left_out", 0),
        "held_out": len(materials.sides()[1]) if job.judged else 0,
        "doubted_by": options.by,
        **taken,
        "uncertainty_limit": options.limit,
        "from_scratch": begun.recipe.start is None,
        "seed": job.seed,
    }


def _id(job: SelfTrainJob, recipe: Recipe, parent: ModelCard) -> str:
    id = job.id or f"{parent.id}-{recipe.method}"
    if not _ID.fullmatch(id) or id == parent.id:
        raise UserError(
            f"model id {id!r} is the weak model's, or not lower-case letters, digits, "
            ". _ and -",
            option="--id",
        )
    return id


def _cases(count: int) -> str:
    return f"{count} case{'s' * (count != 1)}"
