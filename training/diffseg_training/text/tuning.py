"""DiCLIP's adapter and head learn from a project, for the gate of a fine-tuning.

Slices that persons reviewed teach what they drew; of others, what is said of them, and
the model's own masks under it. A model without a cache is given one of both.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from diffseg.domain import ModelCard
from diffseg.domain.diclip import BESIDE, diclip_config
from diffseg.models import ModelFolder, load_weights
from diffseg.models.folder import read_folder
from diffseg.progress import Progress, Work
from diffseg.segmenters.text.cache_looking import CacheSlice
from diffseg_training.finetuning.begun import Begun
from diffseg_training.finetuning.blending import Blend, iter_blend
from diffseg_training.finetuning.job import FinetuneJob
from diffseg_training.finetuning.keeping import MODEL, child_card
from diffseg_training.labelled import LabelledExample, prepare_labelled
from diffseg_training.objectives import Scoring, make_loss
from diffseg_training.recipe import Recipe
from diffseg_training.settings.diclip import Settings
from diffseg_training.sitting import TrainingResult
from diffseg_training.text.cache_slices import (
    chosen_slices,
    reviewed_slices,
    some_of_each,
)
from diffseg_training.text.taught_model import (
    filled_recipe,
    iter_taught,
    without_learnt,
)
from diffseg_training.text.trained_model import Making, put_together
from diffseg_training.trainer import iter_train

_TAUGHT = "taught"


def iter_tuned(
    begun: Begun[FinetuneJob], facts: Mapping[str, Any], device: str
) -> Work[tuple[TrainingResult, ModelFolder]]:
    """Train adapter and head of a run's model, and write the child into its folder.

    Parameters
    ----------
    facts : mapping
        What the child's card says of the run.

    Raises
    ------
    UserError
        A backbone is gone, or a class has no slice that a cache could be built of.
    """
    recipe, folder = begun.recipe, begun.folder
    config = recipe.objective
    assert isinstance(config, Settings)
    train, val = yield from _examples(begun)
    teacher = yield from _teacher(begun, config, train, device)
    filled = filled_recipe(recipe, config, teacher, train[0], folder, device)
    result = yield from iter_train(
        filled,
        train,
        None,
        folder,
        device=device,
        resume=(folder / "state" / "state.json").is_file(),
        held_out=val,
    )
    blend = yield from _blended(begun, filled, result, val)
    child = _written(begun, filled, teacher, blend, {**facts, "blend": blend.share})
    # Features tell of images and take room; whoever trains again looks again.
    shutil.rmtree(folder / "features", ignore_errors=True)
    return blend.result, child


def _examples(
    begun: Begun[FinetuneJob],
) -> Work[tuple[list[LabelledExample], list[LabelledExample]]]:
    """Images of both sides with what is known of them; by ids, which hold no names."""
    recipe, materials = begun.recipe, begun.materials
    memory, found = recipe.loading.memory_gb * 1e9, []
    for split in ("train", "val"):
        examples = yield from prepare_labelled(
            materials.dataset.split(split),
            materials.dataset,
            recipe.preparation,
            recipe.labels,
            cache=begun.folder / "cache",
            memory=memory,
            drawn=True,
        )
        memory -= sum(one.bytes_held for one in examples)
        ids = materials.ids
        found.append([replace(one, case=ids[one.case]) for one in examples])
    return found[0], found[1]


def _teacher(
    begun: Begun[FinetuneJob],
    config: Settings,
    train: Sequence[LabelledExample],
    device: str,
) -> Work[ModelFolder]:
    """The model whose masks teach; made anew unless an earlier sitting has it."""
    folder = begun.folder / _TAUGHT
    if (folder / "model" / "card.json").is_file():  # it was renamed when it was whole
        return read_folder(folder / "model")
    yield Progress("cache", 0, 1, "the model that teaches")
    shutil.rmtree(folder, ignore_errors=True)  # of a sitting that was interrupted
    plain = without_learnt(begun.parent, folder / "plain")
    labelled, corrected = slices_for_cache(plain.card, train, config.cache.images)
    return (
        yield from iter_taught(
            plain, config.cache, labelled, corrected,
            out=folder / "model", id=plain.card.id, seed=begun.job.seed, device=device,
        )
    )  # fmt: skip


def slices_for_cache(
    card: ModelCard, train: Sequence[LabelledExample], most: int | None
) -> tuple[list[CacheSlice], list[CacheSlice]]:
    """Slices for a cache, by their labels and by what was drawn; none is in both.

    Parameters
    ----------
    most : int, optional
        Of each class, and of those that show none, from either side; None: all.
    """
    reviewed: list[CacheSlice] = []
    for one in train:
        assert one.classes is not None
        reviewed += reviewed_slices(
            card, one.case, one.image.numpy(), one.classes.numpy()
        )
    drawn = {one.origin.id for one in reviewed}
    said = [
        one
        for one in chosen_slices(card, train, most)
        # An image of one slice is told without the slice's number.
        if not {one.origin.id, f"{one.origin.id}:0"} & drawn
    ]
    return said, some_of_each(reviewed, len(card.labels), most)


def _blended(
    begun: Begun[FinetuneJob],
    recipe: Recipe,
    result: TrainingResult,
    held_out: Sequence[LabelledExample],
) -> Work[Blend]:
    """Weights between the parent's and the trained ones, where it had such."""
    assert recipe.finetuning is not None
    if recipe.start is None:
        return Blend(result, 1.0)
    loss = make_loss(recipe, result.network)
    assert isinstance(loss, Scoring)

    def scores(network: nn.Module) -> Mapping[str, float]:
        return loss.scores(network.eval(), held_out, recipe)

    parent, shares = load_weights(begun.parent), recipe.finetuning.blends
    return (yield from iter_blend(parent, result, scores, shares))


def _written(
    begun: Begun[FinetuneJob],
    recipe: Recipe,
    teacher: ModelFolder,
    blend: Blend,
    facts: Mapping[str, Any],
) -> ModelFolder:
    """The child's folder, with the parent's words and options."""
    parent = begun.parent
    config = diclip_config(parent.card.network, f"model {parent.name}")
    places = [one.at for one in (config.clip, config.diffusion) if one is not None]
    making = Making({}, any(at.startswith(BESIDE) for at in places))
    child = child_card(parent, blend.result, facts)

    def carded(made: ModelCard) -> ModelCard:
        own = ("network", "preparation", "sha256", "folders")
        return child.model_copy(update={name: getattr(made, name) for name in own})

    target = begun.folder / MODEL
    return put_together(recipe, teacher, blend.result, target, making, carded)
