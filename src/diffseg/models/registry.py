"""Which models there are, and how one is found, added and removed."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from diffseg.domain import ModelCard
from diffseg.errors import UserError
from diffseg.models.current import chosen, clear_current, current_version, set_current
from diffseg.models.folder import ModelFolder, Origin, read_folder, verify_model
from diffseg.resources import resource

_ID = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class BrokenModel:
    """A model's folder that cannot be used, and in one line why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every model on this machine, the sound ones and the broken.

    `models` is in order of id, then version, the newest last.
    """

    models: tuple[ModelFolder, ...]
    broken: tuple[BrokenModel, ...]


def home() -> Path:
    """Folder of settings and user models: ``$DIFFSEG_HOME``, or the platform's."""
    chosen = os.environ.get("DIFFSEG_HOME")
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_data_path("napari-diffseg", appauthor=False)


def user_models() -> Path:
    """Folder of the models that the user added, ``<id>/<version>/`` below it."""
    return home() / "models"


def catalogue() -> Catalogue:
    """Read every card, shipped and the user's; a broken one does not hide others."""
    models: list[ModelFolder] = []
    broken: list[BrokenModel] = []
    for path, origin in _folders():
        try:
            models.append(read_folder(path, origin))
        except UserError as err:
            broken.append(BrokenModel(path, str(err)))
    models.sort(key=lambda model: (model.card.id, _age(model)))
    return Catalogue(tuple(models), tuple(broken))


def list_models() -> tuple[ModelFolder, ...]:
    """Every sound model on this machine, in order of id, then version."""
    return catalogue().models


def find_model(name: str | Path) -> ModelFolder:
    """Find a model by ``id``, ``id@version`` or folder.

    Without a version the newest is taken (numbers compared as numbers), or the one
    that fine-tuning or going back has chosen; see `diffseg.models.current`.

    Raises
    ------
    UserError
        No such model (the message lists the known ones), or its card is broken.
    """
    folder = Path(name).expanduser()
    if isinstance(name, Path) or _is_path(str(name), folder):
        return _find_folder(folder)
    wanted, _, version = str(name).partition("@")
    known = catalogue()
    matches = [
        model
        for model in known.models
        if model.card.id == wanted and version in ("", model.card.version)
    ]
    if matches:
        return matches[-1] if version else chosen(user_models() / wanted, matches)
    for model in known.broken:
        if wanted in (model.path.name, model.path.parent.name):
            raise UserError(model.reason)
    names = ", ".join(model.name for model in known.models) or "none"
    raise UserError(f"model {str(name)!r} is not known; there are: {names}")


def _is_path(name: str, folder: Path) -> bool:
    # A folder that happens to be called like a model does not hide the model.
    return re.search(r"[/\\]", name) is not None or (folder / "card.json").is_file()


def _find_folder(folder: Path) -> ModelFolder:
    if not folder.is_dir():
        raise UserError(f"model folder {folder} does not exist; give a folder or an id")
    origin: Origin = "shipped" if folder.parent == _shipped() else "user"
    return read_folder(folder, origin)


def add_model(folder: str | Path, id: str) -> ModelFolder:
    """Copy the model in `folder` among the user's models, under the name `id`.

    The copy is made aside, verified and then renamed: a model is there whole
    or not at all.

    Raises
    ------
    UserError
        The id is no id, the model is broken, its weights are not those of its
        card, or a model of this id and version is there already.
    """
    if not _ID.fullmatch(id):
        raise UserError(f"model id {id!r} is not lower-case letters, digits, . _ and -")
    source = _find_folder(Path(folder).expanduser())
    verify_model(source)
    card = source.card.model_copy(update={"id": id})
    for known in list_models():
        if (known.card.id, known.card.version) == (id, card.version):
            raise UserError(
                f"model {known.name} is there already ({known.path}); "
                "remove it first, or give another id"
            )
    return add_version(source, card)


def add_version(
    source: ModelFolder,
    card: ModelCard,
    files: Mapping[str, bytes] | None = None,
    folders: Mapping[str, Path] | None = None,
) -> ModelFolder:
    """Copy a model among the user's models under another card of the same weights.

    Parameters
    ----------
    source : ModelFolder
        Whose weights and README are copied.
    card : ModelCard
        Of an id and version that are not there yet.
    files : mapping of name to bytes, optional
        What else is kept beside the card.
    folders : mapping of name to Path, optional
        Folders that take the place of the model's own of that name.

    Raises
    ------
    UserError
        The folder cannot be written, or the weights are not those of the card.
    """
    target = user_models() / card.id / card.version
    try:
        copy_model(source, card, target, files, folders)
    except OSError as err:
        raise UserError(
            f"model cannot be added: {target} ({err.strerror}); give a writable "
            "folder in DIFFSEG_HOME"
        ) from None
    if current_version(target.parent) is not None:
        set_current(target.parent, card.version)  # what comes later is what is meant
    return read_folder(target, "user")


def copy_model(
    source: ModelFolder,
    card: ModelCard,
    target: Path,
    files: Mapping[str, bytes] | None = None,
    folders: Mapping[str, Path] | None = None,
) -> None:
    """Copy a model's weights and folders to the folder `target`, with another card.

    It is made aside, verified and then renamed; `target` must not be there yet.
    `files` are kept beside the card; `folders` take the place of its own.

    Raises
    ------
    UserError
        The weights are not those of the card.
    OSError
        The folder cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # Same folder, so that the rename is one; a dot, so that no listing sees it.
    aside = Path(tempfile.mkdtemp(prefix=".adding-", dir=target.parent))
    try:
        shutil.copy2(source.weights, aside / card.weights)
        for name in card.folders:
            own = (folders or {}).get(name, source.path / name)
            shutil.copytree(own, aside / name)
        readme = source.path / "README.md"
        if readme.is_file():
            shutil.copy2(readme, aside / readme.name)
        for name, content in (files or {}).items():
            (aside / name).write_bytes(content)
        text = card.model_dump_json(indent=2) + "\n"
        (aside / "card.json").write_text(text, encoding="utf-8")
        verify_model(read_folder(aside))
        aside.chmod(0o755)  # mkdtemp's folder is its maker's alone
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def remove_model(name: str) -> None:
    """Remove one of the user's models, named ``id@version``.

    Raises
    ------
    UserError
        No version is given, no such model, or it came with the product.
    """
    id_, _, version = name.partition("@")
    if not version:
        raise UserError(f"{name!r} names no version; give ID@VERSION to remove it")
    matches = [
        model
        for model in list_models()
        if (model.card.id, model.card.version) == (id_, version)
    ]
    mine = [model for model in matches if model.origin == "user"]
    if matches and not mine:
        raise UserError(f"model {name} came with the product and cannot be removed")
    if not mine:
        find_model(name)  # raises, and lists what there is
    for model in mine:
        doomed = model.path.with_name(f".removing-{model.path.name}")
        try:
            model.path.rename(doomed)  # gone at once, whatever deleting does
            shutil.rmtree(doomed)
        except OSError as err:
            raise UserError(
                f"model {name} cannot be removed: {model.path} ({err.strerror})"
            ) from None
        if current_version(model.path.parent) == version:
            clear_current(model.path.parent)


def _shipped() -> Path | None:
    try:
        return resource("models")
    except FileNotFoundError:
        return None


def _folders() -> Iterator[tuple[Path, Origin]]:
    shipped = _shipped()
    if shipped is not None:
        for folder in _inside(shipped):
            yield folder, "shipped"
    for id_folder in _inside(user_models()):
        for folder in _inside(id_folder):
            yield folder, "user"


def _inside(folder: Path) -> list[Path]:
    """Sub-folders of `folder` in order, without hidden ones; none if it is absent."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith((".", "__"))
    )


def _age(model: ModelFolder) -> tuple[tuple[int, int, str], ...]:
    """Sort key of a version: 1.10 comes after 1.9, and a number after a word."""
    parts = re.findall(r"\d+|[A-Za-z]+", model.card.version)
    return tuple(
        (1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts
    )
