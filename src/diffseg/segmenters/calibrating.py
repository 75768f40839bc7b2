"""What a card's calibration adds to a proposal, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from diffseg.domain import ModelCard, StructureReport
from diffseg.ensemble.calibration import Calibration, calibration_of
from diffseg.ensemble.expected import expected_dice
from diffseg.ensemble.expected_map import predict_dice
from diffseg.segmenters.composing import Composed


def card_calibration(card: ModelCard) -> Calibration | None:
    """Read the calibration of a card; None where it has none.

    Raises
    ------
    UserError
        It is not valid, or for another number of structures.
    """
    name = f"{card.id}@{card.version}"
    return calibration_of(card.calibration, len(card.labels) + 1, name)


def calibration_warnings(
    calibration: Calibration | None, members: int, steps: int
) -> tuple[str, ...]:
    """A line where the ensemble is not of the kind that was calibrated."""
    if calibration is None:
        return ()
    if (members, steps) == (calibration.members, calibration.steps):
        return ()
    return (
        f"the model was calibrated with members {calibration.members}, steps "
        f"{calibration.steps}, and asked with members {members}, steps {steps}; "
        "probabilities may be less exact",
    )


def predicted(
    structures: Sequence[StructureReport],
    composed: Composed,
    calibration: Calibration | None,
) -> tuple[StructureReport, ...]:
    """Add the Dice that the calibration predicts of each structure, if it does."""
    known = None if calibration is None else calibration.predicted_dice
    if known is None:
        return tuple(structures)
    box = composed.union.slices
    classes = composed.classes[box]
    found = []
    for index, one in enumerate(structures):
        soft = expected_dice(composed.probability[index][box], classes == index + 1)
        dice = predict_dice(known, index, soft, one.expected_dice)
        if dice is not None:
            one = replace(
                one,
                predicted_dice=dice.value,
                predicted_dice_p05=dice.low,
                predicted_dice_p95=dice.high,
            )
        found.append(one)
    return tuple(found)
