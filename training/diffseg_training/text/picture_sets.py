"""Data sets that captions speak of, in words: a YAML file, read without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diffseg.errors import UserError
from diffseg.resources import resource
from diffseg_training.recipe_reading import told

_SHIPPED = "captions"


class _Words(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Structure(_Words):
    """Something that a picture may show."""

    name: str = Field(description="As the class is called")
    words: tuple[str, ...] = Field(min_length=1, description="What it is called")
    plural: bool = Field(False, description="Whether these words are plural")
    placed: bool = Field(True, description="Whether it can be on one side")
    sizes_by_share: dict[str, float] = Field(
        alias="sizes",
        min_length=1,
        description="What it is called up to which share of the picture, in (0, 1]",
    )

    @property
    def sizes(self) -> tuple[tuple[str, float], ...]:
        """Words for sizes with the largest share of each, from small to large."""
        return tuple(sorted(self.sizes_by_share.items(), key=lambda pair: pair[1]))


class PictureSet(_Words):
    """A data set in words."""

    name: str = Field(description="Of its folder")
    title: str
    licence: str
    pictures: tuple[str, ...] = Field(min_length=1, description="What one is called")
    around: str = Field(description="The class of all that is no structure")
    normal: tuple[str, ...] = Field(
        min_length=1, description="What one is called that shows no structure"
    )
    structures: tuple[Structure, ...] = Field(min_length=1)

    @property
    def classes(self) -> int:
        """Classes of its masks: the surroundings and the structures."""
        return 1 + len(self.structures)


class _File(_Words):
    sets: tuple[PictureSet, ...] = Field(min_length=1)


def read_sets(name_or_file: str = "small-pair") -> tuple[PictureSet, ...]:
    """Read the sets that ship (``small-pair``), or those of a YAML file.

    Raises
    ------
    UserError
        There is no such file, or it does not say what it has to.
    """
    path = Path(name_or_file)
    if name_or_file == "small-pair":
        path = resource("presets", f"{_SHIPPED}.yaml")
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise UserError(
            f"words {name_or_file} cannot be read ({err.strerror}): give a YAML file, "
            "or small-pair"
        ) from None
    except (UnicodeDecodeError, yaml.YAMLError):
        raise UserError(f"words {path} are not YAML in UTF-8") from None
    try:
        sets = _File.model_validate({"sets": content}).sets
    except ValidationError as err:
        raise UserError(f"words {path}: {told(err, _File)}") from None
    _check_letters(path, sets)
    names = class_names(sets)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"words {path} name the class {twice[0]!r} twice")
    return sets


def _check_letters(path: Path, sets: Sequence[PictureSet]) -> None:
    """Refuse words that tokenizers would cut, such as those with hyphens or digits."""
    for one in sets:
        phrases = [*one.pictures, *one.normal]
        for structure in one.structures:
            phrases += [*structure.words, *structure.sizes_by_share]
        for phrase in phrases:
            if not phrase or not all(word.isalpha() for word in phrase.split(" ")):
                raise UserError(
                    f"words {path}: {phrase!r} of set {one.name} is not words of "
                    "letters alone, one space apart"
                )


def class_names(sets: Sequence[PictureSet]) -> tuple[str, ...]:
    """Classes of masks of these sets, in order; the first one's value is 1."""
    return tuple(
        name
        for one in sets
        for name in (one.around, *(structure.name for structure in one.structures))
    )
