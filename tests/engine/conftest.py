"""An engine whose worker finds a method and a torch that are made for these tests."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from diffseg.domain import Request
from diffseg.engine import Advanced, Engine, Event, Job
from diffseg.engine.events import Failed, Finished, Planned, Stopped
from diffseg.volume import Volume

FAKES = Path(__file__).parent / "fakes"
LONG = 60.0  # nothing takes so long; a test that waits it out has failed


class Ear:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = threading.Condition()

    def __call__(self, event: Event) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def await_that(self, holds: Callable[[], bool]) -> None:
        with self._news:
            assert self._news.wait_for(holds, timeout=LONG), self.events

    def last(self) -> Event:
        """Wait for the last event."""
        ends = (Finished, Planned, Failed, Stopped)
        self.await_that(lambda: any(isinstance(one, ends) for one in self.events))
        assert [isinstance(one, ends) for one in self.events].count(True) == 1
        return self.events[-1]

    def await_stage(self, stage: str) -> None:
        """Wait for the first progress of a stage."""
        self.await_that(lambda: stage in self.stages)

    @property
    def stages(self) -> list[str]:
        return [one.progress.stage for one in self.events if isinstance(one, Advanced)]


class World:
    """What the tests of a module share: folders, and a log of the fake method."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.temporary = folder / "tmp"
        self.log = folder / "fake.log"
        self.temporary.mkdir()
        self.log.touch()
        self._add_method(folder / "site")
        for name in ("fake", "other", "broken"):
            self._add_model(name)

    def _add_method(self, site: Path) -> None:
        about = site / "fake_method-1.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text("Name: fake-method\nVersion: 1\n")
        (about / "entry_points.txt").write_text(
            "[diffseg.segmenters]\nfake = fake_method:Fake\n"
        )

    def _add_model(self, name: str) -> None:
        folder = self.home / "models" / name / "1"
        folder.mkdir(parents=True)
        card = {
            "id": name, "version": "1", "title": name, "method": "fake",
            "network": {}, "labels": {"labels": [{"name": "it", "value": 1}]},
            "preparation": {}, "modality": "MR", "licence": "CC0", "sha256": "0",
            "data": "none", "intended_use": "tests", "limits": ["all"],
        }  # fmt: skip
        (folder / "card.json").write_text(json.dumps(card))

    def lines(self, begin: str = "") -> list[str]:
        """What the method logged."""
        return [
            line for line in self.log.read_text().splitlines() if line.startswith(begin)
        ]

    @property
    def exchanges(self) -> list[Path]:
        # Of a long path multiprocessing's socket lies beside, until the end.
        every = self.temporary.iterdir()
        return [path for path in every if not path.name.startswith("pymp-")]

    def engine(self, address: str = "") -> Engine:
        return Engine(address, threads=1)

    @staticmethod
    def job(text: str = "", model: str = "fake", **more: object) -> Job:
        rng = np.random.default_rng(3)
        voxels = rng.normal(size=(4, 5, 6)).astype(np.float32)
        fields = {"volume": Volume.from_array(voxels), "text": text, **more}
        return Job(model, Request(**fields), "cpu")  # type: ignore[arg-type]

    @staticmethod
    def gone(pid: int) -> bool:
        """Wait for a process to end."""
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            try:
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                return True
            if state[0] == "Z":
                return True
            time.sleep(0.02)
        return False


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Folders of their own, and an environment that names them."""
    here = World(tmp_path_factory.mktemp("world"))
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(here.folder / "site"), str(FAKES)]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("DIFFSEG_HOME", str(here.home))
        patch.setenv("FAKE_LOG", str(here.log))
        patch.setenv("TMPDIR", str(here.temporary))
        patch.delenv("DIFFSEG_ENGINE", raising=False)
        patch.delenv("DIFFSEG_DEVICE", raising=False)
        patch.setattr(tempfile, "tempdir", None)
        yield here


@pytest.fixture(scope="module")
def engine(world: World) -> Iterator[Engine]:
    """One engine for the tests of a module; each leaves it usable."""
    made = world.engine()
    made.start()
    yield made
    made.close()
    assert world.exchanges == []


@pytest.fixture
def ear() -> Ear:
    """A listener."""
    return Ear()


@pytest.fixture
def new_ear() -> type[Ear]:
    """More listeners."""
    return Ear
