"""A self-training's beginning: its masks, its recipe and its card, or one line why not.

All that can be refused is refused here, before anything is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

from diffseg.domain import ModelCard
from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg.progress import Work
from diffseg.project import store
from diffseg_training.finetuning.begun import (
    Begun,
    begun_before,
    note_begun,
    parent_named,
)
from diffseg_training.finetuning.gathering import Candidate
from diffseg_training.finetuning.materials import (
    Materials,
    read_materials,
    write_materials,
)
from diffseg_training.finetuning.records import note_the_dead, run_folder, swept
from diffseg_training.recipe import Recipe
from diffseg_training.selftraining.carding import student_card
from diffseg_training.selftraining.gathering import teacher
from diffseg_training.selftraining.job import SelfTrainJob
from diffseg_training.selftraining.picking import iter_pick
from diffseg_training.selftraining.recipe import read_run_recipe, write_recipe
from diffseg_training.validation import check_network


def begin(job: SelfTrainJob) -> Work[Begun[SelfTrainJob]]:
    """Begin a run, or take up the one that was broken off.

    Raises
    ------
    UserError
        Project, model, proposals or recipe cannot be used; nothing is left of it then.
    """
    with store.open_project(job.project) as project:
        if job.resume:
            return _taken_up(project, job)
        return (yield from _begun(project, job))


def _begun(project: store.Project, job: SelfTrainJob) -> Work[Begun[SelfTrainJob]]:
    parent = parent_named(job.model)
    note_the_dead(project)
    run_id = store.new_run_id()
    folder = run_folder(project, run_id)
    try:
        recipe = write_recipe(job, parent.card, folder)
        card = student_card(job, recipe, parent.card)
        _check_network(recipe, card)
        options = recipe.self_training
        assert options is not None
        pick = yield from iter_pick(project, job, parent, options)
        _check_images((*pick.learners, *pick.judges), recipe)
        materials = yield from write_materials(
            project,
            pick.learners,
            pick.judges,
            card.labels,
            folder,
            teach=teacher(pick.weak, options.limit),
            told={"left_out": pick.left_out, "lacking": pick.lacking},
            nothing=_nothing(options.limit),
        )
        _check_whole(recipe, materials)
        judged = job.judged
        note_begun(project, job, parent.card, run_id, materials, judged=judged)
    except BaseException:
        swept(folder)
        raise
    home = project.manifest.id
    return Begun(job, home, run_id, folder, parent, card, recipe, materials)


def _taken_up(project: store.Project, job: SelfTrainJob) -> Begun[SelfTrainJob]:
    found, mine, parent = begun_before(project, job)
    folder = run_folder(project, found.id)
    recipe = read_run_recipe(folder)
    card = student_card(mine, recipe, parent.card)
    materials = read_materials(folder, card.labels)
    store.resume_run(project, found.id, annotator=job.annotator)
    home = project.manifest.id
    return Begun(mine, home, found.id, folder, parent, card, recipe, materials)


def _check_network(recipe: Recipe, card: ModelCard) -> None:
    """Refuse a network that cannot tell the weak model's structures apart."""
    config = dict(recipe.network)
    network = build_network(config.pop("name"), **config)
    try:
        check_network(network, card, "cpu")
    except UserError as err:
        count = len(card.labels)
        raise UserError(
            f"recipe {recipe.name} does not fit the {count} structure"
            f"{'s' * (count != 1)} of the weak model: {err}"
        ) from None


def _check_images(cases: Sequence[Candidate], recipe: Recipe) -> None:
    """Refuse images that a recipe's network does not take, by the first that it is."""
    preparation = recipe.preparation
    flat = next((one.case for one in cases if min(one.case.grid.shape) == 1), None)
    if preparation.dims == 3 and flat is not None:
        raise UserError(
            f"recipe {recipe.name} is for volumes, and case {flat.name!r} is one slice "
            "thick: choose a recipe of a network over 2 dimensions"
        )
    first = cases[0].case
    channels = store.open_source(first).channels
    if not preparation.takes(channels):
        wanted = len(preparation.channels)
        raise UserError(
            f"recipe {recipe.name} is for images of {wanted} channel"
            f"{'s' * (wanted != 1)}, and case {first.name!r} has {channels}: choose "
            "another recipe"
        )


def _check_whole(recipe: Recipe, materials: Materials) -> None:
    """Refuse voxels without loss where the objective cannot leave them out."""
    if recipe.objective.takes_unreviewed:
        return
    if any(one.reviewed is not None for one in materials.dataset.split("train")):
        raise UserError(
            f"objective {recipe.objective.name} of recipe {recipe.name} learns from "
            "whole masks alone: give --limit 1, with which every voxel counts, and "
            "finish the reviews that were begun, or choose another recipe"
        )


def _nothing(limit: float) -> str:
    return (
        f"no voxel is as sure as an uncertainty of {limit:g}, and there is nothing to "
        "learn from: raise --limit"
    )
