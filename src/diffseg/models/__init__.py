"""Models on disk: a card and safetensors beside it. Listing loads without torch."""

from diffseg.models.folder import ModelFolder, read_folder, verify_model
from diffseg.models.importing import Imported, import_published
from diffseg.models.lineage import Branch, parent_of, reference_of, tree_of
from diffseg.models.published import convert_published, published_kinds
from diffseg.models.registry import (
    BrokenModel,
    Catalogue,
    add_model,
    catalogue,
    find_model,
    home,
    list_models,
    remove_model,
    user_models,
)
from diffseg.models.rollback import current_versions, make_current, roll_back
from diffseg.models.weights import load_weights, save_model

__all__ = [
    "Branch",
    "BrokenModel",
    "Catalogue",
    "Imported",
    "ModelFolder",
    "add_model",
    "catalogue",
    "convert_published",
    "current_versions",
    "find_model",
    "home",
    "import_published",
    "list_models",
    "load_weights",
    "make_current",
    "parent_of",
    "published_kinds",
    "read_folder",
    "reference_of",
    "remove_model",
    "roll_back",
    "save_model",
    "tree_of",
    "user_models",
    "verify_model",
]
