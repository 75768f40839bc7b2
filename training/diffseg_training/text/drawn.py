"""What persons drew, where DiCLIP learns from it, too: in a pseudo mask's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.metrics.overlap import Confusion
from diffseg.segmenters.text.pseudo_masks import IGNORE


def drawn_of(classes: Tensor, known: Tensor | None) -> Tensor | None:
    """What was drawn (B, Y, X), `IGNORE` where nobody reviewed; None without any.

    Parameters
    ----------
    classes : (B, Y, X) int64 Tensor
        Empty where examples come without.
    known : (B, Y, X) bool Tensor or None
        None: all.
    """
    if not classes.numel():
        return None
    return classes if known is None else torch.where(known, classes, IGNORE)


def laid_over(pseudo: Tensor, drawn: Tensor | None) -> Tensor:
    """Pseudo masks, and where a person reviewed, what the person drew."""
    if drawn is None:
        return pseudo
    return torch.where(drawn == IGNORE, pseudo, drawn)


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """Voxels that a head finds, and that persons drew, added up over slices.

    Parameters
    ----------
    names : sequence of str
        Classes; index 0 of what is found is the background.
    counts : dict of str to Confusion
    """

    names: Sequence[str]
    counts: dict[str, Confusion] = field(default_factory=dict)

    def add(self, logits: Tensor, drawn: Tensor) -> None:
        """Count logits (B, K + 1, y, x) against what was drawn (B, Y, X)."""
        full = functional.interpolate(
            logits.float(), drawn.shape[1:], mode="bilinear", align_corners=False
        )
        found, known = full.argmax(1), drawn != IGNORE
        for index, name in enumerate(self.names, start=1):
            mine, wanted = (found == index) & known, drawn == index
            more = Confusion(
                int((mine & wanted).sum()),
                int((mine & ~wanted).sum()),
                int((wanted & ~mine).sum()),
            )
            self.counts[name] = self.counts.get(name, Confusion(0, 0, 0)) + more

    def scores(self) -> Mapping[str, float]:
        """Dice of each class, and their mean as ``score``; empty without a slice."""
        dice = {name: one.dice for name, one in self.counts.items()}
        return {**dice, "score": sum(dice.values()) / len(dice)} if dice else {}
