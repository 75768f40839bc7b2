"""What a key of the cache says of each class: its value (DiCLIP, equation 10)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Weighting = Literal["text", "one_hot", "softmax"]


def one_hot(classes: NDArray[np.integer[Any]], count: int) -> Floats:
    """Rows (M, K + 1) of 0 and 1 for class indices (M,), background 0."""
    rows: Floats = (classes[:, None] == np.arange(count + 1)).astype(np.float32)
    return rows


def values_of(
    keys: Floats,
    classes: NDArray[np.integer[Any]],
    texts: Floats,
    background: Floats | None = None,
    *,
    weighting: Weighting = "text",
) -> Floats:
    """What each key says of background and of each class.

    Parameters
    ----------
    keys : (M, E) float32 ndarray
    classes : (M,) int ndarray
        0 background, 1 to K the foreground classes.
    texts : (K, E) float32 ndarray
        Text embeddings of the foreground classes, of length 1.
    background : (E,) float32 ndarray, optional
        Mean text embedding of what the background may show; ``"softmax"`` needs it.
    weighting : {"text", "one_hot", "softmax"}
        ``"text"``, the paper: one-hot, times the cosine of key and class text for a
        foreground key; a background key is plain one-hot, since what it shows varies.
        A key that is opposed to its class's text has a negative value. ``"one_hot"``:
        1 for every key, as in the paper's ablation. ``"softmax"``, the published code:
        the products of keys with the texts of background and classes, as a softmax
        over the keys, column by column; every key then says something of every class,
        whatever its own.

    Returns
    -------
    (M, K + 1) float32 ndarray
        Background first. Of ``"text"`` and ``"one_hot"``, a row depends on its own key
        alone; of ``"softmax"``, on all of them.

    Raises
    ------
    ValueError
        ``"softmax"`` without `background`.
    """
    own = one_hot(classes, len(texts))
    if weighting == "one_hot":
        return own
    if weighting == "softmax":
        if background is None:
            raise ValueError("weighting softmax needs the text of the background")
        return _softmax_over_keys(keys @ np.vstack([background, texts]).T)
    cosine = _unit(keys) @ _unit(texts).T
    own[:, 1:] *= cosine
    return own


def _softmax_over_keys(products: Floats) -> Floats:
    """Softmax (M, C) over the keys; a product of exactly 0 has no share."""
    if not len(products):
        return products
    # The code masks zeros, which products with one-hot rows would have had.
    raised = np.where(products == 0, -np.inf, products.astype(np.float64))
    highest = raised.max(axis=0, keepdims=True)
    grown = np.exp(raised - np.where(np.isfinite(highest), highest, 0))
    total = grown.sum(axis=0, keepdims=True)
    divided = np.divide(grown, total, out=np.zeros_like(grown), where=total > 0)
    shares: Floats = divided.astype(np.float32)
    return shares


def _unit(rows: Floats) -> Floats:
    """Rows of length 1; a row of zeros stays."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = (rows / np.where(length > 0, length, 1)).astype(np.float32)
    return unit
