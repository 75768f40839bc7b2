"""One use case each, free of Qt and napari."""
