"""How a mask is drawn anew around what the annotator drew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from diffseg.errors import UserError

Way = Literal[
    "replacement",
    "guidance",
    "projection",
    "weighting",
    "weighted_projection",
    "regression",
]
"""How a chain of denoising is held to the strokes; see `diffseg.diffusion.constrained`.

replacement: known voxels of the noisy mask are their noised truth at every step.
guidance: the noisy mask is moved down the gradient of the strokes' error.
projection: the estimate of the clean mask is set to the strokes, and drawn towards
them nearby. weighting: members that contradict the strokes give way to those that do
not. weighted_projection: both. regression: the estimate follows what was wrong with
it at known voxels nearby, and is set to the strokes.
"""

WAYS: tuple[Way, ...] = get_args(Way)
LEAST_WIDTH = 0.8
"""Of a kernel, in voxels: even thick slices still hear of their neighbours."""
LEVEL = 0.65
"""Share of the schedule, where nobody says how far to go back."""


@dataclass(frozen=True, slots=True)
class Resampling:
    """What is done to draw a mask anew around strokes.

    Parameters
    ----------
    way : Way
    reach_mm : float
        Of projection: standard deviation of a stroke's pull, in millimetres (voxels
        where the image has no spacing).
    contrast : float
        Of projection: how unlike its stroke a voxel may look, in standard deviations
        of the image, for the pull to fall as over one reach.
    strength : float
        Of projection: log-odds that a stroke's pull adds right beside it. Of
        guidance: how far a noisy voxel is moved at most, in deviations of its noise.
    width_mm : float
        Of regression: standard deviation of its kernel, in millimetres (voxels where
        the image has no spacing); along each axis `LEAST_WIDTH` voxels at least.
    gain : float
        Of regression: log-odds that an error adds where all around share it.
    shrink : float
        Of regression: weight of nothing being wrong.
    rounds : int
        Of regression: how often it looks at what is still wrong.
    jumps : int
        How often a step is taken, each time from its own answer noised again
        (RePaint, Lugmayr et al. 2022, section 4.2); 1 is once.
    particles : int
        Of weighting: how many members are drawn for each that is kept.
    sharpness : float
        Of weighting: how much the mean log-likelihood of a kept voxel counts.
    margin_mm : float
        How far around the strokes masks are drawn anew, at least.
    planes : int
        Of a model over 2 dimensions: how many slices beyond the outermost strokes.

    Raises
    ------
    UserError
        A value is out of its range.
    """

    way: Way = "regression"
    reach_mm: float = 2.0
    contrast: float = 3.0
    strength: float = 2.0
    width_mm: float = 1.5
    gain: float = 4.0
    shrink: float = 0.03
    rounds: int = 3
    jumps: int = 1
    particles: int = 4
    sharpness: float = 20.0
    margin_mm: float = 16.0
    planes: int = 2

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise UserError(f"way {self.way!r} is not one of {', '.join(WAYS)}")
        for name in ("reach_mm", "contrast", "width_mm", "shrink"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} is {getattr(self, name)}; give more than 0")
        for name in ("strength", "gain", "sharpness", "margin_mm", "planes"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} is {getattr(self, name)}; give 0 or more")
        for name in ("jumps", "particles", "rounds"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; give 1 or more")

    @property
    def projects(self) -> bool:
        """Whether strokes pull at estimates, which are set to them."""
        return self.way in ("projection", "weighted_projection")

    @property
    def regresses(self) -> bool:
        """Whether estimates follow what was wrong with them, and are set to strokes."""
        return self.way == "regression"

    @property
    def weighs(self) -> bool:
        """Whether more members are drawn than are kept."""
        return self.way in ("weighting", "weighted_projection")
