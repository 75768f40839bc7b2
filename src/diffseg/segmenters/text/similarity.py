"""How much each patch of an image is like each text: pure functions over tensors.

B images, N patches, K texts, E the width of the space that CLIP's towers share.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_LEAST = 1e-8
_ROUNDING = 1e-6  # of the largest value; such differences are no map


def mean_direction(embeddings: Tensor) -> Tensor:
    """Mean direction (E,), of length 1, of embeddings (n, E) of any lengths."""
    mean = functional.normalize(embeddings, dim=-1).mean(dim=0)
    return functional.normalize(mean, dim=0)


def min_max(values: Tensor, dim: int = 1) -> Tensor:
    """Stretch values along one dimension to [0, 1]; where all are the same, to 0."""
    low, high = values.amin(dim, keepdim=True), values.amax(dim, keepdim=True)
    span = high - low
    least = (_ROUNDING * torch.maximum(low.abs(), high.abs())).clamp(min=_LEAST)
    return torch.where(span > least, (values - low) / span.clamp(min=_LEAST), 0.0)


def cosine_similarity(patches: Tensor, texts: Tensor) -> Tensor:
    """Cosine of every patch with every text.

    Parameters
    ----------
    patches : (B, N, E) Tensor
    texts : (K, E) Tensor

    Returns
    -------
    (B, N, K) Tensor
        Range -1 to 1.
    """
    return functional.normalize(patches, dim=-1) @ functional.normalize(texts, dim=-1).T


def cosine_cam(patches: Tensor, texts: Tensor) -> Tensor:
    """Patch-text activation map of the paper (DiCLIP, eq. 1).

    The positive part of the cosine, stretched to [0, 1] for each image and text. That
    makes the map of a class that is not there as bright as any other: look at those of
    classes that are present alone.

    Parameters
    ----------
    patches : (B, N, E) Tensor
    texts : (K, E) Tensor

    Returns
    -------
    (B, N, K) Tensor
        Range 0 to 1; 0 where a text is like no patch, or like all the same.
    """
    return min_max(cosine_similarity(patches, texts).relu())


def surgery_cam(
    patches: Tensor, class_token: Tensor, texts: Tensor, classes: int
) -> Tensor:
    """Patch-text activation map of DiCLIP's released code, after CLIP Surgery.

    Every channel is normalised over an image's tokens, the class token among them, and
    not every token over its channels. Texts that the whole image is like weigh more;
    what a token has in common with all texts is taken away, which is why background
    words must be among them; and tokens are stretched to [0, 1], the class token still
    among them.

    Parameters
    ----------
    patches : (B, N, E) Tensor
        Projected, of any length.
    class_token : (B, E) Tensor
        In the same space.
    texts : (T, E) Tensor
        Of length 1, the classes first, then background words; with one text alone
        nothing is left.
    classes : int
        K, of which maps are returned.

    Returns
    -------
    (B, N, K) Tensor
        Range 0 to 1; 0 where a text is like all tokens the same.
    """
    scores = surgery_scores(patches, class_token, texts)
    return min_max(scores)[:, 1:, :classes]


def surgery_scores(patches: Tensor, class_token: Tensor, texts: Tensor) -> Tensor:
    """Likeness (B, 1 + N, T) of all tokens, class token first, before any stretching.

    The weight of a text is its share in softmax(2 c tT), c the class token, over the
    mean share. See `surgery_cam` for the parameters.
    """
    tokens = channel_normalised(torch.cat([class_token[:, None], patches], dim=1))
    weight = (2 * tokens[:, :1] @ texts.T).softmax(dim=-1)
    weight = weight / weight.mean(dim=-1, keepdim=True)
    weighted = weight * (tokens @ texts.T)
    return weighted - weighted.mean(dim=-1, keepdim=True)


def channel_normalised(tokens: Tensor) -> Tensor:
    """Tokens (B, T, E) with each channel of length 1 over an image's tokens."""
    return functional.normalize(tokens, dim=1)
