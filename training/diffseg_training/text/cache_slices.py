"""Slices for a cache: of a data set, by its labels, and of a project, by masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import ModelCard
from diffseg.domain.diclip import diclip_config
from diffseg.domain.slice_labels import ABSENT, PRESENT
from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from diffseg.project import store
from diffseg.segmenters.text.cache import CachedImage
from diffseg.segmenters.text.cache_looking import CacheSlice
from diffseg.segmenters.text.seen import channels_shown
from diffseg_training.dataset import load_dataset
from diffseg_training.evenly import evenly
from diffseg_training.finetuning.begun import earlier_runs, held_out_before
from diffseg_training.finetuning.gathering import candidates
from diffseg_training.finetuning.materials import write_materials
from diffseg_training.known import UNREVIEWED
from diffseg_training.labelled import LabelledExample, prepare_labelled
from diffseg_training.recipe_labels import Labelling
from diffseg_training.training_set import prepare_case


def labelled_slices(
    card: ModelCard, data: Path, split: str, most: int | None
) -> Work[list[CacheSlice]]:
    """Slices of a data set of which something is known; no mask is read.

    Parameters
    ----------
    card : ModelCard
        Of the model whose cache it is.
    data : Path
        A data set, or a project.
    split : str
    most : int, optional
        See `chosen_slices`.

    Raises
    ------
    UserError
        The data set cannot be used, or lacks a class of the model.
    """
    dataset = load_dataset(data, masks=False)
    cases = dataset.split(split)
    examples = yield from prepare_labelled(
        cases, dataset, card.preparation, Labelling()
    )
    return chosen_slices(card, examples, most)


def chosen_slices(
    card: ModelCard, examples: Sequence[LabelledExample], most: int | None
) -> list[CacheSlice]:
    """Slices in which a class is present, and some that are said to show none.

    Parameters
    ----------
    card : ModelCard
    examples : sequence of LabelledExample
        Prepared as the card says.
    most : int, optional
        Of each class, and of those without any, evenly over them; None: all.

    Raises
    ------
    UserError
        The labels do not speak of a class of the model.
    """
    named, names = examples[0].labels.names, card.labels.names
    lacking = [name for name in names if name not in named]
    if lacking:
        raise UserError(
            f"the data set says nothing of {lacking[0]!r}, a class of model {card.id}; "
            f"its classes are {', '.join(named)}"
        )
    columns = [named.index(name) for name in names]
    places = [(one, z) for one in examples for z in range(one.planes)]
    states = np.array([one.labels.states[z][columns] for one, z in places], np.uint8)
    groups = [states[:, index] == PRESENT for index in range(len(names))]
    groups.append((states == ABSENT).all(1))
    there = [np.flatnonzero(group).tolist() for group in groups]
    wanted = sorted({place for group in there for place in evenly(group, most)})
    shown = diclip_config(card.network, f"model {card.id}").shown
    found = []
    for place in wanted:
        one, z = places[place]
        image = one.image[:, z].numpy()
        name = one.case if one.planes == 1 else f"{one.case}:{z}"
        found.append(
            CacheSlice(
                channels_shown(image, shown, card.preparation.channels),
                CachedImage(name, "labelled"),
                states=states[place],
            )
        )
    return found


def corrected_slices(
    card: ModelCard, project: Path, patient: str, most: int | None
) -> Work[tuple[list[CacheSlice], int]]:
    """Slices of a project's cases with what a person drew, corrected or accepted.

    What was not reviewed counts for nothing. Cases that a fine-tuning held out are left
    out: they are to judge models, and a cache must not know them.

    Parameters
    ----------
    card : ModelCard
    project : Path
    patient : str
        Regular expression whose first group in a case's name is the patient.
    most : int, optional
        Slices of each class, and of those without any.

    Returns
    -------
    slices : list of CacheSlice
        Their ids are those of case and slice, and hold no name.
    held_out : int
        Cases that were left out.

    Raises
    ------
    UserError
        It is no project, or nothing of it was reviewed.
    """
    with store.open_project(project) as opened:
        known = candidates(opened, patient)
        held = held_out_before(earlier_runs(opened))
        learners = [one for one in known if one.case.id not in held]
        if not learners:
            raise UserError(
                f"project {project} has no case that was corrected or accepted"
                f"{' and is not held out' if known else ''}: review some first"
            )
        with TemporaryDirectory() as aside:
            materials = yield from write_materials(
                opened, learners, (), card.labels, Path(aside)
            )
            found: list[CacheSlice] = []
            cases = materials.dataset.cases
            for done, case in enumerate(cases, start=1):
                image, classes = prepare_case(case, materials.dataset, card.preparation)
                found += reviewed_slices(card, materials.ids[case.case], image, classes)
                yield Progress("prepare", done, len(cases))
    return some_of_each(found, len(card.labels), most), len(known) - len(learners)


def reviewed_slices(
    card: ModelCard,
    id: str,
    image: NDArray[np.float32],
    classes: NDArray[np.uint8],
) -> Iterator[CacheSlice]:
    """Slices of a case of which some pixels were reviewed.

    Parameters
    ----------
    id : str
        Of the case, in the cache.
    image : (C, Z, Y, X) float32 ndarray
    classes : (Z, Y, X) uint8 ndarray
        Marked where nobody reviewed; see `diffseg_training.known`.
    """
    shown = diclip_config(card.network, f"model {card.id}").shown
    for z, plane in enumerate(classes):
        known = plane < UNREVIEWED
        if known.any():
            yield CacheSlice(
                channels_shown(image[:, z], shown, card.preparation.channels),
                CachedImage(f"{id}:{z}", "correction"),
                classes=plane % UNREVIEWED,
                known=None if known.all() else known,
            )


def some_of_each(
    slices: list[CacheSlice], classes: int, most: int | None
) -> list[CacheSlice]:
    """Of each class so many slices at most, and as many that show none."""
    there = np.zeros((len(slices), classes + 1), bool)
    for row, one in zip(there, slices, strict=True):
        assert one.classes is not None
        inside = one.classes if one.known is None else one.classes[one.known]
        row[:] = [(inside == index).any() for index in range(1, classes + 1)] + [False]
        row[-1] = not row.any()
    groups = [np.flatnonzero(group).tolist() for group in there.T]
    chosen = {place for group in groups for place in evenly(group, most)}
    return [slices[place] for place in sorted(chosen)]
