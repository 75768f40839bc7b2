"""How an attention map from elsewhere joins a network's own; loads without torch."""

from __future__ import annotations

from enum import StrEnum


class Fusion(StrEnum):
    """How a map A joins an attention S, after S's softmax (DiCLIP, eq. 7, table XII).

    It concerns the patches alone: rows and columns of class tokens are left as they
    are. w is the weight.
    """

    ADD = "add"
    """S + w A: the paper's choice."""
    NORMALISED = "normalised"
    """softmax(S + w A), over the whole row: smooths both."""
    MULTIPLIED = "multiplied"
    """S w A, element by element (the paper's scaling)."""
    GATED = "gated"
    """w A where A is over its image's mean, S elsewhere."""
    DIFFUSION = "diffusion"
    """w A alone."""
    CLIP = "clip"
    """S alone; no map is needed."""
