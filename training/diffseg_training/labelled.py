"""Examples with image-level labels: images are prepared, and no mask is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffseg.domain import Preparation, Region
from diffseg.domain.dicom_labels import labels_of_dicom
from diffseg.domain.label_set import LabelSet, learnable
from diffseg.domain.mask_labels import labels_of_mask
from diffseg.domain.slice_labels import UNKNOWN, SliceLabels
from diffseg.domain.slice_ranges import RangeTable, read_ranges
from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from diffseg.segmenters.preparation import Frame, frame_of, prepare
from diffseg.volume import Volume
from diffseg_training.augment import example
from diffseg_training.cache import Cache
from diffseg_training.dataset import Case, Dataset, read_image, read_reference
from diffseg_training.recipe_labels import Labelling
from diffseg_training.training_set import classes_in


@dataclass(frozen=True, slots=True, eq=False)
class LabelledExample:
    """A prepared image and what is known of each of its slices.

    Parameters
    ----------
    case, group : str
    image : (C, Z, Y, X) float32 Tensor
    labels : SliceLabels
        Of the prepared slices, in their order.
    context : int
        Neighbours of a slice that are shown as channels, on each side.
    classes : (Z, Y, X) uint8 Tensor, optional
        What a person drew, where it may be learnt from; voxels that nobody reviewed
        are marked as `diffseg_training.known` says.
    """

    case: str
    group: str
    image: Tensor
    labels: SliceLabels
    context: int = 0
    dims: int = 2
    classes: Tensor | None = None

    @property
    def bytes_held(self) -> int:
        """Memory that the example takes for good."""
        return 0 if isinstance(self.image.numpy(), np.memmap) else self.image.nbytes

    @property
    def partial(self) -> bool:
        """Whether some of its voxels were not reviewed: there is nothing to review."""
        return False

    @property
    def planes(self) -> int:
        """Slices of the image."""
        return self.image.shape[1]

    @property
    def states(self) -> Tensor:
        """States (Z, K) int64 of all slices."""
        return torch.from_numpy(self.labels.states.astype(np.int64))

    def plane(self, index: int) -> tuple[Tensor, Tensor]:
        """One slice, its neighbours as channels (C, Y, X), and its states (K,)."""
        last = self.planes - 1
        around = range(index - self.context, index + self.context + 1)
        # Offsets outermost, channels within: as a segmenter stacks them.
        slices = [self.image[:, min(max(at, 0), last)] for at in around]
        return torch.cat(slices), self.states[index]

    def arrays(self, source: torch.Generator) -> tuple[Tensor, Tensor]:
        """Any slice of which something is known, and its states."""
        known = torch.nonzero((self.states != UNKNOWN).any(1))[:, 0]
        if not len(known):
            known = torch.arange(self.planes)
        at = int(torch.randint(len(known), (), generator=source))
        return self.plane(int(known[at]))

    def looked_at(
        self, source: torch.Generator, patch: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """A slice (C, *patch), not changed but cut, and its states (K,)."""
        image, states = self.arrays(source)
        return centred(image, patch), states


def centred(image: Tensor, patch: Sequence[int]) -> Tensor:
    """An image (C, Y, X) cut or padded about its middle."""
    nothing = torch.zeros(image.shape[1:], dtype=torch.uint8)
    return example(image, nothing, patch, None, torch.Generator())[0]


def prepare_labelled(
    cases: Sequence[Case],
    dataset: Dataset,
    preparation: Preparation,
    labelling: Labelling,
    *,
    cache: Path | None = None,
    memory: float = float("inf"),
    drawn: bool = False,
) -> Work[list[LabelledExample]]:
    """Read and prepare images, and what is known of their slices.

    A mask is read where `labelling` asks for labels from masks, or `drawn` is true,
    and nowhere else.

    Parameters
    ----------
    cache : Path, optional
        Folder that holds images beyond `memory`.
    memory : float
        Bytes of prepared images to keep in memory.
    drawn : bool
        Whether what persons drew comes with the images.

    Raises
    ------
    UserError
        An image cannot be read or has other channels than the first, or its labels
        cannot be had.
    """
    if preparation.dims != 2:
        raise UserError(
            "image-level labels are of slices: set preparation.dims to 2 to learn "
            "from them"
        )
    table = None
    if labelling.ranges is not None:
        table = read_ranges(labelling.ranges)
        table.check_cases([case.case for case in dataset.cases])
    examples: list[LabelledExample] = []
    stored, held = None if cache is None else Cache(cache), 0
    for done, case in enumerate(cases, start=1):
        volume = read_image(case)
        labels = case_labels(case, volume, dataset, labelling, table)
        whole = Region(*((0, n) for n in volume.shape))
        frame = frame_of(volume.grid, whole, preparation)
        image = prepare(volume.data, frame, preparation.intensity, name=case.case).image
        held += image.nbytes
        if stored is not None and held > memory:
            image = _kept(stored, case, preparation, image)
        turned = _turned(labels, frame, case)
        made = LabelledExample(
            case.case, case.group, torch.from_numpy(image), turned, preparation.context
        )
        if drawn:
            classes = torch.from_numpy(classes_in(case, dataset, volume, frame))
            made = replace(made, classes=classes)
        examples.append(made)
        _check_channels(examples)
        yield Progress("prepare", done, len(cases))
    return examples


def case_labels(
    case: Case,
    volume: Volume,
    dataset: Dataset,
    labelling: Labelling,
    table: RangeTable | None = None,
) -> SliceLabels:
    """Labels of a case's slices, as the file has them, from where a recipe says.

    Parameters
    ----------
    table : RangeTable, optional
        Of the source ``ranges``, read already.

    Raises
    ------
    UserError
        They are not there, or cannot be understood.
    """
    names, planes = dataset.labels.names, volume.shape[0]
    if labelling.source == "manifest" and case.case in dataset.slice_labels:
        return dataset.slice_labels[case.case]
    if labelling.source == "ranges":
        assert labelling.ranges is not None
        found = table or read_ranges(labelling.ranges)
        return found.of_case(case.case, names, planes)
    if labelling.source == "dicom":
        assert labelling.dicom is not None
        return labels_of_dicom(volume, names, labelling.dicom)
    if labelling.source == "mask":
        mask = read_reference(case, volume, dataset.labels)
        return labels_of_mask(mask, dataset.labels, labelling.least_share)
    return SliceLabels.of_image(case.labels, names, planes, "manifest")


def label_set(
    examples: Sequence[LabelledExample], where: str, *, absent: bool = True
) -> LabelSet:
    """Labels of examples, from which every structure can be told.

    Parameters
    ----------
    absent : bool
        Whether slices without a structure are needed; see `learnable`.

    Raises
    ------
    UserError
        Nothing can be learnt from them; see `learnable`.
    """
    if not examples:
        raise UserError(f"{where} has no case to learn from")
    names = examples[0].labels.names
    unused = [one.case for one in examples if not (one.labels.states > 0).any()]
    warnings: tuple[str, ...] = ()
    if unused:
        few = ", ".join(unused[:3]) + (", ..." if len(unused) > 3 else "")
        warnings = (
            f"{len(unused)} of {len(examples)} cases are not learnt from, as nothing "
            f"is known of any slice: {few}",
        )
    cases = {one.case: one.labels for one in examples}
    return learnable(LabelSet(names, cases, warnings), where, absent=absent)


def _turned(labels: SliceLabels, frame: Frame, case: Case) -> SliceLabels:
    """Labels of the prepared slices; `UserError` where these cut across the file's."""
    # A view of each voxel's plane, of which only the corners are looked at.
    plane = np.arange(labels.planes)[:, None, None]
    shape = [stop - start for start, stop in frame.region.ranges]
    turned: NDArray[np.intp] = frame.turn.apply(np.broadcast_to(plane, shape))
    order = turned[:, 0, 0]
    corners = (turned[:, -1, -1], turned[:, 0, -1], turned[:, -1, 0])
    if any((corner != order).any() for corner in corners):
        raise UserError(
            f"case {case.case}: the network's slices cut across those of the file, "
            "which the labels are of; leave out preparation.orientation"
        )
    return SliceLabels(labels.names, labels.states[order], labels.origin, labels.whole)


def _kept(
    stored: Cache, case: Case, preparation: Preparation, image: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The image, written to disk and mapped."""
    files = [(str(path.resolve()), path.stat().st_mtime_ns) for path in case.images]
    told = ["labelled", case.case, files, preparation.model_dump()]
    text = json.dumps(told, sort_keys=True, default=str)
    key = hashlib.sha256(text.encode()).hexdigest()[:20]
    stored.write(key, image=image)
    return stored.read(key, "image")


def _check_channels(examples: Sequence[LabelledExample]) -> None:
    first, last = examples[0], examples[-1]
    if len(first.image) != len(last.image):
        raise UserError(
            f"case {last.case} has {len(last.image)} channels where {first.case} has "
            f"{len(first.image)}: give every case the same"
        )
