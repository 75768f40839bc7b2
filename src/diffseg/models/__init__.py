"""Models on disk: a card and safetensors beside it. Listing loads without torch."""

from diffseg.models.folder import ModelFolder, read_folder, verify_model
from diffseg.models.importing import Imported, import_published
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
from diffseg.models.weights import load_weights, save_model

__all__ = [
    "BrokenModel",
    "Catalogue",
    "Imported",
    "ModelFolder",
    "add_model",
    "catalogue",
    "convert_published",
    "find_model",
    "home",
    "import_published",
    "list_models",
    "load_weights",
    "published_kinds",
    "read_folder",
    "remove_model",
    "save_model",
    "user_models",
    "verify_model",
]
