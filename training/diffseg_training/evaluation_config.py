"""What to evaluate, and what the model is told."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from diffseg.errors import UserError


class EvaluationConfig(BaseModel):
    """What to evaluate, and what the model is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: str = Field(
        default="val", title="Split", description="train, val, test or all"
    )
    labels: Literal["given", "predicted", "none"] = Field(
        default="none",
        title="Image-level labels",
        description="Those of the dataset, those of the model's classifier, or none; a "
        "model with a classifier asks it where it is told none",
    )
    members: int | None = Field(default=None, ge=1, title="Members")
    steps: int | None = Field(default=None, ge=1, title="Steps")
    seed: int = Field(default=0, ge=0, title="Seed")
    more_seeds: tuple[int, ...] = Field(
        default=(),
        title="More seeds",
        description="Under which every case is proposed again, for stability alone",
    )

    @field_validator("more_seeds")
    @classmethod
    def _seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if any(seed < 0 for seed in seeds):
            raise ValueError("give seeds of 0 or more")
        return seeds


def evaluation_config(**fields: Any) -> EvaluationConfig:
    """Make an `EvaluationConfig`; `UserError` names the first field that is wrong."""
    try:
        return EvaluationConfig(**fields)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{where} is {first['input']!r}: {what}") from None


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read ``0,1,2``: two seeds or more, each of them once.

    Raises
    ------
    UserError
        It is something else.
    """
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        seeds = ()
    if len(seeds) < 2 or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError(
            f"seeds {text!r} is not two or more different numbers of 0 or more; "
            "give 0,1,2"
        )
    return seeds
