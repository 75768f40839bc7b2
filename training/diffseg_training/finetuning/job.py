"""What a fine-tuning is asked to do, and what comes of it. Loads without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from diffseg.errors import UserError

RECIPE = "base/finetune"
"""The shipped recipe that says how corrections are learnt from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJob:
    """What every training on a project is asked: its cases, its length, its gate.

    Parameters
    ----------
    project : str
        The project's folder.
    model : str
        ``id`` or ``id@version``: the model that the new one is judged against. A
        folder elsewhere has no versions.
    annotator : str
        Who asks for it, for the audit log.
    cases : tuple of str
        Names or ids to learn from; empty: all that there are.
    hold_out : tuple of str
        Names or ids to judge by; empty: chosen by the seed.
    recipe : str, optional
        A name that ships, or a YAML file.
    minutes : float, optional
        Of training, in place of the recipe's length.
    tolerance : float, optional
        Dice that a class may lose; the recipe's without it.
    overall_tolerance : float, optional
        Dice that the mean of all classes may lose; the recipe's without it.
    settings : tuple of str
        Overrides of the recipe, ``section.key=value``.
    patient : str
        Regular expression whose first group, found in a case's name, is the patient;
        other cases are a patient each.
    seed : int
    device : str
        auto, cpu, cuda or mps.
    resume : bool
        Go on with the run that was killed; everything but project, annotator and
        device is that run's.
    """

    kind: ClassVar[str] = ""
    """What the run is called in the project's table of runs."""
    title: ClassVar[str] = "training"
    """What the run is called in a sentence."""

    project: str
    model: str = ""
    annotator: str
    cases: tuple[str, ...] = ()
    hold_out: tuple[str, ...] = ()
    recipe: str | None = None
    minutes: float | None = None
    tolerance: float | None = None
    overall_tolerance: float | None = None
    settings: tuple[str, ...] = ()
    patient: str = r"^(sub-[A-Za-z0-9]+)"
    seed: int = 0
    device: str = "auto"
    resume: bool = False

    def as_json(self) -> dict[str, Any]:
        """Plain values, as they are kept with the run and sent to its process."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read what `as_json` gave; what is not known is left out."""
        known = {one.name for one in fields(cls)}
        given = {k: v for k, v in told.items() if k in known}
        lists = {k: tuple(v) for k, v in given.items() if isinstance(v, list)}
        return cls(**{**given, **lists})

    def checked(self) -> Self:
        """Return this job; `UserError` if a number of it cannot be meant."""
        if not self.resume and not self.model:
            raise UserError("name the model to start from", option="--model")
        if self.minutes is not None and not self.minutes > 0:
            raise UserError(f"minutes is {self.minutes:g}; give more than 0")
        for name in ("tolerance", "overall_tolerance"):
            dice = getattr(self, name)
            if dice is not None and not 0 <= dice < 1:
                word = name.replace("_", " ")
                raise UserError(f"{word} is {dice:g}; give a Dice from 0 to below 1")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}; give 0 or more")
        both = set(self.cases) & set(self.hold_out)
        if both:
            raise UserError(
                f"case {sorted(both)[0]!r} cannot both be learnt from and judge: name "
                "it once"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneJob(RunJob):
    """Fine-tune a model on the corrections of a project.

    Without cases, all that were corrected or accepted are learnt from; the recipe is
    the parent's, where its card names none that ships.

    Parameters
    ----------
    replay : str, optional
        A data set whose split ``train`` is learnt from, too.
    """

    kind: ClassVar[str] = "finetune"
    title: ClassVar[str] = "fine-tuning"

    replay: str | None = None


@dataclass(frozen=True, slots=True)
class Finetuned:
    """How a fine-tuning ended.

    Parameters
    ----------
    outcome : {"kept", "refused"}
    model : str
        ``id@version`` of the child; a refused one is in no list.
    parent : str
        ``id@version``.
    sha256 : str
        Of the child's weights.
    path : Path
        Folder of the child.
    run : Path
        Folder of the run: log, curve, held-out masks of parent and child.
    run_id : str
        In the project.
    verdict : mapping
        `Verdict.as_json`.
    learnt, held_out : tuple of str
        Ids of cases.
    voxels : int
        That were reviewed, and learnt from.
    steps : int
    minutes : float
        Of training.
    """

    outcome: Literal["kept", "refused"]
    model: str
    parent: str
    sha256: str
    path: Path
    run: Path
    run_id: str
    verdict: Mapping[str, Any]
    learnt: tuple[str, ...]
    held_out: tuple[str, ...]
    voxels: int
    steps: int
    minutes: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return plain

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read what `as_json` gave."""
        given = dict(told)
        for name in ("path", "run"):
            given[name] = Path(given[name])
        for name in ("learnt", "held_out"):
            given[name] = tuple(given[name])
        return cls(**given)
