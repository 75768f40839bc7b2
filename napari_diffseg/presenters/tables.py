"""Label tables: what is in use, and how two of them become one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import ImageLabels, Label, LabelTable, ModelCard, Presence
from diffseg.domain.slice_labels import SliceLabels
from diffseg.errors import UserError
from napari_diffseg.session import Case

# Colours that stay apart for colour-blind eyes (Okabe and Ito 2008).
PALETTE = (
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)


def counts_of(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(256,) voxels of each value in a (Z, Y, X) mask."""
    counts = np.zeros(256, np.int64)
    for plane in values:  # a plane at a time: bincount copies what it counts
        counts += np.bincount(plane.ravel(), minlength=256)
    return counts


def used_values(values: NDArray[np.uint8]) -> tuple[int, ...]:
    """Values besides 0 that occur in a mask, in ascending order."""
    return tuple(int(value) for value in np.flatnonzero(counts_of(values)[1:]) + 1)


def find_label(table: LabelTable, value: int) -> Label | None:
    """The label of that value, or None."""
    return next((label for label in table.each() if label.value == value), None)


def table_for(case: Case, card: ModelCard) -> LabelTable:
    """The table of a case that a model is to work on.

    The card's, as long as nothing is drawn. Structures that are in the mask stay;
    where the table came from this version of the model, the annotator's names for
    them do, too.

    Raises
    ------
    UserError
        The mask holds a structure that the model calls, or numbers, otherwise.
    """
    used = used_values(case.annotation.values)
    if case.entry is not None and case.entry.fixed:  # what the project has stays
        used = tuple(sorted({*used, *case.table.values}))
    if _same_model(case, card):
        return case.table
    if not used:
        return card.labels
    return merged(case.table, used, card)


def key_of(card: ModelCard) -> str:
    """``id@version`` of a model: two versions may number structures otherwise."""
    return f"{card.id}@{card.version}"


def redefined(old: LabelTable, new: LabelTable) -> bool:
    """Whether a value of the old table means something else in the new one."""
    names = {label.value: label.name for label in new.each()}
    return any(names.get(label.value) != label.name for label in old.each())


def _same_model(case: Case, card: ModelCard) -> bool:
    return case.table_model == key_of(card) and case.model_table == card.labels


def merged(table: LabelTable, used: tuple[int, ...], card: ModelCard) -> LabelTable:
    """The card's table with those structures of `table` that are in use.

    Raises
    ------
    UserError
        A name or a value in use means something else to the model.
    """
    mine = [label for label in table.each() if label.value in used]
    theirs = {label.value: label for label in card.labels.each()}
    names = {label.name: label.value for label in card.labels.each()}
    for label in mine:
        other = theirs.get(label.value)
        if other is not None and other.name != label.name:
            raise UserError(
                f"the mask holds {label.name!r} as label {label.value}, which model "
                f"{card.id} calls {other.name!r}: rename it if it is the same "
                "structure, or choose another model"
            )
        if names.get(label.name, label.value) != label.value:
            raise UserError(
                f"the mask holds {label.name!r} as label {label.value}, which model "
                f"{card.id} numbers {names[label.name]}: rename it, or choose "
                "another model"
            )
    own = {label.value: label for label in mine}
    kept = tuple(own.get(label.value, label) for label in card.labels.each())
    return LabelTable(labels=kept + tuple(x for x in mine if x.value not in theirs))


def renamed(table: LabelTable, value: int, name: str) -> LabelTable:
    """The table with another name for a structure.

    Raises
    ------
    UserError
        The name is empty or another structure's.
    """
    name = name.strip()
    if not name:
        raise UserError("a structure needs a name; give at least one letter")
    if any(x.name == name and x.value != value for x in table.each()):
        raise UserError(f"another structure is called {name!r}; give another name")
    return _changed(table, value, name=name)


def recolored(table: LabelTable, value: int, color: str) -> LabelTable:
    """The table with another colour, ``#rrggbb``, for a structure."""
    return _changed(table, value, color=color)


def extended(table: LabelTable, name: str, value: int | None = None) -> LabelTable:
    """The table with one more structure, on the first free value.

    Raises
    ------
    UserError
        The name is empty or taken, or all 255 values are.
    """
    name = name.strip()
    free = [one for one in range(1, 256) if one not in table.values]
    if value is None and not free:
        raise UserError("a mask holds at most 255 structures; rename one instead")
    if not name:
        raise UserError("a structure needs a name; give at least one letter")
    if name in table.names:
        raise UserError(f"another structure is called {name!r}; give another name")
    number = free[0] if value is None else value
    color = PALETTE[(number - 1) % len(PALETTE)]
    label = Label(name=name, value=number, color=color, code=None)
    return LabelTable(labels=(*table.labels, label))


def with_values(table: LabelTable, values: tuple[int, ...]) -> LabelTable:
    """The table with a row for each value, called "structure N" where it is new."""
    for value in values:
        if value not in table.values:
            name, number = f"structure {value}", 2
            while name in table.names:
                name, number = f"structure {value} ({number})", number + 1
            table = extended(table, name, value)
    return table


def labels_for(case: Case, card: ModelCard) -> ImageLabels:
    """Image-level labels in the model's own names; unknown ones left out.

    Raises
    ------
    UserError
        The model does not use image-level labels, and some are given.
    """
    said = {k: v for k, v in case.labels.items() if v is not Presence.UNKNOWN}
    if case.entry is not None and "labels" not in card.capabilities:
        return ImageLabels()  # what is absent is taken out of the answer
    if said and "labels" not in card.capabilities:
        raise UserError(
            f"model {card.id} does not use image-level labels: set them to unknown, "
            "or choose another model"
        )
    known = _known_names(case, card)
    return ImageLabels({known[name]: said[name] for name in said if name in known})


def slice_labels_for(case: Case, card: ModelCard) -> SliceLabels | None:
    """What a project says of slices, in the model's own names; None if nothing."""
    entry = case.entry
    if entry is None or "slice_labels" not in card.capabilities:
        return None
    known, names = _known_names(case, card), card.labels.names
    states = np.zeros((case.volume.shape[0], len(names)), np.uint8)
    for name, said in entry.said.items():
        if name in known:
            states[:, names.index(known[name])] = said.slices
    return SliceLabels(names, states, "project") if states.any() else None


def _known_names(case: Case, card: ModelCard) -> dict[str, str]:
    """What the model calls those of a case's structures that it knows."""
    known = {label.value: label.name for label in card.labels.each()}
    rows = ((label.name, known.get(label.value)) for label in case.table.each())
    return {name: theirs for name, theirs in rows if theirs is not None}


def without_absent(case: Case, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A (Z, Y, X) proposal without what was said to be absent from its planes."""
    entry = case.entry
    if entry is None:
        return mask
    values = {label.name: label.value for label in case.table.each()}
    own: NDArray[np.uint8] | None = None
    for name, said in entry.said.items():
        planes = np.flatnonzero(said.slices == 2)
        if name not in values or not len(planes):
            continue
        if own is None:
            own = np.array(mask)
        part = own[planes]
        part[part == values[name]] = 0
        own[planes] = part
    return mask if own is None else own


def _changed(table: LabelTable, value: int, **what: str) -> LabelTable:
    rows = (
        Label.model_validate({**x.model_dump(), **what}) if x.value == value else x
        for x in table.each()
    )
    return LabelTable(labels=tuple(rows))
