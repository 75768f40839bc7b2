"""What is asked of the engine, and what it tells while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diffseg.domain import Proposal, Request
from diffseg.progress import Progress


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A request for one model, to be answered elsewhere.

    Parameters
    ----------
    model : str
        ``id``, ``id@version`` or the folder of a model.
    request : Request
    device : {"auto", "cpu", "cuda", "mps"}
    """

    model: str
    request: Request
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Machine:
    """Where models run.

    Parameters
    ----------
    device : str
        cpu, cuda or mps: what ``auto`` comes to.
    name : str
        The device in words, such as "NVIDIA H200" or "2 CPU cores".
    threads : int
        CPU threads that a model takes.
    memory_bytes : int
        Free memory of the device.
    why_cpu : str, optional
        Why no GPU is used; None where one is.
    """

    device: str
    name: str
    threads: int
    memory_bytes: int
    why_cpu: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job will take, from one probed piece of it.

    Parameters
    ----------
    seconds : float
        Wall time to the proposal, from now.
    memory_bytes : int
        Memory of the device at the peak.
    members, steps : int
        The ensemble, the card's defaults filled in.
    machine : Machine
    warnings : tuple of str
        Such as that the memory will not suffice at once.
    """

    seconds: float
    memory_bytes: int
    members: int
    steps: int
    machine: Machine
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Advanced:
    """A sign of life; a `diffseg.domain.preview.Preview` carries slices."""

    progress: Progress


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The job's proposal; its arrays may be read-only maps of files."""

    proposal: Proposal


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan that was asked for."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Failed:
    """The job broke off, told in one line; 2 is the user's input, 1 is ours."""

    message: str
    exit_status: int = 1


@dataclass(frozen=True, slots=True)
class Stopped:
    """The job was cancelled."""


Event = Advanced | Finished | Planned | Failed | Stopped
"""`Finished`, `Planned`, `Failed` and `Stopped` are last events of their job."""

Listener = Callable[[Event], None]
