"""A supervised segmenter taught by weak masks alone, beside one taught by true ones.

    python docs/measuring/weak_to_strong.py 0 --data DIR --out weak --steps 732

Takes up where `weak_methods.py fold` ended, with the fold's chain: the patients of
train become the cases of a project, each a stack with what its slices show; the chain's
model proposes for them, and a segmenter learns from the surest of its masks, unjudged,
as by `diffseg project propose` and `diffseg project self-train --no-judge`. No mask of
a patient who teaches is read: which weights are kept is chosen on weak masks, too. What
the segmenter draws of the fold's test, told nothing of a slice, is written as
``student.json``, which `weak_methods.py show` lists with the others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from weak_drawn import stacks
from weak_folds import FOLDS, once, seen_alike
from weak_methods import of_model
from weak_sources import RECIPE

from diffseg.domain import Presence
from diffseg.errors import UserError
from diffseg.models import add_model, find_model
from diffseg.progress import run
from diffseg.project import store
from diffseg.project.review.proposing import Wish, propose_cases
from diffseg.segmenters import load_segmenter
from diffseg_training.dataset import Case, Dataset, load_dataset
from diffseg_training.recipe import load_recipe
from diffseg_training.selftraining.job import SelfTrainJob
from diffseg_training.selftraining.run import iter_self_train

WEAK, WHO = "weak-teacher", "measured"


def main(
    number: Annotated[int, typer.Argument(min=0, max=FOLDS - 1)],
    data: Annotated[Path, typer.Option(help="Folder with the manifest of slices.")],
    out: Annotated[Path, typer.Option(help="Of weak_methods.py.")],
    steps: Annotated[int, typer.Option(help="Of the segmenter.")],
    name: Annotated[str, typer.Option(help="Of what is written.")] = "student",
    recipe: Annotated[str, typer.Option(help="Of the segmenter.")] = "lgg-unet",
    members: Annotated[int, typer.Option(help="Of a weak proposal.")] = 2,
    keep: Annotated[float | None, typer.Option(help="Share of the masks.")] = None,
    limit: Annotated[float | None, typer.Option(help="Of the uncertainty.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Of the segmenter's recipe.")
    ] = None,
) -> None:
    """Propose for the patients of train, teach a segmenter, draw test."""
    home = out / f"fold{number}"
    os.environ["DIFFSEG_HOME"] = str((home / "cohort-home").resolve())
    dataset = load_dataset(home / "manifest.csv")
    weak = _added(home / "cldf" / "model")
    folder = home / "cohort"
    if not (folder / "whole").is_file():
        _gathered(folder, home / "stacks", dataset)
    proposed(folder, weak, members)
    job = SelfTrainJob(
        project=str(folder),
        model=weak,
        annotator=WHO,
        recipe=recipe,
        settings=(
            *seen_alike(load_recipe(RECIPE)),
            f"length.steps={steps}",
            *(set_ or ()),
        ),
        keep=keep,
        limit=limit,
        id=f"{name}-{number}",
        judged=False,
        device="cpu",
    )
    once(home / f"{name}.json", partial(_student, job, dataset))


def _student(job: SelfTrainJob, dataset: Dataset) -> dict[str, Any]:
    done = run(iter_self_train(job))
    print(f"learnt from {done.weak_cases} cases, {done.left_out} left out")
    found = of_model(done.path, dataset, 1, whole=False)
    return {**found, "method": job.id, "weak_cases": done.weak_cases}


def _added(model: Path) -> str:
    """The chain's model among the models, once."""
    try:
        return find_model(f"{WEAK}@1.0.0").name
    except UserError:
        return add_model(model, WEAK).name


def _gathered(folder: Path, stacks_: Path, dataset: Dataset) -> None:
    """A project with a stack for each patient of train, and what its slices show."""
    with store.create_project(folder, labels=dataset.labels, annotator=WHO) as project:
        for stack in stacks(dataset.split("train"), whole=True):
            place = stacks_ / stack[0].group
            place.mkdir(parents=True, exist_ok=True)
            for index, case in enumerate(stack):
                link = place / f"{index:03d}{case.images[0].suffix}"
                link.unlink(missing_ok=True)
                link.symlink_to(case.images[0])
            made = store.add_case(project, place, annotator=WHO)
            _say(project, made.id, stack, dataset.labels.names[0])
    (folder / "whole").touch()


def _say(project: store.Project, id: str, stack: Sequence[Case], name: str) -> None:
    """What the slices show, by ranges."""
    first = 0
    for state, run_ in groupby(case.labels[name] for case in stack):
        stop = first + len(list(run_))
        if state is not Presence.UNKNOWN:
            store.set_labels(
                project, id, {name: state}, annotator=WHO, slices=(first, stop)
            )
        first = stop


def proposed(folder: Path, weak: str, members: int) -> None:
    """Weak masks of every case; those that are there are not made again."""
    segmenter = load_segmenter(weak, device="cpu")
    with store.open_project(folder) as project:
        lines = store.list_cases(project, limit=None).lines
        cases = [store.case_of(project, line.id) for line in lines]
        wish = Wish(members=members, steps=6)
        told = run(propose_cases(project, segmenter, cases, annotator=WHO, wish=wish))
        print(f"{len(told.made)} proposed, {len(told.skipped)} there, {told.refused}")


if __name__ == "__main__":
    typer.run(main)
