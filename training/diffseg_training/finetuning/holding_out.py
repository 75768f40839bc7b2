"""Which patients are held out, so that a child is not judged by what it learnt."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

from diffseg.errors import UserError
from diffseg.project import store
from diffseg_training.finetuning.gathering import Candidate, named
from diffseg_training.finetuning.job import RunJob


def choose(
    project: store.Project,
    job: RunJob,
    known: Sequence[Candidate],
    *,
    share: float,
    learnt: frozenset[str],
    before: frozenset[str],
) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...]]:
    """Cases to learn from, and those held out; no patient is among both.

    Parameters
    ----------
    share : float
        Of the patients with a case reviewed to its end, to hold out.
    learnt : frozenset of str
        Ids of cases that the parent learnt from here: they cannot judge it.
    before : frozenset of str
        Ids of cases that were held out before: they come first again.

    Raises
    ------
    UserError
        Nothing to learn from, or nothing to judge by.
    """
    if not known:
        raise UserError(
            "no case of the project is corrected or accepted: correct some, or accept "
            "their proposals, then fine-tune"
        )
    wanted = named(project, job.cases, known)
    judges = named(project, job.hold_out, known)
    if judges:
        check_judges(judges, learnt)
        shared = {one.group for one in judges} & {one.group for one in wanted}
        if shared:
            raise UserError(
                "a patient is among the cases to learn from and among those to judge "
                "by: name each patient once"
            )
    else:
        taken = frozenset(one.group for one in wanted)
        groups = drawn_groups(
            known, share=share, seed=job.seed, learnt=learnt, before=before, taken=taken
        )
        judges = tuple(one for one in known if one.whole and one.group in groups)
    apart = {one.group for one in judges}
    learners = wanted or tuple(one for one in known if one.group not in apart)
    if not learners:
        raise UserError(
            "every patient is held out: there is no case to learn from; correct cases "
            "of another patient"
        )
    return learners, judges


def check_judges(judges: Sequence[Candidate], learnt: frozenset[str]) -> None:
    """Refuse held-out cases that cannot judge.

    Raises
    ------
    UserError
        A case is not reviewed to its end, or the parent learnt from it.
    """
    for one in judges:
        if not one.whole:
            raise UserError(
                f"case {one.case.name!r} is not reviewed to its end and cannot judge: "
                "finish its review, or hold out another"
            )
        if one.case.id in learnt:
            raise UserError(
                f"the model has learnt from case {one.case.name!r} already, which "
                "cannot judge it: hold out another"
            )


def drawn_groups(
    known: Sequence[Candidate],
    *,
    share: float,
    seed: int,
    learnt: frozenset[str],
    before: frozenset[str],
    taken: frozenset[str],
) -> frozenset[str]:
    """Draw the patients to hold out.

    The order is that of a hash under the seed, so that a patient who comes into the
    project later does not move the others; who was held out before comes first.

    Parameters
    ----------
    share : float
        Of the patients with a case reviewed to its end; at least one is drawn, and
        one is left to learn from.
    taken : frozenset of str
        Groups of the cases that the user wants to learn from; empty: all others.

    Raises
    ------
    UserError
        No patient can be held out.
    """
    tainted = {one.group for one in known if one.case.id in learnt}
    held = {one.group for one in known if one.case.id in before}
    whole = {one.group for one in known if one.whole}
    able = sorted(
        whole - tainted - taken,
        key=lambda group: (group not in held, _key(seed, group)),
    )
    every = {one.group for one in known}
    most = len(able) if taken else min(len(able), len(every) - 1)
    if most < 1:
        raise UserError(
            "there is no held-out case to judge by: review a case of one more patient "
            "to its end, or name one that the model has not learnt from (--hold-out)"
        )
    return frozenset(able[: min(most, max(1, math.ceil(share * len(whole))))])


def in_draw(groups: Iterable[str], seed: int) -> tuple[str, ...]:
    """Patients in an order that a seed draws; who comes later moves no other."""
    return tuple(sorted(groups, key=lambda group: _key(seed, group)))


def _key(seed: int, group: str) -> str:
    return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()
