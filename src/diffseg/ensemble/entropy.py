"""Entropies of class probabilities, and classes that are known to be absent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def entropy(probability: Floats) -> NDArray[np.float64]:
    """Shannon entropy over the first axis, in nats; ``0 log 0`` is 0.

    Parameters
    ----------
    probability : (K, ...) ndarray in [0, 1]

    Returns
    -------
    (...) float64 ndarray in [0, log K].
    """
    total = np.zeros(probability.shape[1:])
    for share in probability:  # class by class: one class of temporaries at a time
        positive = np.where(share > 0, share, 1).astype(np.float64)
        total -= positive * np.log(positive)
    return np.clip(total, 0, np.log(len(probability)))


def normalised_entropy(probability: Floats) -> NDArray[np.float32]:
    """Entropy over the first axis divided by the logarithm of its length.

    Parameters
    ----------
    probability : (K, ...) ndarray in [0, 1], K at least 2
        Background and foreground classes.

    Returns
    -------
    (...) float32 ndarray in [0, 1]: 0 certain, 1 all classes alike.
    """
    return _normalised(entropy(probability), len(probability))


def mutual_information(
    probability: Floats, mean_entropy: NDArray[np.float64]
) -> NDArray[np.float32]:
    """The part of the predictive entropy that comes from members disagreeing.

    Entropy of the mean minus the mean of the members' entropies, clipped at 0
    (Depeweg et al., 2018; Smith & Gal, 2018), divided by ``log K`` so that it
    is a part of `normalised_entropy` on the same scale.

    Parameters
    ----------
    probability : (K, ...) ndarray
        Mean probability over members.
    mean_entropy : (...) ndarray
        Mean over members of their own `entropy`, in nats.

    Returns
    -------
    (...) float32 ndarray in [0, 1].
    """
    return _normalised(entropy(probability) - mean_entropy, len(probability))


def forbid(probability: Floats, class_indices: Iterable[int]) -> NDArray[np.float32]:
    """Set classes that are known to be absent to 0 and renormalise the others.

    Parameters
    ----------
    probability : (K, ...) ndarray in [0, 1]
        Background at 0.
    class_indices : iterable of int
        Indices into the first axis, from 1 to K - 1.

    Returns
    -------
    (K, ...) float32 ndarray that sums to 1; voxels with nothing left are
    background.

    Raises
    ------
    ValueError
        An index is not that of a foreground class.
    """
    allowed = np.array(probability, dtype=np.float32)
    for index in class_indices:
        if not 1 <= index < len(allowed):
            raise ValueError(
                f"class {index} is not a foreground class of {len(allowed)}"
            )
        allowed[index] = 0
    total = allowed.sum(axis=0)
    nothing = total == 0
    allowed[0][nothing] = 1
    total[nothing] = 1
    # Twice, as the quotient by a subnormal total is coarse.
    allowed /= total
    allowed /= allowed.sum(axis=0)
    return allowed


def _normalised(nats: NDArray[np.float64], n_classes: int) -> NDArray[np.float32]:
    if n_classes < 2:
        raise ValueError("entropy is over background and at least one class")
    share: NDArray[np.float64] = np.clip(nats / np.log(n_classes), 0, 1)
    return share.astype(np.float32)
