"""The napari plugin: everything that knows Qt or napari, nothing that knows torch."""
