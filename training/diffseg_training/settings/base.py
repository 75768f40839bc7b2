"""What every objective's settings have: a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field


class ObjectiveSettings(BaseModel):
    """What is learnt, and how it is weighed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    takes_unreviewed: ClassVar[bool] = False
    """Whether voxels that nobody reviewed can be left out of the loss."""
    learns_labels: ClassVar[bool] = False
    """Whether it learns from image-level labels, so that no mask is read."""
    needs_absent: ClassVar[bool] = True
    """Whether, of labels, it needs slices in which a structure is absent."""
    assembled: ClassVar[bool] = False
    """Whether what is learnt becomes part of a model of DiCLIP's, put together."""
    chained: ClassVar[bool] = False
    """Whether several networks are trained, one after another, each a stage."""

    name: str = Field(title="Objective")

    def check_classes(self, names: Sequence[str]) -> None:
        """Refuse, by a `UserError`, a data set whose classes it cannot learn from."""
