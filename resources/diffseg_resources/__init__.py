"""Data that ships with napari-diffseg: recipes, model cards, weights. No code."""
