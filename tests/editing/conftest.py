"""Small masks, and a change made in a copy of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from diffseg.domain import Change


def made(values: Any, change: Change) -> np.ndarray:
    """The mask after a change, which must tell what stood there before."""
    after = values.copy()
    assert (after[change.indices] == change.before).all()
    assert (change.before != change.after).all()
    after[change.indices] = change.after
    return after


@pytest.fixture
def apply() -> Callable[..., np.ndarray]:
    return made


@pytest.fixture(params=range(4))
def blobs(request: pytest.FixtureRequest) -> np.ndarray:
    """Three classes of irregular pieces, with holes and islands."""
    rng = np.random.default_rng(request.param)
    field = ndimage.gaussian_filter(rng.normal(size=(3, 13, 17, 15)), (0, 1, 1, 1))
    best = field.argmax(axis=0).astype(np.uint8) + 1
    best[field.max(axis=0) < 0.09] = 0
    assert set(np.unique(best)) == {0, 1, 2, 3}
    return best
