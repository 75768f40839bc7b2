"""Fingerprints in numbers: where masks are lost, and in which order of data sets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from diffseg.diffusion import noise_schedule
from diffseg.diffusion.fingerprint_use import TOLERANCE
from diffseg_training.fingerprint import Fingerprint

SHARES = (0.1, 0.5, 0.9)
"""Of the prior's error, at which the table and the picture tell the noise level."""
CONVERGED = 1 - TOLERANCE
"""Share of the prior's error from which on nothing is left of a mask."""


def whole_prior(one: Fingerprint) -> float:
    """Error of the best guess that sees nothing, on the masks that were measured.

    That of the masks learned from, in a file that does not tell it.
    """
    held_out = one.prior_error_held_out
    return one.prior_error if held_out is None else held_out


def reached(one: Fingerprint, share: float) -> float:
    """Log SNR at which the error has risen to a share of the prior's error.

    The curve is taken without its dips, and straight between its points.

    Returns
    -------
    float
        inf where it is above that already at the first noise level measured, -inf
        where it never comes there.
    """
    curve = one.curve().rising()
    wanted = share * whole_prior(one)
    if curve.error[0] >= wanted:
        return math.inf
    after = int(np.searchsorted(curve.error, wanted))
    if after == len(curve.error):
        return -math.inf
    pair = slice(after - 1, after + 1)
    return float(np.interp(wanted, curve.error[pair], curve.log_snr[pair]))


def last_share(one: Fingerprint) -> float:
    """Error at the last timestep of the published schedule, a share of the prior's."""
    curve = one.curve().rising()
    return float(curve.at(schedule_levels(one)[-1:])[0]) / whole_prior(one)


def order(fingerprints: Mapping[str, Fingerprint]) -> tuple[str, ...]:
    """Names of data sets, that whose masks are lost first at the head.

    Where the errors pass half of their prior's; where two do not, by the other shares.
    """
    places = {
        name: [reached(one, share) for share in (0.5, 0.1, 0.9)]
        for name, one in fingerprints.items()
    }
    return tuple(sorted(places, key=lambda name: places[name], reverse=True))


def fingerprint_table(fingerprints: Mapping[str, Fingerprint]) -> str:
    """The order of data sets as a Markdown table, and the files' own warnings."""
    heads = (
        *("data", "prior's error"),
        *(f"log SNR at {share:.0%}".replace("%", " %") for share in SHARES),
        *("converged at the last timestep", "steps", "refine at log SNR"),
    )
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [
        f"| {' | '.join(_cells(name, fingerprints[name]))} |"
        for name in order(fingerprints)
    ]
    noted = [
        f"- {name}: {text}" for name, o in fingerprints.items() for text in o.warnings
    ]
    return "\n".join([*lines, *([""] if noted else []), *noted])


def _cells(name: str, one: Fingerprint) -> Iterator[str]:
    curve = one.curve()
    yield name
    yield f"{whole_prior(one):.4f}"
    for share in SHARES:
        level = reached(one, share)
        if math.isinf(level):
            first, last = curve.log_snr[0], curve.log_snr[-1]
            yield f"above {first:.1f}" if level > 0 else f"below {last:.1f}"
        else:
            yield f"{level:.1f}"
    at_last = last_share(one)
    yield f"{'yes' if at_last >= CONVERGED else 'no'}, {100 * at_last:.0f} %"
    yield str(one.recommended.steps)
    yield f"{one.recommended.refine_log_snr:.1f}"


def schedule_levels(one: Fingerprint) -> NDArray[np.float64]:
    """Log SNR of every timestep of the published schedule, of a mask in [0, 1]."""
    levels = noise_schedule(one.schedule, one.timesteps).log_snr()
    return np.asarray(levels.numpy(), dtype=np.float64)
