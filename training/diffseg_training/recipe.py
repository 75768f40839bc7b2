"""A recipe: everything that makes a training run, in one validated YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
)

from diffseg.domain import Localisation, Preparation, Sampling
from diffseg.errors import UserError
from diffseg.resources import merged, resource
from diffseg_training.settings import ObjectiveSettings, settings_class


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Augmentation(_Frozen):
    """Random changes of each training example, all from the step's seed."""

    rotate_deg: float = Field(15.0, ge=0, title="Largest rotation, degrees")
    scale: float = Field(0.15, ge=0, lt=1, title="Largest change of scale, a share")
    shift: float = Field(4.0, ge=0, title="Largest shift, voxels")
    elastic: float = Field(2.0, ge=0, title="Elastic displacement, SD in voxels")
    flip_axes: tuple[int, ...] = Field((), title="Axes flipped half of the time")
    gamma: float = Field(0.3, ge=0, title="Largest |log gamma|")
    contrast: float = Field(0.25, ge=0, lt=1, title="Largest change of contrast")
    noise: float = Field(0.15, ge=0, title="Largest added noise, SD")
    blur: float = Field(0.15, ge=0, le=1, title="Chance of a blurred example")


class Optimiser(_Frozen):
    """AdamW with warm-up, cosine decay over the run, and averaged weights."""

    learning_rate: float = Field(2e-3, gt=0, title="Peak learning rate")
    weight_decay: float = Field(1e-2, ge=0, title="Weight decay")
    warmup: float = Field(0.03, ge=0, lt=1, title="Warm-up, a share of the run")
    batch: int = Field(2, ge=1, title="Images per step")
    clip: float = Field(1.0, gt=0, title="Largest gradient norm")
    ema: float = Field(0.998, ge=0, lt=1, title="Decay of the averaged weights")
    precision: Literal["bf16", "fp32"] = Field("bf16", title="Arithmetic")


class Length(_Frozen):
    """When a run ends: after `minutes` of training, or after `steps` if given."""

    minutes: float = Field(15.0, gt=0, title="Minutes")
    steps: int | None = Field(None, ge=1, title="Steps, instead of minutes")
    validations: int = Field(6, ge=1, title="Validations, evenly over the run")


class CardText(_Frozen):
    """What a person must write on the model card."""

    id: str
    version: str = "1.0.0"
    title: str
    modality: str
    licence: str
    data: str
    intended_use: str
    limits: tuple[str, ...]
    codes: dict[str, str] = Field(default_factory=dict)
    colors: dict[str, str] = Field(default_factory=dict)


class Recipe(_Frozen):
    """Everything that makes a training run."""

    name: str
    title: str
    method: str = Field(description="Segmenter's entry point")
    network: dict[str, Any] = Field(description="name and configuration")
    patch: tuple[int, ...] = Field(description="Training patch, voxels (z, y, x)")
    preparation: Preparation
    sampling: Sampling = Field(default_factory=Sampling)
    localisation: Localisation | None = None
    augmentation: Augmentation = Field(default_factory=Augmentation)
    objective: SerializeAsAny[ObjectiveSettings]
    optimiser: Optimiser = Field(default_factory=Optimiser)
    length: Length = Field(default_factory=Length)
    seed: int = 0
    card: CardText

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


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that ship, in order."""
    return tuple(sorted(path.stem for path in resource("recipes").glob("*.yaml")))


def recipe_path(name_or_file: str) -> Path:
    """File of a shipped recipe's name, or the YAML file itself."""
    path = Path(name_or_file)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise UserError(f"recipe file {path} is not there")
        return path
    if name_or_file not in recipe_names():
        known = ", ".join(recipe_names())
        raise UserError(f"recipe {name_or_file!r} is not one of: {known}")
    return resource("recipes", f"{name_or_file}.yaml")


def load_recipe(name_or_file: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, with ``section.key=value`` overrides (values as YAML).

    A recipe with a key `extends` takes all it does not say from another recipe.

    Raises
    ------
    UserError
        No such recipe, not YAML, or a key or value that does not fit.
    """
    path = recipe_path(name_or_file)
    content = _content(path)
    if "extends" in content:
        base = _content(recipe_path(str(content.pop("extends"))))
        if "extends" in base:
            raise UserError(f"recipe {path}: what it extends extends another one")
        content = merged(base, content)
    for override in overrides:
        _set(content, override)
    try:
        return Recipe.model_validate(content)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"recipe {path.name}: {where}: {first['msg']}") from err


def _content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise UserError(f"recipe {path} is not YAML: {err}") from err
    if not isinstance(content, dict):
        raise UserError(f"recipe {path} is not a table of keys and values")
    return content


def _set(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UserError(f"override {override!r} is not key=value")
    *sections, last = key.split(".")
    for section in sections:
        inner = content.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UserError(f"override {override!r}: {section} has no keys of its own")
        content = inner
    content[last] = yaml.safe_load(value)
