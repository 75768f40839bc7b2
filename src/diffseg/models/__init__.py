"""Models on disk: a card and safetensors beside it. Listing loads without torch."""

from diffseg.models.folder import ModelFolder, read_folder, verify_model
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
    "ModelFolder",
    "add_model",
    "catalogue",
    "find_model",
    "home",
    "list_models",
    "load_weights",
    "read_folder",
    "remove_model",
    "save_model",
    "user_models",
    "verify_model",
]
