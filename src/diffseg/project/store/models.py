"""Which models a project has used, and the training runs that started from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from sqlalchemy import Connection, insert, select, update

from diffseg.errors import UserError
from diffseg.project.store import schema
from diffseg.project.store.auditing import note
from diffseg.project.store.nouns import Row, moment
from diffseg.project.store.project import Project

Outcome = Literal["kept", "refused", "cancelled", "failed"]
_TABLE = schema.runs


@dataclass(frozen=True, slots=True)
class UsedModel:
    """A model's version that a proposal or a training run of the project used."""

    id: str
    version: str
    sha256: str
    licence: str | None
    first_used: datetime


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A model that was, or is being, trained further on a project's corrections.

    Parameters
    ----------
    model : (id, version, sha256)
        That it started from.
    state : str
        ``running``, ``kept``, ``refused`` by the gate, ``cancelled`` or ``failed``.
    settings, result : mapping
        JSON; the new version and the gate's figures are in the result.
    cases : tuple of str
        Ids of the cases whose corrections it learnt from.
    """

    id: str
    model: tuple[str, str, str]
    state: str
    settings: Mapping[str, Any]
    cases: tuple[str, ...]
    result: Mapping[str, Any] | None
    annotator: str
    started: datetime
    ended: datetime | None


def know_model(
    db: Connection, id: str, version: str, sha256: str, *, licence: Any, now: float
) -> None:
    """Take a model into the table of those that were used, unless it is in it."""
    row = {"id": id, "version": version, "sha256": sha256}
    columns = schema.models.c
    known = select(columns.id).where(
        columns.id == id, columns.version == version, columns.sha256 == sha256
    )
    if db.execute(known).first() is None:
        more = {"licence": licence and str(licence), "first_used": now}
        # Two annotators may use it for the first time at once.
        if db.dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import insert as polite

            db.execute(polite(schema.models).on_conflict_do_nothing(), {**row, **more})
        else:
            db.execute(insert(schema.models), {**row, **more})


def models_used(project: Project) -> tuple[UsedModel, ...]:
    """Every model's version that the project used, the first first."""
    table = schema.models
    rows = select(table).order_by(table.c.first_used, table.c.id, table.c.version)
    with project.read() as db:
        found = db.execute(rows).mappings().all()
    return tuple(
        UsedModel(**{**row, "first_used": moment(row["first_used"])}) for row in found
    )


def begin_run(
    project: Project,
    *,
    model: tuple[str, str, str],
    settings: Mapping[str, Any],
    cases: Sequence[str],
    annotator: str,
    id: str | None = None,
) -> TrainingRun:
    """Note that a training run begins.

    Parameters
    ----------
    model : (id, version, sha256)
        That it starts from.
    settings : mapping
        JSON, the seed among it.
    cases : sequence of str
        Ids.
    id : str, optional
        What `new_run_id` gave, where files had to be named before.
    """
    row: dict[str, Any] = {
        "id": id or new_run_id(),
        **dict(zip(("model_id", "model_version", "model_sha256"), model, strict=True)),
        "state": "running",
        "settings": dict(settings),
        "cases": list(cases),
        "result": None,
        "annotator": annotator,
        "ended": None,
    }
    with project.write() as db:
        row["started"] = now = project.now(db)
        know_model(db, *model, licence=None, now=now)
        db.execute(insert(_TABLE), row)
        details = {"cases": len(cases)}
        subject, seed = str(row["id"]), settings.get("seed")
        note(
            db, now, annotator, "train",
            subject=subject, model=model, seed=seed, details=details,
        )  # fmt: skip
    return _run(row)


def new_run_id() -> str:
    """Make up the id of a training run."""
    return uuid4().hex[:16]


def resume_run(project: Project, id: str, *, annotator: str) -> TrainingRun:
    """Note that a training run, which was broken off, goes on.

    Raises
    ------
    UserError
        There is no such run, or it was kept or refused.
    """
    again = ("running", "cancelled", "failed")
    with project.write() as db:
        now = project.now(db)
        done = db.execute(
            update(_TABLE)
            .where(_TABLE.c.id == id, _TABLE.c.state.in_(again))
            .values(state="running", result=None, ended=None)
        )
        if done.rowcount != 1:
            raise UserError(f"no training run of id {id} was broken off")
        row = db.execute(select(_TABLE).where(_TABLE.c.id == id)).mappings().one()
        seed = row["settings"].get("seed")
        note(db, now, annotator, "resume", subject=id, model=_model(row), seed=seed)
    return _run(row)


def end_run(
    project: Project, id: str, outcome: Outcome, result: Mapping[str, Any]
) -> TrainingRun:
    """Note how a training run ended.

    The audit log takes the new version, its checksum and the gate's verdict, where the
    result holds them as `model`, `sha256` and `verdict`.

    Raises
    ------
    UserError
        There is no such run, or it has ended already.
    """
    with project.write() as db:
        now = project.now(db)
        done = db.execute(
            update(_TABLE)
            .where(_TABLE.c.id == id, _TABLE.c.state == "running")
            .values(state=outcome, result=dict(result), ended=now)
        )
        if done.rowcount != 1:
            raise UserError(f"no training run of id {id} is under way")
        rows = db.execute(select(_TABLE).where(_TABLE.c.id == id)).mappings()
        row = rows.one()
        note(
            db, now, row["annotator"], outcome, subject=id, model=_model(row),
            seed=row["settings"].get("seed"), details=_told(result),
        )  # fmt: skip
    return _run(row)


def _model(row: Row) -> tuple[str, str, str]:
    return row["model_id"], row["model_version"], row["model_sha256"]


def _told(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the audit log takes of a result; of the verdict, its sentence."""
    told = {name: result[name] for name in ("model", "sha256") if name in result}
    verdict = result.get("verdict")
    if isinstance(verdict, Mapping) and "sentence" in verdict:
        told["verdict"] = verdict["sentence"]
    return told


def training_runs(project: Project) -> tuple[TrainingRun, ...]:
    """Every training run of the project, the first first."""
    rows = select(_TABLE).order_by(_TABLE.c.started, _TABLE.c.id)
    with project.read() as db:
        return tuple(_run(row) for row in db.execute(rows).mappings())


def _run(row: Row) -> TrainingRun:
    return TrainingRun(
        id=row["id"],
        model=_model(row),
        state=row["state"],
        settings=row["settings"],
        cases=tuple(row["cases"]),
        result=row["result"],
        annotator=row["annotator"],
        started=moment(row["started"]),
        ended=None if row["ended"] is None else moment(row["ended"]),
    )
