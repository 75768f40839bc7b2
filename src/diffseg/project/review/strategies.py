"""Which candidate comes next: cases, or the slices of one.

What is here builds on `diffseg.ensemble.routing_order`, which holds the orders
themselves; `docs/calibration.md` measures them against each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from diffseg.ensemble.routing import Candidate
from diffseg.ensemble.routing_order import STRATEGIES, Order, by_diversity
from diffseg.errors import UserError, nearest

STRATIFIED = "stratified"
"""Structures in turns, doubtful, unlike what was taken, with a noise that decays."""
ORDERS: tuple[str, ...] = (STRATIFIED, *STRATEGIES)
DEFAULT = STRATIFIED
_REMEMBERED = 50  # reviewed candidates that the next need not resemble
_CAREFUL = 50  # places that are chosen one by one
_HALVED = 20  # reviewed candidates after which the noise is half as strong


def ordered(
    candidates: Sequence[Candidate],
    strategy: str = DEFAULT,
    seed: int = 0,
    taken: Sequence[Candidate] = (),
) -> Order:
    """Put candidates in order.

    ``stratified`` follows ClaSP PE (2026): classes take turns, and the logarithm of a
    candidate's quality gets noise, which decays as more is known. The quality is
    `by_diversity`'s, ``2 log(1 - expected Dice) + log d^2``, and the noise Gumbel's
    with scale ``1 / (1 + n / 20)`` after n reviewed candidates: the draw of power
    sampling, ``p ~ quality^(1 + n / 20)``. It keeps a batch from being filled with
    the same kind of case, and a wrong expectation from deciding alone.

    Parameters
    ----------
    candidates : sequence of Candidate
        With a number of the same structures each.
    strategy : str
        One of `ORDERS`.
    seed : int
        Of whatever is drawn; the order follows from it and the candidates.
    taken : sequence of Candidate
        Those that were reviewed, in order; ``diverse`` and ``stratified`` need not
        resemble the last 50 of them. They choose the first 50 candidates one by one;
        those after them follow by expected Dice.

    Returns
    -------
    tuple of int
        A permutation of the candidates.

    Raises
    ------
    UserError
        There is no such strategy.
    """
    checked(strategy)
    if strategy not in (STRATIFIED, "diverse"):
        return STRATEGIES[strategy](candidates, seed)
    noise = 1 / (1 + len(taken) / _HALVED) if strategy == STRATIFIED else 0.0
    return by_diversity(candidates, seed, taken[-_REMEMBERED:], noise, _CAREFUL)


def checked(strategy: str) -> str:
    """Return a strategy's name; `UserError` tells the known ones."""
    if strategy not in ORDERS:
        raise UserError(
            f"there is no strategy {strategy!r}{nearest(strategy, ORDERS)}; choose one "
            f"of {', '.join(ORDERS)}",
            option="--strategy",
        )
    return strategy
