"""Settings of DiCLIP's adapter and head, and of its cache; loads without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from diffseg_training.recipe_parts import Part
from diffseg_training.settings.base import ObjectiveSettings


class Caching(Part):
    """What a cache of features is built from, and how (DiCLIP, section III-D)."""

    images: int | None = Field(
        50,
        ge=1,
        title="Most labelled slices of a class",
        description="Evenly over them, and as many that show none; None: all",
    )
    generated: int = Field(
        0,
        ge=0,
        title="Images of a class that the text-to-image model draws",
        description="50 in the paper, and no others",
    )
    prompt: str = Field(
        "",
        title="Prompt of those",
        description="With {} for the class; the model's first template without it",
    )
    drawing_steps: int = Field(45, ge=1, title="Steps of such an image")
    guidance: float = Field(10.0, ge=0, title="How far its prompt is followed")
    classes: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        title="Classes that are cached",
        description="Words alone tell of the others; None: all",
    )
    clusters: int | None = Field(
        10, ge=1, title="Keys of a class", description="None: one an image"
    )
    background_clusters: int | None = Field(
        20, ge=1, title="Keys of the background", description="None: one an image"
    )
    weighting: Literal["text", "one_hot", "softmax"] = Field(
        "text",
        title="Values of the keys",
        description="text: the paper; softmax: the released code",
    )


class Adapting(Part):
    """The adapter, which begins with the cache."""

    prompts: int = Field(92, ge=0, title="Learnable keys of no class")
    values: Literal["weighted", "one_hot"] = Field(
        "weighted", title="Values it begins with", description="one_hot: the code"
    )
    dropout: float = Field(0.1, ge=0, lt=1, title="Dropout of similarities")
    logit_dropout: float = Field(
        0.0, ge=0, lt=1, title="Dropout of logits", description="0.1 in the code"
    )
    prompt_std: float | None = Field(
        None,
        gt=0,
        title="Spread of the prompts",
        description="None: prompts about as long as keys; 1 in the code",
    )
    biases: Literal["zeros", "uniform"] = Field("zeros", title="Biases")


class Heading(Part):
    """The segmentation head upon CLIP's patch tokens of all layers."""

    width: int = Field(256, ge=1, title="Channels")
    depth: int = Field(3, ge=1, title="Layers of the transformer")
    heads: int = Field(8, ge=1, title="Heads of the transformer")
    dropout: float = Field(0.1, ge=0, lt=1, title="Dropout of fused channels")
    decoder: Literal["transformer", "convolution"] = Field(
        "transformer", title="Decoder"
    )


class Settings(ObjectiveSettings):
    """What adapter and head stand upon, and how they learn, in a single stage."""

    learns_labels: ClassVar[bool] = True
    needs_absent: ClassVar[bool] = False
    assembled: ClassVar[bool] = True
    name: Literal["diclip"] = "diclip"
    model: str | None = Field(
        None,
        title="A model to begin with",
        description="A folder or an id, in the place of clip, diffusion, prompts, "
        "words, variant and options; its cache is taken if it has one",
    )
    clip: str | None = Field(
        None, title="CLIP", description="As diffseg models assemble takes it"
    )
    diffusion: str | None = Field(
        None,
        title="Text-to-image model",
        description="As diffseg models assemble takes it",
    )
    prompts: str = Field("natural", title="Kind of images that words ship for")
    words: Path | dict[str, Any] | None = Field(
        None,
        title="Words, laid over those",
        description="A prompts file, or what would be in one",
    )
    variant: Literal["paper", "code"] = Field("paper", title="Variant")
    options: dict[str, Any] = Field(
        default_factory=dict, title="Options of the model, over those of the variant"
    )
    copied: bool = Field(
        True,
        title="Whether folders of backbones are copied beside the card",
        description="A text-to-image model that a head does without is not",
    )
    cache: Caching = Field(default_factory=Caching, title="Cache")
    adapter: Adapting = Field(default_factory=Adapting, title="Adapter")
    head: Heading = Field(default_factory=Heading, title="Head")
    pseudo: Literal["static", "dynamic"] = Field(
        "static",
        title="Whose maps make the pseudo masks",
        description="static: the cache's, the paper; dynamic: the adapter's as it "
        "learns, the released code",
    )
    band: tuple[float, float] | None = Field(
        None,
        title="Probabilities that are neither",
        description="Between the two a pixel teaches nothing; None: the highest wins",
    )
    segmentation: float = Field(1.0, ge=0, title="Weight of the head's loss")
    adaptation: float = Field(0.1, ge=0, title="Weight of the adapter's loss")
    affinity: float = Field(
        0.1,
        ge=0,
        title="Weight of the affinity's loss",
        description="As in the released code; the paper has none: 0",
    )
    balanced: bool = Field(
        True,
        title="Background and foreground have half a say each",
        description="As in the released code; the paper's losses are plain",
    )
    radius: int = Field(8, ge=1, title="Patches that affinity reaches")
    answer: Literal["head", "maps"] = Field(
        "head", title="What answers in the model", description="maps: the adapter's"
    )
    features_mb: float = Field(
        4000,
        ge=0,
        title="Megabytes of kept features",
        description="In the run's folder; what does not fit is computed again",
    )
    features: Path | None = Field(
        None, title="Folder of kept features", description="The run's, where it trains"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.model is None) == (self.clip is None):
            raise ValueError("give clip, or model, a model to begin with; one of them")
        if self.band is not None and not 0 <= self.band[0] <= self.band[1] <= 1:
            raise ValueError("band: give two numbers in [0, 1], the lower first")
        return self
