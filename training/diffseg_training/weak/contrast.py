"""Supervised contrastive loss of pixels (Khosla et al. 2020, equation 2; CLDF's 1)."""

from __future__ import annotations

import torch
from torch import Tensor


def contrastive_loss(
    embeddings: Tensor,
    classes: Tensor,
    temperature: float,
    *,
    balanced: bool = False,
) -> Tensor:
    """Pixels of one class are drawn together, those of different classes apart.

    ``L = -1/N sum_i 1/|P(i)| sum_{p in P(i)} log( exp(z_i.z_p / tau) / sum_{a != i}
    exp(z_i.z_a / tau) )``, where P(i) are the other pixels of i's class. A pixel that
    is alone in its class has no say. It takes the memory of N x N numbers, whatever
    the size of the slices that the N pixels were drawn from.

    Parameters
    ----------
    embeddings : (N, E) Tensor
        Of length 1.
    classes : (N,) int64 Tensor
    temperature : float
        tau.
    balanced : bool
        Whether every class weighs the same, in place of every pixel.

    Returns
    -------
    () float32 Tensor
    """
    z = embeddings.float()
    count = len(z)
    if count < 2:
        return z.sum() * 0
    itself = torch.eye(count, dtype=torch.bool, device=z.device)
    alike = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
    log_share = alike - alike.logsumexp(1, keepdim=True)
    positive = (classes[:, None] == classes[None]) & ~itself
    number = positive.sum(1)
    each = -torch.where(positive, log_share, torch.zeros_like(log_share)).sum(1)
    each = each / number.clamp(min=1)
    counted = number > 0
    if not balanced:
        return each[counted].sum() / counted.sum().clamp(min=1)
    means = [each[(classes == c) & counted] for c in torch.unique(classes)]
    means = [one.mean() for one in means if len(one)]
    return torch.stack(means).mean() if means else each.sum() * 0


def contrastive_bytes(pixels: int) -> int:
    """Bytes that the loss of so many pixels holds for its gradient, about."""
    return 5 * 4 * pixels**2
