"""A project as one window works with it: who draws, and what is kept of it."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable, Presence, Proposal
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg.project import review, store
from diffseg.project.entries import (
    Advised,
    CaseState,
    Kept,
    Loaded,
    Origin,
    ProjectFacts,
    Row,
    Said,
    Saved,
    Taken,
)
from diffseg.project.loading import errors_of, load_case, said_of
from diffseg.project.merging import Mask, merged
from diffseg.project.overview import (
    counts_of,
    expected_dice,
    proposals_in,
    rows_of,
)


class Ledger:
    """An open project, and the annotator who works on it.

    Calls may come from several threads. Each that writes returns once what it
    wrote is safe.

    Parameters
    ----------
    project : store.Project
    annotator : str
    session : str
        Of the window.
    """

    def __init__(self, project: store.Project, annotator: str, session: str) -> None:
        self.project = project
        self.annotator = annotator
        self.session = session
        self._dice: tuple[int, dict[str, float]] = (0, {})

    @property
    def folder(self) -> Path:
        """The project's folder."""
        return self.project.folder

    @property
    def journal_folder(self) -> Path:
        """Where this machine's windows keep strokes of the project."""
        return self.project.journal_folder

    def facts(self, rows: Sequence[Row]) -> ProjectFacts:
        """The project in words and numbers."""
        folder = self.folder
        counts = counts_of(rows)
        return ProjectFacts(folder.name, folder, self.annotator, len(rows), counts)

    def rows(self) -> tuple[Row, ...]:
        """Every case of the list."""
        return rows_of(self.project)

    def dice(self) -> dict[str, float]:
        """Expected Dice of each case that has a proposal."""
        count = proposals_in(self.project)
        if count != self._dice[0]:
            self._dice = (count, expected_dice(self.project))
        return self._dice[1]

    def add(self, images: Sequence[str]) -> int:
        """Add images as cases, all or none; how many."""
        additions = [store.Addition(_paths(image)) for image in images]
        work = store.add_cases(self.project, additions, annotator=self.annotator)
        return len(run(work))

    def load(self, case_id: str, read_only: bool = False) -> Loaded | Taken:
        """Open a case, and lease it; see `load_case`."""
        return load_case(
            self.project,
            case_id,
            annotator=self.annotator,
            session=self.session,
            read_only=read_only,
        )

    def renew(self, case_id: str) -> Taken | None:
        """Hold a case for longer; who has it now where that is somebody else."""
        try:
            store.take_lease(
                self.project, case_id, annotator=self.annotator, session=self.session
            )
        except store.Leased as error:
            return Taken(error.lease.annotator, error.lease.until)
        return None

    def release(self, case_id: str) -> None:
        """Give a case back."""
        store.release_lease(self.project, case_id, annotator=self.annotator)

    def save(
        self,
        origin: Origin,
        mask: NDArray[np.uint8],
        touched: NDArray[np.bool_],
        table: LabelTable,
    ) -> Saved:
        """Keep a mask as a new version of its case.

        Parameters
        ----------
        table : LabelTable
            What the mask's values mean; new ones come into the project's table.
        """
        with suppress(UserError):  # no work is refused for the sake of a table
            self.take_table(table)
        kept = store.add_correction(
            self.project,
            origin.case,
            mask,
            annotator=self.annotator,
            session=self.session,
            parent=origin.parent,
            proposal=origin.proposal,
            touched=touched,
            role=review.role_of(self.project, origin.case, self.annotator),
        )
        return Saved(kept.id, kept.version, kept.voxels, kept.beside)

    def keep_proposal(self, case_id: str, proposal: Proposal) -> Kept:
        """Keep a proposal for good."""
        with suppress(UserError):
            self.take_table(proposal.labels)
        kept = store.add_proposal(
            self.project, case_id, proposal, annotator=self.annotator
        )
        return Kept(kept.id, errors_of(self.project, case_id))

    def table(self) -> LabelTable | None:
        """The project's label table; None while it has none."""
        return store.label_table(self.project)

    def take_table(self, table: LabelTable) -> LabelTable:
        """Make a label table the project's; what only the project has stays.

        Raises
        ------
        UserError
            A label that is in use would be lost, or mean something else.
        """
        known = store.label_table(self.project)
        wanted = merged(known, table)
        if wanted != known:
            store.set_label_table(self.project, wanted, annotator=self.annotator)
        return wanted

    def say(
        self,
        case_id: str,
        label: str,
        state: Presence,
        slices: tuple[int, int] | None,
        table: LabelTable,
    ) -> dict[str, Said]:
        """Say whether a structure is in a case or a range of its planes; what is known.

        `table` is the case's, from which the structure is taken into the project's.
        """
        known = store.label_table(self.project)
        if known is None or label not in known.names:
            mine = tuple(one for one in table.each() if one.name == label)
            with suppress(UserError):
                self.take_table(LabelTable(labels=mine))
        store.set_label(
            self.project,
            case_id,
            label,
            state,
            annotator=self.annotator,
            slices=slices,
            new=True,
        )
        return said_of(self.project, case_id)

    def unsay(self, case_id: str) -> tuple[str, dict[str, Said]]:
        """Take back what was said last; of which structure ("" for none)."""
        gone = store.undo_label(self.project, case_id, annotator=self.annotator)
        return (gone.label if gone else ""), said_of(self.project, case_id)

    def set_state(self, case_id: str, state: CaseState) -> None:
        """Say how far a case is."""
        store.set_review(
            self.project,
            case_id,
            store.State(state),
            reviewer=self.annotator,
            role=review.role_of(self.project, case_id, self.annotator),
        )

    def advise(self, case_id: str | None) -> Advised | None:
        """The slice of a case, else the case, that deserves a look most."""
        found = review.advise(self.project, annotator=self.annotator, case_id=case_id)
        return None if found is None else Advised(found.case_id, found.slice)

    def went(self, to: Advised) -> None:
        """Note that the annotator went there."""
        review.went_to(self.project, to.case, to.plane, annotator=self.annotator)

    def tick(self, case_id: str, axis: int, slices: Iterable[int]) -> None:
        """Note that slices have been looked at."""
        store.tick_slices(
            self.project, case_id, slices, annotator=self.annotator, axis=axis
        )

    def is_saved(self, restored: Mask) -> bool:
        """Whether the newest version of a case is what a dead window left behind."""
        origin = restored.origin
        if origin is None:
            return False
        newest = store.newest_correction(self.project, origin.case)
        if newest is None:
            return False
        touched = store.read_touched(self.project, newest)
        return np.array_equal(
            store.read_correction(self.project, newest), restored.values
        ) and (touched is None or np.array_equal(touched, restored.touched))

    def close(self) -> None:
        """Let go of the project."""
        self.project.close()


def open_ledger(folder: str | Path, annotator: str, session: str) -> Ledger:
    """Open a project; `UserError` where it is none, or cannot be opened."""
    place = Path(folder).expanduser()
    return Ledger(store.open_project(place), who(annotator), session)


def make_ledger(folder: str | Path, annotator: str, session: str) -> Ledger:
    """Make a project in a new or empty folder, and open it."""
    place, name = Path(folder).expanduser(), who(annotator)
    return Ledger(store.create_project(place, annotator=name), name, session)


def who(annotator: str = "") -> str:
    """Name of the annotator; that of the account without one.

    Raises
    ------
    UserError
        The account has no name.
    """
    if annotator.strip():
        return annotator.strip()
    with _nameless():
        return getpass.getuser()


@contextmanager
def _nameless() -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, ImportError):
        raise UserError("this account has no name; say who you are") from None


def _paths(image: str) -> str | list[str]:
    names = [name.strip() for name in image.split(";") if name.strip()]
    return names[0] if len(names) == 1 else names
