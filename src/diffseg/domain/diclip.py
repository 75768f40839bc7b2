"""What a model of the method `diclip` is made of, as its card says; no torch.

The defaults are the paper's (DiCLIP); where the authors' code differs, `as_released`
has its options.
"""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from diffseg.domain.fusion import Fusion
from diffseg.domain.prompts import PromptBook
from diffseg.errors import UserError

METHOD: Literal["diclip"] = "diclip"
BESIDE = "./"
"""What a backbone's place begins with that lies in a folder beside the card."""

Refining = Literal["affinity", "diffusion", "pixels", "field"]
Variant = Literal["paper", "code"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Backbone(_Frozen):
    """A frozen model that is stood upon: where it lies, and which one it must be."""

    at: str = Field(
        min_length=1,
        title="Place",
        description="A name that diffseg models pull knows, ./FOLDER beside the card, "
        "or file:FOLDER",
    )
    identity: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        title="Identity",
        description="SHA-256 of all that decides what it does",
    )


class Words(_Frozen):
    """The words that a model was made with; see `diffseg.domain.prompts`."""

    domain: str | None = Field(None, title="Kind of images that they ship for")
    templates: tuple[str, ...] = Field(min_length=1, title="Templates")
    classes: dict[str, tuple[str, ...]] = Field(
        title="Words of each class", description="A class without any waits for a text"
    )
    background: tuple[str, ...] = Field((), title="Words of the background")

    @property
    def book(self) -> PromptBook:
        """As prompts are found in."""
        return PromptBook(self.templates, dict(self.classes), self.background)


class DiclipConfig(_Frozen):
    """All of a DiCLIP but its weights."""

    name: Literal["diclip"] = METHOD
    clip: Backbone = Field(title="CLIP")
    diffusion: Backbone | None = Field(None, title="Text-to-image model")
    words: Words = Field(title="Words")
    side: int = Field(
        320, ge=1, title="Pixels that CLIP sees", description="Along the longer side"
    )
    seen: int | None = Field(
        None,
        ge=1,
        title="Pixels that the text-to-image model sees",
        description="Along the longer side; None: as many as CLIP",
    )
    shown: tuple[str, ...] = Field(
        (),
        title="Channels that are shown",
        description="One or three of the image's; without any its one or three, or the "
        "mean of another number",
    )
    similarity: Literal["cosine", "surgery"] = Field(
        "cosine", title="Likeness of patches and texts"
    )
    streams: Literal["recursive", "surgery"] = Field(
        "recursive", title="Enhanced stream"
    )
    layers: int = Field(3, ge=1, title="Last blocks of CLIP that are enhanced")
    weight: float = Field(1.0, ge=0, title="Weight of the diffusion model's attention")
    fusion: Fusion = Field(Fusion.ADD, title="How it joins CLIP's attention")
    attention: Variant = Field(
        "paper", title="Attention", description="paper: softmax, mean; code: products"
    )
    attention_layers: tuple[str, ...] = Field(
        (), title="Self-attentions that are read", description="None: the coarsest last"
    )
    timesteps: tuple[int, ...] = Field(
        (81, 41, 121),
        min_length=1,
        title="Timesteps",
        description="The first member looks at the first ones, others at any",
    )
    draws: int = Field(1, ge=1, title="Noises of a member")
    groups: int = Field(9, ge=1, title="Clusters of the refined attention")
    stepped: bool = Field(False, title="Anchors as in the released code")
    lloyd: int = Field(5, ge=1, title="Iterations of the clustering")
    threshold: float = Field(5e-4, ge=0, title="Attention that is relied on")
    rounds: int = Field(3, ge=0, title="Rounds of the refinement")
    spread: Literal["cluster", "reliable"] = Field("cluster", title="Averaged over")
    cache: bool = Field(False, title="Whether a cache lies beside the card")
    cache_weight: float = Field(0.5, ge=0, title="Weight of the cache")
    negative: bool = Field(True, title="Whether background keys hold classes down")
    activation: Literal["relu", "exp"] = Field("relu", title="Activation of keys")
    sharpness: float = Field(5.5, gt=0, title="Sharpness of exp")
    adapter: dict[str, Any] | None = Field(
        None, title="Adapter", description="Its configuration; weights: adapter.*"
    )
    head: dict[str, Any] | None = Field(
        None, title="Head", description="Its configuration; weights: head.*"
    )
    answer: Literal["maps", "head"] = Field(
        "maps", title="What answers", description="head: the trained one, without words"
    )
    refinement: tuple[Refining, ...] = Field(
        ("affinity", "pixels"), title="Refinements of the maps, in order"
    )
    affinity_layers: int = Field(6, ge=1, title="Last layers of CLIP's affinity")
    affinity_by_heads: bool = Field(
        False,
        title="Enhanced layers weigh as many times as there are heads",
        description="as the released code has it",
    )
    box_threshold: float = Field(0.79, ge=0, le=1, title="Threshold of the boxes")
    walk: int = Field(10, ge=1, title="Iterations along the diffusion attention")
    fine_heads: tuple[int, ...] = Field((), title="Heads of that; all without any")
    fine_side: int = Field(
        320, ge=1, title="Pixels at which maps are refined", description="Longer side"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.diffusion is None and self.looks_at_diffusion:
            raise ValueError(
                "there is no text-to-image model: set weight 0, or fusion clip, and "
                "leave refinement diffusion out"
            )
        if self.answer == "head" and self.head is None:
            raise ValueError("answer is head, but there is no head")
        if self.adapter is not None and not self.cache:
            raise ValueError("an adapter needs the cache that it began with")
        shapes = [one in ("pixels", "field") for one in self.refinement]
        if shapes != sorted(shapes) or len(set(self.refinement)) != len(shapes):
            raise ValueError(
                "refinement: each once, affinity and diffusion before pixels and field"
            )
        if len(self.shown) not in (0, 1, 3):
            raise ValueError(f"{len(self.shown)} channels are shown; give 1 or 3")
        return self

    @property
    def joins(self) -> bool:
        """Whether an attention joins CLIP's."""
        added = self.fusion is Fusion.ADD
        return self.fusion is not Fusion.CLIP and not (added and self.weight == 0)

    @property
    def looks_at_diffusion(self) -> bool:
        """Whether the text-to-image model is looked at."""
        if self.answer == "head":
            return False
        return self.joins or "diffusion" in self.refinement


def as_released() -> dict[str, Any]:
    """Options of the authors' code, where they are not the paper's."""
    return {
        "seen": 320,
        "similarity": "surgery",
        "streams": "surgery",
        "attention": "code",
        "stepped": True,
        "threshold": 0.0,
        "refinement": ("affinity", "diffusion"),
        "affinity_by_heads": True,
        "fine_heads": (1, 2),
    }


def variant_options(variant: str) -> dict[str, Any]:
    """Options of a variant, ``paper`` or ``code``; `UserError` of any other."""
    if variant not in get_args(Variant):
        raise UserError(f"variant is {variant!r}; give paper or code")
    return as_released() if variant == "code" else {}


def diclip_config(network: dict[str, Any], where: str) -> DiclipConfig:
    """Read what a card says under ``network``.

    Parameters
    ----------
    network : dict
    where : str
        What the model is called in messages.

    Raises
    ------
    UserError
        A field is missing, unknown or wrong.
    """
    try:
        return DiclipConfig.model_validate(network)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        place = ".".join(("network", *(str(part) for part in first["loc"])))
        said = " ".join(str(first["msg"]).removeprefix("Value error, ").split())
        raise UserError(f"{where}: {place}: {said}") from None
