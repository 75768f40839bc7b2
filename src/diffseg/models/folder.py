"""One model in one folder: its card, and the weights that the card vouches for."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from diffseg.domain import ModelCard
from diffseg.errors import UserError

Origin = Literal["shipped", "user"]

_CARD = "card.json"
# A version and a weights file become names in a folder: no separators, no "..".
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model on disk: its card, its folder, and whether it came with the product."""

    card: ModelCard
    path: Path
    origin: Origin

    @property
    def name(self) -> str:
        """The model's full name, ``id@version``."""
        return f"{self.card.id}@{self.card.version}"

    @property
    def weights(self) -> Path:
        """Path of the weights that the card names."""
        return self.path / self.card.weights


def read_folder(path: str | Path, origin: Origin = "user") -> ModelFolder:
    """Read the card of the model in folder `path`; the weights are not touched.

    Raises
    ------
    UserError
        There is no card, or it cannot be read, or a field of it is wrong.
    """
    folder = Path(path)
    file = folder / _CARD
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        reason = getattr(err, "strerror", None) or "not UTF-8 text"
        raise UserError(
            f"model card {file} cannot be read ({reason}): "
            f"a model is a folder with {_CARD} and its weights"
        ) from None
    try:
        card = ModelCard.model_validate_json(text)
    except ValidationError as err:
        raise UserError(f"model card {file} is not valid: {_first(err)}") from None
    named = [("folders", name) for name in card.folders]
    for field, value in (
        ("version", card.version),
        ("weights", card.weights),
        *named,
    ):
        if not _PLAIN_NAME.fullmatch(value):
            raise UserError(
                f"model card {file} is not valid: {field} {value!r} is not a plain "
                "name of letters, digits and . _ + -"
            )
    return ModelFolder(card, folder, origin)


def _first(err: ValidationError) -> str:
    """Tell the first complaint of `err`, and how many follow, in one line."""
    complaints = err.errors(include_url=False)
    first = complaints[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    rest = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
    return " ".join(f"{where}: {first['msg']}{rest}".split())


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_folder(path: Path) -> str:
    """SHA-256 of the names and the contents of all files below a folder.

    Raises
    ------
    UserError
        The folder or a file in it cannot be read.
    """
    whole = hashlib.sha256()
    try:
        if not path.is_dir():
            raise UserError(f"folder {path} is not there: add the model again")
        for file in sorted(one for one in path.rglob("*") if one.is_file()):
            told = f"{file.relative_to(path).as_posix()}\n{sha256_of(file)}\n"
            whole.update(told.encode())
    except OSError as err:
        raise UserError(f"folder {path} cannot be read ({err.strerror})") from None
    return whole.hexdigest()


def verify_model(folder: ModelFolder) -> None:
    """Check that weights and folders are those that the card vouches for.

    Raises
    ------
    UserError
        Weights or a folder are missing, unreadable, or not those of the card.
    """
    try:
        found = sha256_of(folder.weights)
    except OSError as err:
        raise UserError(
            f"weights of {folder.name} cannot be read: {folder.weights} "
            f"({err.strerror}): pull or add the model again"
        ) from None
    if found != folder.card.sha256.lower():
        raise UserError(
            f"checksum of {folder.weights} differs from the card of {folder.name}: "
            "pull or add it again"
        )
    for name, checksum in folder.card.folders.items():
        if sha256_of_folder(folder.path / name) != checksum:
            raise UserError(
                f"checksum of folder {folder.path / name} differs from the card of "
                f"{folder.name}: add the model again"
            )
