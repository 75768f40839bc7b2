"""What presenters need besides views: a journal, a thread, a clock, a catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import ImageLabels, LabelTable, ModelCard
from diffseg.engine.events import Advanced, Failed
from diffseg.errors import DiffsegError
from diffseg.progress import Work, run
from diffseg.project.annotation import Annotation
from diffseg.project.entries import Origin
from diffseg.volume import Grid, Volume
from napari_diffseg.views import Done

Result = TypeVar("Result")


class Background(Protocol):
    """Runs what would make the window wait."""

    def __call__(
        self,
        fn: Callable[[], Result],
        done: Callable[[Result], Any],
        failed: Callable[[Exception], Any],
        /,
    ) -> None:
        """Run `fn` elsewhere; then call `done` or `failed` in the window's thread."""


Later = Callable[[int, Callable[[], Any]], Any]
"""Calls a function in the window's thread, so many milliseconds from now."""

InGui = Callable[[Callable[[], Any]], Any]
"""Calls a function in the window's thread, from any thread."""


class ModelFolder(Protocol):
    """A model that was found on this machine."""

    @property
    def name(self) -> str:
        """The model's full name, ``id@version``."""

    @property
    def card(self) -> ModelCard:
        """Its card."""

    @property
    def path(self) -> Path:
        """Its folder."""


class Branch(Protocol):
    """A version in the tree of its model."""

    @property
    def model(self) -> Any:
        """`ModelFolder`."""

    @property
    def depth(self) -> int:
        """0 for one whose parent is not here."""


class Catalogue(Protocol):
    """Which models there are."""

    def list_models(self) -> Sequence[ModelFolder]:
        """Every sound model on this machine."""

    def find_model(self, name: str, /) -> ModelFolder:
        """The model of that name; `UserError` lists the known ones."""

    def tree_of(self, models: Any, /) -> Sequence[Branch]:
        """Versions, each after the one that it came from."""

    def current_versions(self, models: Any, /) -> Mapping[str, str]:
        """Version that each id means."""

    def parent_of(self, model: Any, models: Any, /) -> Any:
        """The version that a model came from, if it is among `models`."""

    def roll_back(self, name: str, /) -> tuple[Any, Any]:
        """Let an id mean the parent, or with ``@version`` that one; before, and now."""


class JournalLeftover(Protocol):
    """What an earlier window left behind in the journal."""

    @property
    def id(self) -> str:
        """Its name in the journal."""

    @property
    def name(self) -> str:
        """Name of the case."""

    @property
    def when(self) -> datetime:
        """When strokes were last kept."""

    @property
    def voxels(self) -> int:
        """How many voxels a person had set."""


class Restored(Protocol):
    """A mask out of the journal, and which image it belongs to."""

    @property
    def values(self) -> NDArray[np.uint8]:
        """(Z, Y, X) mask."""

    @property
    def touched(self) -> NDArray[np.bool_]:
        """(Z, Y, X) voxels that a person set."""

    @property
    def proposed(self) -> NDArray[np.uint8] | None:
        """(Z, Y, X) latest proposal."""

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""

    @property
    def table(self) -> LabelTable:
        """Names of the structures."""

    @property
    def labels(self) -> ImageLabels:
        """Image-level labels."""

    @property
    def name(self) -> str:
        """Name of the case."""

    @property
    def paths(self) -> Sequence[str]:
        """The image's files; none where it came without one."""

    @property
    def frame(self) -> int | None:
        """Frame of a 4D image."""

    @property
    def series(self) -> str | None:
        """DICOM series."""

    @property
    def warnings(self) -> Sequence[str]:
        """What could not be brought back, one line each."""

    @property
    def origin(self) -> Origin | None:
        """What of a project it comes from."""


class JournalPort(Protocol):
    """Keeps strokes on disk; see `diffseg.project.journal.Journal`."""

    on_kept: Callable[[str, datetime], object] | None
    on_trouble: Callable[[str], object] | None

    def open(
        self,
        case_id: str,
        *,
        name: str,
        volume: Volume,
        annotation: Annotation,
        table: LabelTable,
        labels: ImageLabels,
        frame: int | None = None,
        origin: Origin | None = None,
    ) -> Any:
        """Begin to keep a case; raises where another window has the image."""

    def note(self, case_id: str) -> Any:
        """Voxels may have changed."""

    def replace(
        self,
        case_id: str,
        *,
        table: LabelTable | None = None,
        labels: ImageLabels | None = None,
        name: str | None = None,
        volume: Volume | None = None,
        origin: Origin | None = None,
    ) -> Any:
        """Note that something of a case is another one now."""

    def flush(self, case_id: str | None = None) -> bool:
        """Write what is not yet on disk; whether all of it is."""

    def exported(self, case_id: str) -> Any:
        """A file of the user's holds the mask as it is now."""

    def forget(self, case_id: str) -> Any:
        """Keep nothing of a case that was closed in order."""

    def close(self) -> Any:
        """Write everything and let go of the files."""

    def enter(self, folder: Path, /) -> Any:
        """Keep the cases of a project in its journal's folder."""

    def leave(self) -> Any:
        """Let go of the project's journal."""

    def leftovers(self) -> Sequence[JournalLeftover]:
        """What earlier windows left behind, outside of projects."""

    def project_leftovers(self) -> Sequence[JournalLeftover]:
        """What they left behind in the open project."""

    def restore(self, id: str, /) -> Restored:
        """Read a leftover."""

    def discard(self, id: str, /) -> Any:
        """Throw a leftover away."""


def inline(
    fn: Callable[[], Result],
    done: Callable[[Result], Any],
    failed: Callable[[Exception], Any],
) -> None:
    """Run `fn` here and now: the background of scripts and tests."""
    try:
        result = fn()
    except Exception as error:
        failed(error)
    else:
        done(result)


class Ended:
    """A piece of work that is over, and cannot be cancelled any more."""

    def cancel(self) -> None:
        """Too late."""


def work_inline(start: Callable[[], Work[Any]], listener: Callable[..., Any]) -> Ended:
    """Do a piece of work here and now: the `Works` of scripts."""
    try:
        listener(Done(run(start(), lambda told: listener(Advanced(told)))))
    except DiffsegError as error:
        listener(Failed(str(error), error.exit_status))
    return Ended()


def at_once(_milliseconds: int, fn: Callable[[], Any]) -> None:
    """Call `fn` here and now: the clock of scripts and tests."""
    fn()


def directly(fn: Callable[[], Any]) -> None:
    """Call `fn` here: the way into a window that has no thread of its own."""
    fn()


def told(error: Exception) -> str:
    """One line that tells an error to the user."""
    if isinstance(error, DiffsegError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; close other cases or programs"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the disk'}: {error.strerror}"
    return f"unexpected {type(error).__name__}: {error}"
