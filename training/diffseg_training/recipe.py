"""A recipe: everything that makes a training run, in one validated YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from diffseg.domain import Localisation, Preparation, Sampling
from diffseg.errors import UserError
from diffseg_training.recipe_labels import Labelling
from diffseg_training.recipe_parts import (
    Augmentation,
    Finetuning,
    Length,
    Loading,
    Lora,
    Optimiser,
    Part,
    Patches,
    SelfTraining,
)
from diffseg_training.recipe_reading import (
    recipe_content,
    recipe_names,
    recipe_path,
    told,
)
from diffseg_training.settings import ObjectiveSettings, settings_class


class DataSource(Part):
    """The data set that a recipe is for, and what it takes to have it."""

    name: str = Field(description="As `diffseg recipes prepare` calls it, if it does")
    title: str
    licence: str
    home: str | None = Field(None, description="Where it is asked for, or published")


class CardText(Part):
    """What a person must write on the model card."""

    id: str = Field(description="If not given, the recipe's name")
    version: str = "1.0.0"
    title: str = Field(description="If not given, the recipe's")
    modality: str
    licence: str
    data: str
    intended_use: str
    limits: tuple[str, ...]
    codes: dict[str, str] = Field(default_factory=dict)
    colors: dict[str, str] = Field(default_factory=dict)


class Recipe(Part):
    """Everything that makes a training run."""

    name: str
    title: str
    dataset: DataSource | None = None
    method: str = Field(description="Segmenter's entry point")
    network: dict[str, Any] = Field(description="name and configuration")
    patch: tuple[int, ...] = Field(description="Training patch, voxels (z, y, x)")
    preparation: Preparation
    sampling: Sampling = Field(default_factory=Sampling)
    localisation: Localisation | None = None
    product: Literal["model", "part", "folder"] = Field(
        "model",
        description="part: weights that no segmenter draws with; folder: such weights "
        "in a public format, as other libraries read them",
    )
    start: str | None = Field(None, description="Model whose weights it begins from")
    augmentation: Augmentation = Field(default_factory=Augmentation)
    patches: Patches = Field(default_factory=Patches)
    loading: Loading = Field(default_factory=Loading)
    objective: SerializeAsAny[ObjectiveSettings]
    optimiser: Optimiser = Field(default_factory=Optimiser)
    length: Length = Field(default_factory=Length)
    labels: Labelling = Field(default_factory=Labelling)
    lora: Lora | None = None
    finetuning: Finetuning | None = Field(
        None, description="Of `diffseg project finetune` alone"
    )
    self_training: SelfTraining | None = Field(
        None, description="Of `diffseg project self-train` alone"
    )
    trackers: tuple[str, ...] = ("tensorboard",)
    seed: int = 0
    card: CardText

    @model_validator(mode="before")
    @classmethod
    def _card_named_as_the_recipe(cls, given: Any) -> Any:
        """A card without an id or a title of its own takes the recipe's."""
        if not isinstance(given, dict) or not isinstance(given.get("card"), dict):
            return given
        pairs = (("id", given.get("name")), ("title", given.get("title")))
        told_once = {key: value for key, value in pairs if value is not None}
        return {**given, "card": {**told_once, **given["card"]}}

    @field_validator("objective", mode="before")
    @classmethod
    def _of_its_own_class(cls, given: Any) -> Any:
        """The settings of the objective that is named; they are a class of its own."""
        if not isinstance(given, dict) or "name" not in given:
            return given
        try:
            kind = settings_class(str(given["name"]))
        except UserError as err:
            raise ValueError(str(err)) from err
        return kind.model_validate(given)

    @model_validator(mode="after")
    def _sees_as_much_as_it_learnt_from(self) -> Self:
        """Tiles smaller than patches would cost accuracy, and nobody would know why."""
        tile = self.preparation.tile
        if tile and any(
            a < b for a, b in zip(tile[::-1], self.patch[::-1], strict=False)
        ):
            raise ValueError(
                f"preparation.tile {[*tile]} is smaller than patch {[*self.patch]}: a "
                "proposal would see less at once than the network learnt from; make "
                "the patch smaller, or the tile larger or null"
            )
        return self


def load_recipe(name_or_file: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, with ``section.key=value`` overrides (values as YAML).

    A recipe with a key `extends` takes all it does not say from another recipe, or
    from several, of which a later one has the last word.

    Raises
    ------
    UserError
        No such recipe, not YAML, or a key or value that does not fit.
    """
    path = recipe_path(name_or_file)
    content = recipe_content(path, overrides)
    try:
        return Recipe.model_validate(_with_objective(content, path))
    except ValidationError as err:
        raise UserError(f"recipe {path.name}: {told(err, Recipe)}") from err


def _with_objective(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The content, its objective's settings read, as their class alone can tell."""
    given = content.get("objective")
    if not isinstance(given, dict) or "name" not in given:
        return content
    try:
        kind = settings_class(str(given["name"]))
    except UserError as err:
        raise UserError(f"recipe {path.name}: {err}") from err
    try:
        return {**content, "objective": kind.model_validate(given)}
    except ValidationError as err:
        what = told(err, kind, "objective")
        raise UserError(f"recipe {path.name}: {what}") from err


__all__ = ["Recipe", "load_recipe", "recipe_content", "recipe_names", "recipe_path"]
