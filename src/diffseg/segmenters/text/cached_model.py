"""A model of the method `diclip` with another cache: the same folder, made anew."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from diffseg.domain import ModelCard
from diffseg.domain.diclip import METHOD, DiclipConfig, diclip_config
from diffseg.errors import UserError
from diffseg.models import ModelFolder, verify_model
from diffseg.models.folder import read_folder, sha256_of_folder
from diffseg.models.lineage import reference_of
from diffseg.segmenters.text.cache import KeyValueCache
from diffseg.segmenters.text.cache_files import CACHE, save_cache


def cacheable(model: ModelFolder) -> DiclipConfig:
    """Configuration of a model that can be given a cache.

    Raises
    ------
    UserError
        It is of another method, or something that was trained has taken the cache's
        place: a cache would change nothing of its answers.
    """
    card = model.card
    if card.method != METHOD:
        raise UserError(
            f"model {model.name} is of the method {card.method}, and a cache is "
            f"{METHOD}'s: give a model that diffseg models assemble made"
        )
    config = diclip_config(card.network, f"model {model.name}")
    if config.adapter is not None or config.answer == "head":
        what = "an adapter" if config.adapter is not None else "a head"
        raise UserError(
            f"model {model.name} answers with {what} that was trained, which no cache "
            "changes: give the model that the training began with, and train again"
        )
    return config


def write_cached(
    source: ModelFolder, cache: KeyValueCache, out: str | Path, id: str
) -> ModelFolder:
    """Write a model that is `source` with this cache.

    It is made aside, verified and renamed: the folder is there whole, or not at all.

    Parameters
    ----------
    source : ModelFolder
    cache : KeyValueCache
        Built with the model's backbones, for its classes.
    out : path
        A folder that is not there yet.
    id : str
        Of the new card, which names `source` as what it came from.

    Raises
    ------
    UserError
        The model takes no cache, `out` is in the way, or it cannot be written.
    """
    config = cacheable(source)
    target = Path(out).expanduser()
    if target.exists():
        raise UserError(f"{target} is in the way; give a folder that is not there yet")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Same folder, so that the rename is one; a dot, so that no listing sees it.
        aside = Path(tempfile.mkdtemp(prefix=".caching-", dir=target.parent))
    except OSError as err:
        raise UserError(f"folder {target} cannot be made ({err.strerror})") from None
    try:
        folders = dict(source.card.folders)
        shutil.copy2(source.weights, aside / source.card.weights)
        for name in folders:
            if name != CACHE:
                shutil.copytree(source.path / name, aside / name)
        save_cache(cache, aside / CACHE)
        folders[CACHE] = sha256_of_folder(aside / CACHE)
        card = _card(source, config, id, folders)
        text = card.model_dump_json(indent=2) + "\n"
        (aside / "card.json").write_text(text, encoding="utf-8")
        verify_model(read_folder(aside))  # an id that is none is refused here
        aside.chmod(0o755)  # mkdtemp's folder is its maker's alone
        aside.rename(target)
    except OSError as err:
        shutil.rmtree(aside, ignore_errors=True)
        raise UserError(f"folder {target} cannot be written ({err.strerror})") from None
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return read_folder(target)


def _card(
    source: ModelFolder, config: DiclipConfig, id: str, folders: dict[str, str]
) -> ModelCard:
    """The card of a model that is another one with a cache."""
    changed = config.model_copy(update={"cache": True})
    return source.card.model_copy(
        update={
            "id": id,
            "parent": reference_of(source.card),
            "network": changed.model_dump(mode="json"),
            "folders": folders,
            # Both were of the answers without this cache.
            "calibration": None,
            "metrics": {},
        }
    )
