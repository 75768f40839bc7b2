"""Keys of a model's visual cache, looked at and dropped; loads without torch.

What reads them is imported once it is asked for: few windows ever do.
"""

from __future__ import annotations

from collections.abc import Sequence

from diffseg.domain.cache_keys import CacheKey
from diffseg.models import ModelFolder


def read_keys(model: ModelFolder) -> tuple[CacheKey, ...]:
    """Read the keys of a model; see `diffseg.segmenters.text.model_keys`."""
    from diffseg.segmenters.text import model_keys

    return model_keys.read_keys(model)


def drop_keys(model: ModelFolder, indices: Sequence[int]) -> ModelFolder:
    """Make a version without some keys; see `diffseg.segmenters.text.model_keys`."""
    from diffseg.segmenters.text import model_keys

    return model_keys.drop_keys(model, indices)
