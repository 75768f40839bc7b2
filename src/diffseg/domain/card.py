"""The model card: what a model is, eats and may be used for. Loads without torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from diffseg.domain.labels import LabelTable

Triple = tuple[float, float, float]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Intensity(_Frozen):
    """How intensities are brought to the network's range, within the region."""

    kind: Literal["zscore", "window"] = Field("zscore", title="Normalisation")
    low: float | None = Field(None, title="Window start", description="kind window")
    high: float | None = Field(None, title="Window end", description="kind window")
    clip_sigma: float = Field(5.0, gt=0, title="Clip", description="kind zscore, SDs")


class Preparation(_Frozen):
    """How a volume becomes the network's input, and its output comes back."""

    dims: Literal[2, 3] = Field(3, title="Network dimensions")
    channels: tuple[str, ...] = Field(("image",), title="Channels")
    orientation: str | None = Field(
        None, title="Orientation", description="Closest axes, as RAS; None: as stored"
    )
    spacing_mm: Triple | None = Field(
        None, title="Spacing", description="(i, j, k) mm in that orientation"
    )
    intensity: Intensity = Field(default_factory=Intensity, title="Intensity")
    size: tuple[int, int] | None = Field(
        None,
        title="Size",
        description="(y, x) that every slice is resized to, of a 2D network",
    )
    context: int = Field(
        0, ge=0, title="Context", description="Neighbour slices on each side (2.5D)"
    )
    tile: tuple[int, ...] | None = Field(
        None, title="Tile", description="Largest input (z, y, x) or (y, x) in one go"
    )
    flips: tuple[tuple[int, ...], ...] = Field(
        ((),),
        title="Test-time flips",
        description="Spatial axes (0 = first) flipped for members in turn",
    )


class TemplateBox(_Frozen):
    """A region in template millimetres (RAS+), carried to an image."""

    name: str
    low_mm: Triple
    high_mm: Triple


class Localisation(_Frozen):
    """Where in a whole image the model's region lies."""

    template: Literal["mni152"] = "mni152"
    boxes: tuple[TemplateBox, ...] = Field(min_length=1)
    largest_mm: Triple = Field(
        title="Largest crop",
        description="An image at most this large (i, j, k) is taken as the region",
    )


class Sampling(_Frozen):
    """Default ensemble and noise schedule."""

    members: int = Field(8, ge=1, title="Members")
    steps: int = Field(1, ge=1, title="Steps")
    schedule: str = Field("cosine", title="Noise schedule")
    timesteps: int = Field(1000, ge=2, title="Timesteps")
    sampler: Literal["restart", "ddpm", "ddim", "dpm_solver_pp"] = Field(
        "restart", title="Sampler"
    )
    restart: float = Field(
        0.5,
        gt=0,
        le=1,
        title="Restart level",
        description="Share of the schedule that members restart from after step one",
    )
    slice_correlation: float = Field(
        0.0, ge=0, lt=1, title="Noise correlation between neighbouring slices"
    )
    betas: tuple[float, float] | None = Field(
        None,
        title="First and last beta",
        description="Of the linear schedules, at 1000 timesteps",
    )
    prediction: Literal["classes", "x0", "eps", "v"] = Field(
        "classes",
        title="What the network puts out",
        description="classes: logits over background and classes; else one channel "
        "for each class but background",
    )
    variance: Literal["learned", "fixed_small", "fixed_large"] = Field(
        "fixed_small", title="Variance of a step", description="sampler ddpm"
    )
    mask_range: tuple[float, float] = Field(
        (-1.0, 1.0),
        title="Mask range",
        description="What stands for outside and inside where noise is added",
    )
    clip: bool = Field(
        True, title="Clip", description="Estimates of the mask to its range"
    )
    consensus: Literal["mean", "staple", "squared_mean"] = Field(
        "mean", title="Consensus", description="How members become one probability"
    )


class ModelCard(_Frozen):
    """What a model is, what it eats, how good it is and what it may be used for."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: str
    title: str
    method: str = Field(description="Entry point in the group diffseg.segmenters")
    network: dict[str, Any] = Field(description="name and configuration of the network")
    labels: LabelTable
    preparation: Preparation
    sampling: Sampling = Field(default_factory=Sampling)
    localisation: Localisation | None = None
    capabilities: frozenset[str] = Field(
        frozenset({"region", "labels"}),
        description="Fields of a Request that the method uses",
    )
    modality: str
    licence: str
    weights: str = Field("model.safetensors", description="File beside the card")
    sha256: str = Field(description="Checksum of the weights")
    calibration: dict[str, Any] | None = None
    data: str = Field(description="What it was trained on")
    recipe: str | None = None
    metrics: dict[str, Any] = Field(default_factory=dict)
    intended_use: str
    limits: tuple[str, ...]
    notice: str = "Not a medical device; not intended for clinical use."
