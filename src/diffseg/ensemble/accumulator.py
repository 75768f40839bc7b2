"""Members come one at a time; their consensus does not depend on the order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.ensemble.entropy import entropy, mutual_information, normalised_entropy
from diffseg.errors import DiffsegError

# Sums are kept in fixed point: adding integers is exact, so that not even a tie
# between two classes is decided by which member came first. 2**48 resolves
# 4e-15 and leaves room in 64 bits for the entropies of `MOST_MEMBERS` members.
_ONE = 2.0**48
MOST_MEMBERS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class EnsembleSummary:
    """What all members say together.

    Parameters
    ----------
    probability : (K, Z, Y, X) float32 ndarray
        Mean over members, or another consensus (`agreed`), background at 0.
    classes : (Z, Y, X) uint8 ndarray
        Class of the largest probability; the lower index wins a tie.
    uncertainty : (Z, Y, X) float32 ndarray in [0, 1]
        Entropy of the mean over K classes, divided by ``log K``.
    mutual_information : (Z, Y, X) float32 ndarray in [0, 1], or None
        The part of it that comes from members disagreeing, divided by
        ``log K`` as well; None with one member.
    member_classes : (M, Z, Y, X) uint8 ndarray
        Class of the largest probability in each member, in order of arrival.
    """

    probability: NDArray[np.float32]
    classes: NDArray[np.uint8]
    uncertainty: NDArray[np.float32]
    mutual_information: NDArray[np.float32] | None
    member_classes: NDArray[np.uint8]

    @property
    def mutual_information_mean(self) -> float | None:
        """Mean over voxels of the mutual information; None with one member."""
        if self.mutual_information is None:
            return None
        return float(self.mutual_information.mean(dtype=np.float64))


class Accumulator:
    """Running sums over members, so that their probabilities need not be held.

    Parameters
    ----------
    n_classes : int
        K, background included; 2 to 256.
    shape : (Z, Y, X)
    """

    def __init__(self, n_classes: int, shape: tuple[int, int, int]) -> None:
        if not 2 <= n_classes <= 256:
            raise ValueError(f"{n_classes} classes; background and 1 to 255 others")
        self._probability = np.zeros((n_classes, *shape), dtype=np.int64)
        self._entropy = np.zeros(shape, dtype=np.int64)
        self._member_classes: list[NDArray[np.uint8]] = []

    @property
    def members(self) -> int:
        """How many members have been added."""
        return len(self._member_classes)

    def add(self, member: NDArray[np.floating[Any]]) -> None:
        """Add one member's probability.

        Parameters
        ----------
        member : (K, Z, Y, X) ndarray in [0, 1], background at 0

        Raises
        ------
        ValueError
            The shape is not the accumulator's, or it is full.
        DiffsegError
            A probability is NaN or outside [0, 1].
        """
        if member.shape != self._probability.shape:
            raise ValueError(
                f"member is {member.shape}, others {self._probability.shape}"
            )
        if self.members == MOST_MEMBERS:
            raise ValueError(f"at most {MOST_MEMBERS} members")
        # Written so that NaN, which compares false, is refused as well.
        if not (member.min() >= 0 and member.max() <= 1 + 1e-5):
            raise DiffsegError(
                f"member {self.members}: the network gave probabilities that are "
                "NaN or outside [0, 1]; try another device or number of steps"
            )
        for total, share in zip(self._probability, member, strict=True):
            total += _fixed(share)
        self._entropy += _fixed(entropy(member))
        self._member_classes.append(member.argmax(axis=0).astype(np.uint8))

    def so_far(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Classes and uncertainty of `summary`, without the rest of its cost."""
        probability = self._mean()
        classes = probability.argmax(axis=0).astype(np.uint8)
        return classes, normalised_entropy(probability)

    def summary(self) -> EnsembleSummary:
        """Consensus of the members added so far; `ValueError` without any."""
        probability = self._mean()
        information = None
        if self.members > 1:
            mean_entropy = self._entropy / (_ONE * self.members)
            information = mutual_information(probability, mean_entropy)
        return EnsembleSummary(
            probability=probability,
            # From what is handed out, so that anyone's argmax of it agrees.
            classes=probability.argmax(axis=0).astype(np.uint8),
            uncertainty=normalised_entropy(probability),
            mutual_information=information,
            member_classes=np.stack(self._member_classes),
        )

    def _mean(self) -> NDArray[np.float32]:
        if not self._member_classes:
            raise ValueError("no member was added")
        mean = self._probability / (_ONE * self.members)
        return mean.astype(np.float32)


def consensus(members: Iterable[NDArray[np.floating[Any]]]) -> EnsembleSummary:
    """Summarise members that are at hand; see `Accumulator`.

    Parameters
    ----------
    members : iterable of (K, Z, Y, X) ndarrays, or (M, K, Z, Y, X) ndarray

    Raises
    ------
    ValueError
        There is no member, or their shapes differ.
    """
    accumulator: Accumulator | None = None
    for member in members:
        if accumulator is None:
            n_classes, *shape = member.shape
            accumulator = Accumulator(n_classes, (shape[0], shape[1], shape[2]))
        accumulator.add(member)
    if accumulator is None:
        raise ValueError("no member was given")
    return accumulator.summary()


def _fixed(values: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    scaled: NDArray[np.float64] = np.multiply(values, _ONE, dtype=np.float64)
    return np.rint(scaled, out=scaled).astype(np.int64)
