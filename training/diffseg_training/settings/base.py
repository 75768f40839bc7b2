"""What every objective's settings have: a name."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ObjectiveSettings(BaseModel):
    """What is learnt, and how it is weighed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(title="Objective")
