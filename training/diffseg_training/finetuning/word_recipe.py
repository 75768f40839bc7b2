"""The recipe of a fine-tuning whose model answers to words: `diclip`.

Backbones, words and options are those of the model; adapter and head go on from its
own where it has them, and begin as its recipe says where it has not.
"""

from __future__ import annotations

from typing import Any

from diffseg.domain.diclip import METHOD, diclip_config
from diffseg.errors import UserError
from diffseg.models import ModelFolder
from diffseg.resources import merged, read_recipe, resource
from diffseg_training.finetuning.job import FinetuneJob
from diffseg_training.recipe import recipe_content

BASE, OVERLAY = "diclip.yaml", "finetune-diclip.yaml"


def answers_to_words(parent: ModelFolder) -> bool:
    """Whether a model is put together of backbones, adapter and head."""
    return parent.card.method == METHOD


def base_content(parent: ModelFolder) -> dict[str, Any]:
    """What a model learns by whose card names no recipe that ships."""
    content = recipe_content(resource("recipes", "base", BASE))
    return {**content, "name": parent.card.id, "title": parent.card.title}


def word_content(
    parent: ModelFolder, base: dict[str, Any], job: FinetuneJob
) -> dict[str, Any]:
    """A run's recipe, over what the parent was trained by, or would be.

    Raises
    ------
    UserError
        The recipe is of another kind, or base data are asked for.
    """
    card = parent.card
    objective = base.get("objective") or {}
    if objective.get("name") != METHOD:
        raise UserError(
            f"recipe {base.get('name')} makes no model of the method {METHOD}, which "
            f"{parent.name} is: leave out --recipe, or name one that does",
            option="--recipe",
        )
    if job.replay is not None:
        raise UserError(
            f"model {parent.name} answers to words, and base data are not mixed into "
            "what those learn: leave out --replay",
            option="--replay",
        )
    content = merged(base, read_recipe(resource("recipes", "base", OVERLAY)))
    config = diclip_config(card.network, f"model {parent.name}")
    network: dict[str, Any] = {"name": METHOD}
    goes_on = config.adapter is not None and config.head is not None
    if goes_on:
        network |= {"adapter": config.adapter, "head": config.head}
        objective = {**objective, "answer": config.answer}
    preparation = card.preparation.model_dump(mode="json")
    size = preparation["size"] or [config.side, config.side]
    text = ("modality", "licence", "data", "intended_use", "limits")
    told = card.model_dump(mode="json")
    given = {"model": str(parent.path.resolve()), "clip": None, "diffusion": None}
    own: dict[str, Any] = {"words": None, "options": {}, "variant": "paper"}
    return {
        **content,
        "method": METHOD,
        "network": network,
        "start": str(parent.path.resolve()) if goes_on else None,
        "preparation": {**preparation, "size": size},
        "patch": size,
        "sampling": told["sampling"],
        "localisation": None,
        "labels": {},
        "objective": {**objective, **given, **own},
        "card": {"id": card.id, "title": card.title} | {key: told[key] for key in text},
        "seed": job.seed,
    }
