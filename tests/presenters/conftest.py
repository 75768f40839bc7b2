"""A window without a display: fakes that know only what the protocols know."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diffseg.domain import (
    Label,
    LabelTable,
    ModelCard,
    Preparation,
    Proposal,
    Provenance,
    Region,
    Sampling,
    StructureReport,
)
from diffseg.engine.events import Job, Stopped
from diffseg.errors import UserError
from diffseg.volume import Affine, Volume, write_mask
from napari_diffseg import views as protocols
from napari_diffseg.presenters.desk import Desk
from napari_diffseg.presenters.ports import JournalPort, work_inline
from napari_diffseg.session import Case

SHAPE = (6, 8, 10)


class Intent:
    """A signal that calls its slots."""

    def __init__(self) -> None:
        self.slots: list[Callable[..., Any]] = []

    def connect(self, slot: Callable[..., Any]) -> None:
        self.slots.append(slot)

    def emit(self, *values: Any) -> None:
        assert self.slots, "nobody listens"
        for slot in self.slots:
            slot(*values)


class Fake:
    """Takes the calls of a protocol and no others, with its very signatures."""

    def __init__(self, protocol: type) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.answers: dict[str, Any] = {}
        for name in protocol.__annotations__:
            setattr(self, name, None)
        for name, member in vars(protocol).items():
            if isinstance(member, property):
                setattr(self, name, Intent())
            elif inspect.isfunction(member) and not name.startswith("_"):
                setattr(self, name, self._method(name, member))

    def _method(self, name: str, member: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(member)

        def method(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            self.calls.append((name, tuple(bound.arguments.values())[1:]))
            answer = self.answers.get(name)
            return answer(*args, **kwargs) if callable(answer) else answer

        return method

    def all(self, name: str) -> list[tuple[Any, ...]]:
        return [values for called, values in self.calls if called == name]

    def last(self, name: str) -> tuple[Any, ...]:
        return self.all(name)[-1]


class FakeRunner(Fake):
    """An engine that answers when the test says so."""

    def __init__(self) -> None:
        super().__init__(protocols.Runner)
        self.jobs: list[tuple[Job, Callable[[Any], None], Any]] = []
        self.plans: list[tuple[Job, Callable[[Any], None], Any]] = []
        self.answers["propose"] = lambda job, listener: self._take(
            self.jobs, job, listener
        )
        self.answers["plan"] = lambda job, listener: self._take(
            self.plans, job, listener
        )

    @staticmethod
    def _take(rows: list[Any], job: Job, listener: Callable[[Any], None]) -> Any:
        ticket = SimpleNamespace(cancelled=0)
        ticket.cancel = lambda: setattr(ticket, "cancelled", ticket.cancelled + 1)
        rows.append((job, listener, ticket))
        return ticket

    def tell(self, event: Any, job: int = -1) -> None:
        self.jobs[job][1](event)


@dataclass
class Waiting:
    """A background or a clock that does its work when the test says so."""

    held: bool = False
    tasks: list[Callable[[], Any]] = field(default_factory=list)

    def __call__(self, *args: Any) -> None:
        work = self._later(*args) if len(args) == 2 else self._background(*args)
        if self.held:
            self.tasks.append(work)
        else:
            work()

    @staticmethod
    def _later(_ms: int, fn: Callable[[], Any]) -> Callable[[], Any]:
        return fn

    @staticmethod
    def _background(
        fn: Callable[[], Any], done: Callable[[Any], Any], failed: Callable[..., Any]
    ) -> Callable[[], Any]:
        def work() -> None:
            try:
                result = fn()
            except Exception as error:
                failed(error)
            else:
                done(result)

        return work

    def go_on(self) -> None:
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            task()


PANELS = {
    "project": protocols.ProjectView,
    "presence": protocols.PresenceView,
    "case": protocols.CaseView,
    "labels": protocols.LabelsView,
    "prompt": protocols.PromptView,
    "cache": protocols.CacheView,
    "model": protocols.ModelView,
    "propose": protocols.ProposeView,
    "result": protocols.ResultView,
    "review": protocols.ReviewView,
    "correct": protocols.CorrectView,
    "resample": protocols.ResampleView,
    "reading": protocols.ReadingView,
    "calibration": protocols.CalibrationView,
    "train": protocols.TrainView,
    "export": protocols.ExportView,
    "project_export": protocols.ProjectExportView,
    "recover": protocols.RecoverView,
    "notices": protocols.Notices,
}


class Catalogue:
    """Models by name."""

    def __init__(self, *cards: ModelCard) -> None:
        self.models = [
            SimpleNamespace(
                name=f"{card.id}@{card.version}", card=card, path=Path("nowhere")
            )
            for card in cards
        ]
        self.current: dict[str, str] = {}

    def list_models(self) -> Sequence[Any]:
        return self.models

    def find_model(self, name: str) -> Any:
        for model in self.models:
            if name in (model.name, model.card.id):
                return model
        raise UserError(f"model {name!r} is not known")

    def current_versions(self, models: Any) -> dict[str, str]:
        return {one.card.id: one.card.version for one in models} | self.current

    def parent_of(self, model: Any, models: Any) -> Any:
        wanted = (model.card.parent or "").partition("#")[0]
        return next((one for one in models if one.name == wanted), None)

    def tree_of(self, models: Any) -> list[Any]:
        def depth(one: Any) -> int:
            parent = self.parent_of(one, models)
            return 0 if parent is None else 1 + depth(parent)

        return [SimpleNamespace(model=one, depth=depth(one)) for one in models]

    def roll_back(self, name: str) -> tuple[Any, Any]:
        id, _, version = name.partition("@")
        versions = [one for one in self.models if one.card.id == id]
        meant = self.current_versions(versions)[id]
        now = next(one for one in versions if one.card.version == meant)
        wanted = self.find_model(name) if version else self.parent_of(now, versions)
        if wanted is None:
            raise UserError(f"model {now.name} came from no other version")
        self.current[id] = wanted.card.version
        return now, wanted


class FakeWorks:
    """Pieces of work that go on, and end, when the test says so."""

    def __init__(self) -> None:
        self.pieces: list[SimpleNamespace] = []

    def __call__(self, start: Callable[[], Any], listener: Callable[[Any], Any]) -> Any:
        piece = SimpleNamespace(start=start, tell=listener, cancelled=False)

        def cancel() -> None:
            if not piece.cancelled:
                piece.cancelled = True
                listener(Stopped())

        piece.cancel = cancel
        self.pieces.append(piece)
        return piece

    def finish(self, result: Any, piece: int = -1) -> None:
        self.pieces[piece].tell(protocols.Done(result))

    def do(self, piece: int = -1) -> None:
        """Carry a piece out here, from begin to end."""
        work_inline(self.pieces[piece].start, self.pieces[piece].tell)


class Window:
    """A desk with fakes all around."""

    def __init__(self, catalogue: Catalogue, journal: Any = None) -> None:
        self.views = SimpleNamespace(**{k: Fake(p) for k, p in PANELS.items()})
        self.canvas: Any = Fake(protocols.Canvas)
        self.canvas.answers["apply"] = self._apply
        self.canvas.answers["holds"] = True
        self.canvas.answers["voxel_at_hand"] = lambda case: (2, 0, 0)
        self.canvas.answers["show_proposal"] = lambda case, done=None: (
            None if done is None else done()
        )
        self.canvas.answers["slice_region"] = lambda case: Region(
            (2, 3), (0, case.volume.shape[1]), (0, case.volume.shape[2])
        )
        self.runner = FakeRunner()
        self.journal = journal or self.fake_journal()
        self.background = Waiting()
        self.later = Waiting()
        self.works = FakeWorks()
        self.desk = Desk(
            self.views,
            self.canvas,
            self.runner,
            self.journal,
            catalogue=catalogue,
            background=self.background,
            works=self.works,
            later=self.later,
        )
        self.session = self.desk.session

    @staticmethod
    def fake_journal() -> Any:
        journal = Fake(JournalPort)
        journal.answers |= {"leftovers": (), "project_leftovers": (), "flush": True}
        return journal

    @staticmethod
    def _apply(case: Case, change: Any) -> None:
        case.annotation.values[change.indices] = change.after

    @property
    def case(self) -> Case:
        case = self.session.current
        assert case is not None
        return case

    @property
    def said(self) -> list[str]:
        return [text for text, _ in self.views.notices.all("show")]

    @property
    def troubles(self) -> list[str]:
        calls = self.views.notices.all("show")
        return [text for text, severity in calls if severity != "info"]

    def draw(self, where: Any, value: int = 1) -> None:
        note = self.case.annotation
        note.values[where] = value
        note.touched[where] = True
        self.canvas.dirty.emit(self.case.id)
        self.canvas.edited.emit(self.case.id)


def card_of(id: str, *names: str, **changes: Any) -> ModelCard:
    labels = tuple(Label(name=n, value=v) for v, n in enumerate(names, start=1))
    given = {
        "id": id,
        "version": "1",
        "title": id,
        "method": "ensemdiff",
        "network": {},
        "labels": LabelTable(labels=labels),
        "preparation": Preparation(),
        "sampling": Sampling(members=4, steps=2),
        "modality": "MR",
        "licence": "CC0",
        "sha256": "0" * 64,
        "data": "none",
        "intended_use": "tests",
        "limits": (),
    }
    return ModelCard(**{**given, **changes})


def proposal_of(
    case: Case, mask: Any, card: ModelCard, *, members: bool = True, **changes: Any
) -> Proposal:
    mask = np.asarray(mask, np.uint8)
    classes = len(card.labels)
    probability = np.zeros((classes, *mask.shape), np.float32)
    for index, value in enumerate(card.labels.values):
        probability[index][mask == value] = 0.9
    return Proposal(
        **{
            "mask": mask,
            "probability": probability,
            "uncertainty": np.zeros(mask.shape, np.float32),
            "labels": card.labels,
            "grid": case.volume.grid,
            "source": case.volume.source,
            "provenance": Provenance(
                {"id": card.id, "version": card.version, "sha256": card.sha256},
                *(0, 4, 2, "cpu", 1, {}),
            ),
            "structures": tuple(
                StructureReport(
                    *(x.name, x.value, int((mask == x.value).sum())),
                    *(1.0, 0.9, 1.1, 0.95),
                )
                for x in card.labels.each()
            ),
            "members": np.stack([mask] * 4) if members else None,
            **changes,
        }
    )


@pytest.fixture
def card() -> ModelCard:
    return card_of("hippocampus-mri", "anterior", "posterior")


@pytest.fixture
def other_card() -> ModelCard:
    return card_of("tumour", "tumour")


@pytest.fixture
def make_card() -> Callable[..., ModelCard]:
    return card_of


@pytest.fixture
def propose() -> Callable[..., Proposal]:
    return proposal_of


@pytest.fixture
def make_window(card: ModelCard, other_card: ModelCard) -> Callable[..., Window]:
    def make(*more: ModelCard, journal: Any = None) -> Window:
        return Window(Catalogue(card, other_card, *more), journal)

    return make


@pytest.fixture
def window(make_window: Callable[..., Window]) -> Window:
    return make_window()


@pytest.fixture
def no_models() -> Window:
    return Window(Catalogue())


@pytest.fixture
def make_image(tmp_path: Path) -> Callable[..., Path]:
    """Write an image of numbers, with millimetres or without."""

    def make(
        name: str = "brain.nii.gz", shape: Any = SHAPE, affine: Any = None
    ) -> Path:
        geometry = affine if affine is not None else Affine.from_parts((1, 2, 3))
        voxels = (np.arange(np.prod(shape)) % 200).astype(np.uint8).reshape(shape)
        volume = Volume.from_array(voxels, geometry)
        return write_mask(tmp_path / name, voxels, volume.grid, volume.source)

    return make


@pytest.fixture
def image(make_image: Callable[..., Path]) -> Path:
    return make_image()
