"""Masks from image-level labels: what the weak methods share."""
