"""The child: a model folder in the run, and, once the gate lets it, a version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from diffseg.domain import ModelCard
from diffseg.models import (
    ModelFolder,
    list_models,
    make_current,
    read_folder,
    reference_of,
    save_model,
)
from diffseg.models.lineage import tuned_version
from diffseg.models.registry import add_version
from diffseg.volume import atomic_write_bytes
from diffseg_training.finetuning.verdict import Verdict
from diffseg_training.sitting import TrainingResult

MODEL = "model"


def save_child(
    parent: ModelFolder,
    result: TrainingResult,
    told: Mapping[str, Any],
    folder: Path,
) -> ModelFolder:
    """Write the child's weights and card into the run's folder.

    Parameters
    ----------
    told : mapping
        What the card says of the run: project, run, cases, voxels.
    """
    child = child_card(parent, result, told)
    return save_model(folder / MODEL, child, dict(result.network.state_dict()))


def child_card(
    parent: ModelFolder, result: TrainingResult, told: Mapping[str, Any]
) -> ModelCard:
    """The parent's card as the child's, without a checksum; see `save_child`."""
    card = parent.card
    trained = {
        "val_during_training": {k: round(v, 4) for k, v in result.best.items()},
        "steps": result.steps,
        "minutes": round(result.minutes, 1),
        "trained": date.today().isoformat(),
    }
    labelled = told.get("labelled", 0)
    count = told["cases"] - labelled
    data = f"{card.data} Then corrections of {count} case{'s' * (count != 1)}"
    if labelled:
        data += f" and image-level labels of {labelled} more"
    return card.model_copy(
        update={
            "version": next_version(card),
            "calibration": None,
            "parent": reference_of(card),
            "finetuning": dict(told),
            "metrics": trained,
            "data": f"{data}.",
            "sha256": "",
        }
    )


def with_verdict(
    child: ModelFolder, verdict: Verdict, field: str = "finetuning"
) -> ModelFolder:
    """Write the gate's verdict onto the child's card, into what `field` tells."""
    told = {**(getattr(child.card, field) or {}), "verdict": verdict.as_json()}
    card = child.card.model_copy(update={field: told})
    text = card.model_dump_json(indent=2) + "\n"
    atomic_write_bytes(child.path / "card.json", text.encode())
    return read_folder(child.path, child.origin)


def keep(
    child: ModelFolder, later: Callable[[ModelCard], str] | None = None
) -> ModelFolder:
    """Add the child to the models, and let its id mean it; nothing is overwritten.

    Parameters
    ----------
    later : callable
        Names the version where the child's own was taken meanwhile; `next_version`
        without it.

    Raises
    ------
    UserError
        The folder of models cannot be written.
    """
    # Another run may have been kept since this one's weights were saved.
    taken = {one.card.version for one in versions_of(child.card)}
    card = child.card
    if card.version in taken:
        card = card.model_copy(update={"version": (later or next_version)(card)})
    added = add_version(child, card)
    make_current(added)
    return added


def next_version(card: ModelCard) -> str:
    """Name of the next fine-tuned version of a card's model."""
    known = [one.card.version for one in versions_of(card)]
    return tuned_version(card.version, known)


def versions_of(card: ModelCard) -> list[ModelFolder]:
    """Every version that there is of a card's model."""
    return [one for one in list_models() if one.card.id == card.id]
