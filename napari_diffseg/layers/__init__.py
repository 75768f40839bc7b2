"""Between napari's layers and the nouns of the domain."""
