"""Which models there are; loads without torch."""

from diffseg.models import ModelFolder, find_model, list_models

__all__ = ["ModelFolder", "find_model", "list_models"]
