"""The model card: what a model is, eats and may be used for. Loads without torch."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_serializer, model_validator

from diffseg.domain.labels import LabelTable

Triple = tuple[float, float, float]
IMAGE_LEVEL = "image-level labels alone"
"""What the metrics of a weak model's card say that it was trained on."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Intensity(_Frozen):
    """How intensities are brought to the network's range, within the region."""

    kind: Literal["zscore", "window", "range", "standard", "tissue"] = Field(
        "zscore",
        title="Normalisation",
        description="zscore: mean 0 and SD 1; window: low to high becomes -1 to 1; "
        "range: low to high, or else the smallest to the largest, becomes `to`; "
        "standard: less `mean`, divided by `deviation`; tissue: air becomes -1 and the "
        "median of what is not air 0, for MR without units",
    )
    low: float | None = Field(None, title="Start", description="kinds window, range")
    high: float | None = Field(None, title="End", description="kinds window, range")
    most: float = Field(2.0, gt=0, title="Most", description="kind tissue, clipped")
    clip_sigma: float = Field(5.0, gt=0, title="Clip", description="kind zscore, SDs")
    to: tuple[float, float] = Field(
        (0.0, 1.0), title="Range of the input", description="kind range"
    )
    mean: tuple[float, ...] = Field(
        (), title="Means", description="kind standard, of each channel as stored"
    )
    deviation: tuple[float, ...] = Field(
        (), title="Deviations", description="kind standard, of each channel as stored"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind == "range" and (self.low is None) != (self.high is None):
            raise ValueError("intensity range: give both low and high, or neither")
        if self.kind == "standard" and (
            not self.mean
            or len(self.mean) != len(self.deviation)
            or min(self.deviation) <= 0
        ):
            raise ValueError(
                "intensity standard: give a mean and a deviation above 0 for each "
                "channel"
            )
        return self


COLOURS = ("red", "green", "blue")
LUMINANCE = ("luminance",)


class Preparation(_Frozen):
    """How a volume becomes the network's input, and its output comes back.

    A model of the channels red, green and blue takes a grey image too, its one channel
    three times. A model of one channel refuses a colour image, unless that channel is
    called luminance: then it sees 0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601).
    """

    dims: Literal[2, 3] = Field(3, title="Network dimensions")
    channels: tuple[str, ...] = Field(
        ("image",),
        title="Channels",
        description="red, green, blue: a grey image is taken too; luminance: a colour "
        "image is taken too",
    )
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
        description="Axes of (z, y, x), of a 2D network too, flipped for members in "
        "turn: 2 is x",
    )

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.size is not None and (self.dims == 3 or min(self.size) < 1):
            raise ValueError("size is (y, x) of each slice, of a network over 2 dims")
        if self.size is not None and self.spacing_mm is not None:
            raise ValueError("size and spacing_mm exclude each other; give one of them")
        return self

    def takes(self, channels: int) -> bool:
        """Whether an image of so many channels can become the network's input."""
        if channels == len(self.channels):
            return True
        grey_as_colour = self.channels == COLOURS and channels == 1
        return grey_as_colour or (self.channels == LUMINANCE and channels == 3)


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
        description="classes: logits, over background and classes (softmax) or for "
        "each class but background (sigmoid); else one channel for each class but "
        "background",
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
    clip_range: tuple[float, float] | None = Field(
        None,
        title="Clip range",
        description="Where it is not the mask's: the public EnsemDiff and MedSegDiff "
        "clip masks of 0 and 1 to -1 and 1",
    )
    input: Literal["zeros", "noise"] = Field(
        "zeros",
        title="In the noisy mask's place",
        description="method feedforward, as it was trained",
    )
    mix_calibration: bool = Field(
        False,
        title="Mix in the calibration map",
        description="method medsegdiff, as the public code of its version 1",
    )
    consensus: Literal["mean", "staple", "squared_mean"] = Field(
        "mean",
        title="Consensus",
        description="How members become one probability; squared_mean is what the "
        "public MedSegDiff calls staple",
    )

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for name in ("mask_range", "clip_range"):
            ends = getattr(self, name)
            if ends is not None and not ends[0] < ends[1]:
                raise ValueError(f"{name} is {ends}; give a low end below a high one")
        return self


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
    folders: dict[str, str] = Field(
        default_factory=dict,
        description="Folders beside the card that belong to the model, and a checksum "
        "of what each holds",
    )
    calibration: dict[str, Any] | None = None
    data: str = Field(description="What it was trained on")
    recipe: str | None = None
    parent: str | None = Field(
        None,
        pattern=r"^[^@#]+@[^@#]+#[0-9a-f]{64}$",
        description="id@version#sha256 of the version that this one came from",
    )
    finetuning: dict[str, Any] | None = Field(
        None,
        description="Project, run, cases and the gate's verdict, of a version that "
        "learnt from corrections",
    )
    self_training: dict[str, Any] | None = Field(
        None,
        description="Project, run, weak model, what was taken of its masks and the "
        "gate's verdict, of a model that learnt from them",
    )
    metrics: dict[str, Any] = Field(default_factory=dict)
    intended_use: str
    limits: tuple[str, ...]
    notice: str = "Not a medical device; not intended for clinical use."

    @property
    def weak(self) -> bool:
        """Whether it learnt from image-level labels alone, and saw no mask."""
        by_labels = self.metrics.get("trained_on") == IMAGE_LEVEL
        return by_labels or "slice_labels" in self.capabilities

    @property
    def classifies(self) -> bool:
        """Whether it judges by itself what a slice shows, where nothing is said."""
        return "classifier" in self.network

    @field_serializer("capabilities")
    def _in_order(self, capabilities: frozenset[str]) -> list[str]:
        # A set's own order changes from process to process, and with it the card.
        return sorted(capabilities)
