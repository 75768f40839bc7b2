"""A model of the method `diclip` out of a CLIP, a text-to-image model and words.

Public weights that were pulled are referred to by name; a folder is copied beside the
card, or referred to. Either way the card says which one it must be.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from diffseg.domain import (
    Intensity,
    Label,
    LabelTable,
    ModelCard,
    Preparation,
    Sampling,
)
from diffseg.domain.diclip import (
    BESIDE,
    METHOD,
    DiclipConfig,
    diclip_config,
    variant_options,
)
from diffseg.domain.prompts import (
    PromptBook,
    meant,
    plain,
    prompts_for,
    read_prompts,
    shipped_prompts,
)
from diffseg.errors import UserError
from diffseg.models import ModelFolder, save_model
from diffseg.models.clip_files import CONFIG, parts_of
from diffseg.models.clip_tokens import ClipTokenizer
from diffseg.models.clip_weights import find_clip, load_clip
from diffseg.models.folder import sha256_of_folder
from diffseg.models.pulling import public_weights
from diffseg.models.text_diffusion_files import (
    INDEX,
    DiffusionFolder,
    folder_of,
    schedule_from,
    whole_folder,
)
from diffseg.models.text_diffusion_files import identity_of as diffusion_identity
from diffseg.models.text_diffusion_files import parts_of as diffusion_parts
from diffseg.resources import shipped_part
from diffseg.segmenters.text.assembly import Assembly, Trained
from diffseg.segmenters.text.cache_files import CACHE, load_cache, save_cache
from diffseg.segmenters.text.loading import backbone_identities, check_card
from diffseg.segmenters.text.prompts import check_words

_CLIP, _DIFFUSION = "clip", "diffusion"
_PAPERS_SIDE, _TRAINED_SIDE = 320, 200
_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
_CARD = {
    "modality": "any that the words and the CLIP are of",
    "licence": "that of its CLIP and of its text-to-image model",
    "data": "Nothing beyond what its CLIP and its text-to-image model learnt from.",
    "intended_use": "Masks of what is said in words, to be looked at and corrected.",
}
_LIMITS = (
    "It knows what its CLIP knows: public ones saw few medical images.",
    "A class that is looked for lights up somewhere in every slice that it is looked "
    "for in: say which slices are without it.",
    "What is smaller than a patch of the CLIP is hardly found.",
)


def assemble(out: str | Path, id: str, parts: Assembly) -> ModelFolder:
    """Make the folder of a model.

    Parameters
    ----------
    out : path
        Made; it must not be there yet, or be empty.
    id : str
        Of the card.
    parts : Assembly

    Raises
    ------
    UserError
        A part is not there or does not fit the others, words are not in the CLIP's
        vocabulary, or `out` holds something.
    """
    target = Path(out).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} is in the way; give a folder that is not there yet")
    table = _labels(parts.labels)
    clip = load_clip(parts.clip)  # whole, so that what is broken is told now
    network, copied = _backbones(parts, clip.identity)
    network |= _sizes(parts, network)
    network["words"] = _words(table.names, parts, clip.tokenizer)
    network |= variant_options(parts.variant)
    if parts.diffusion is None:
        network |= {"weight": 0.0}
    if parts.adapter is not None and parts.variant == "code":
        network["cache_weight"] = 0.1
    network |= {name: dict(one.config) for name, one in _trained(parts).items()}
    network |= {"cache": parts.cache is not None, **parts.options}
    config = diclip_config({"name": METHOD, **network}, "options")
    card = _card(id, table, config, parts)
    check_card(card, config)
    cache = None
    if parts.cache is not None:
        cache = load_cache(
            parts.cache, backbones=backbone_identities(config), names=table.names
        )
    target.mkdir(parents=True, exist_ok=True)
    try:
        folders = {}
        for place, files in copied.items():
            _copy(files, target / place)
            folders[place] = sha256_of_folder(target / place)
        if cache is not None:
            save_cache(cache, target / CACHE)
            folders[CACHE] = sha256_of_folder(target / CACHE)
        weights = {
            f"{name}.{key}": tensor
            for name, one in _trained(parts).items()
            for key, tensor in one.weights.items()
        }
        sealed = card.model_copy(update={"folders": folders})
        return save_model(target, sealed, weights, half=False)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _trained(parts: Assembly) -> dict[str, Trained]:
    both = {"adapter": parts.adapter, "head": parts.head}
    return {name: one for name, one in both.items() if one is not None}


def _labels(names: Sequence[str]) -> LabelTable:
    if not names or len(set(names)) != len(names) or not all(names):
        raise UserError(f"labels are {', '.join(names) or 'none'}; give each once")
    return LabelTable(
        labels=tuple(
            Label(name=name, value=value, color=_COLOURS[(value - 1) % len(_COLOURS)])
            for value, name in enumerate(names, start=1)
        )
    )


def _backbones(
    parts: Assembly, identity: str
) -> tuple[dict[str, Any], dict[str, dict[str, Path]]]:
    """Where both lie and which they are; and the files to copy, folder by folder."""
    network: dict[str, Any] = {}
    copied: dict[str, dict[str, Path]] = {}
    found = find_clip(parts.clip)
    at = parts.clip
    folder = _folder_in(parts.clip)
    if folder is not None:
        at = f"file:{folder.resolve()}"
        if parts.copy:
            at, copied[_CLIP] = f"{BESIDE}{_CLIP}", parts_of(found)
    network["clip"] = {"at": at, "identity": identity}
    if parts.diffusion is None:
        return network, copied
    whole = _diffusion(parts.diffusion)
    schedule_from(whole.scheduler)
    at = parts.diffusion
    if _folder_in(parts.diffusion) is not None:
        at = f"file:{whole.path.resolve()}"
        # A head answers without it, and is no larger for it.
        if parts.copy and parts.options.get("answer") != "head":
            at, copied[_DIFFUSION] = f"{BESIDE}{_DIFFUSION}", diffusion_parts(whole)
    network["diffusion"] = {"at": at, "identity": diffusion_identity(whole)}
    return network, copied


def _folder_in(spec: str) -> Path | None:
    """The folder that a backbone is given as, if it is one and no name."""
    if spec in {entry.name for entry in public_weights()}:
        return None
    if shipped_part(spec, CONFIG) or shipped_part(spec, INDEX):
        return None
    folder = Path(spec.removeprefix("file:")).expanduser()
    return folder if folder.is_dir() else None


def _diffusion(spec: str) -> DiffusionFolder:
    folder = _folder_in(spec)
    return whole_folder(folder_of(spec) if folder is None else folder)


def _sizes(parts: Assembly, network: Mapping[str, Any]) -> dict[str, Any]:
    """Pixels that both are shown: the paper's of public ones, their own of small."""
    own = find_clip(parts.clip).config["vision_cfg"].get("image_size", 224)
    trained = max(own) if isinstance(own, list | tuple) else int(own)
    side = _PAPERS_SIDE if trained >= _TRAINED_SIDE else trained
    if parts.diffusion is None:
        return {"side": side}
    folder = _diffusion(parts.diffusion).path
    unet, vae = (
        json.loads((folder / part / "config.json").read_text(encoding="utf-8"))
        for part in ("unet", "vae")
    )
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    seen = int(unet.get("sample_size") or 64) * factor
    return {"side": side, "seen": seen if seen < side else None}


def _words(
    names: Sequence[str], parts: Assembly, tokenizer: ClipTokenizer
) -> dict[str, Any]:
    """Words of the classes, and templates and background of their book."""
    book: PromptBook = shipped_prompts(parts.prompts)
    if parts.words is not None:
        book = read_prompts(parts.words).over(book)
    classes: dict[str, tuple[str, ...]] = {}
    for name in names:
        try:
            classes[plain(name)] = meant(name, book)
        except UserError:  # it says nothing: a text will
            classes[plain(name)] = ()
    worded = [name for name in names if classes[plain(name)]]
    if worded:
        # Refuses classes that no text tells apart, and words that the CLIP cannot read.
        check_words(tokenizer, prompts_for(worded, book))
    return {
        "domain": parts.prompts,
        "templates": book.templates,
        "classes": classes,
        "background": book.background,
    }


def _card(
    id: str, table: LabelTable, config: DiclipConfig, parts: Assembly
) -> ModelCard:
    preparation = parts.preparation
    if preparation is None:
        intensity = Intensity(kind="range")
        if parts.prompts == "ct":  # HU of soft tissue
            intensity = Intensity(kind="range", low=-160, high=240)
        preparation = Preparation(
            dims=2, channels=tuple(parts.channels), intensity=intensity
        )
    told = {
        "title": f"{', '.join(table.names)}, by words",
        "limits": _LIMITS,
        "version": "1.0",
        **_CARD,
        **parts.about,
    }
    try:
        return ModelCard(
            id=id,
            method=METHOD,
            network=config.model_dump(mode="json"),
            labels=table,
            preparation=preparation,
            sampling=Sampling(members=parts.members, steps=1),
            capabilities=frozenset({"region", "labels", "slice_labels", "text"}),
            sha256="0" * 64,
            **told,
        )
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        if place == "id":
            first["msg"] = f"{id!r} is not lower-case letters, digits, . _ and -"
        raise UserError(f"card: {place}: {first['msg']}") from None


def _copy(files: Mapping[str, Path], target: Path) -> None:
    for name, path in files.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
