"""Which models there are, and how their versions hang together; loads without torch."""

from diffseg.models import (
    ModelFolder,
    current_versions,
    find_model,
    list_models,
    parent_of,
    roll_back,
    tree_of,
)

__all__ = [
    "ModelFolder",
    "current_versions",
    "find_model",
    "list_models",
    "parent_of",
    "roll_back",
    "tree_of",
]
