"""Attention clustering refinement (ACR): tokens that attend alike share one row.

DiCLIP, section III-C, equations 4 to 6. An attention map says of each of N tokens how
much it attends to each other one. Tokens that are attended to alike are clustered, and
what the tokens of a cluster attend to is averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffseg.errors import UserError

Spread = Literal["cluster", "reliable"]
_TINY = 1e-6  # of an attention that is 0, so that its logarithm exists
_SOFTEN = 1e-5  # added to every attention before logarithms are compared


@dataclass(frozen=True, slots=True)
class Refinement:
    """How an attention map is clustered and refined; defaults are the paper's.

    Parameters
    ----------
    groups : int
        Clusters asked for, a square number of anchors on a regular grid.
    stepped : bool
        Whether the anchors stand where the released code's do; see `grid_anchors`.
    lloyd : int
        Iterations of the clustering.
    threshold : float
        Attention below it is no relation to rely on (the paper's xi); 0 keeps all.
    rounds : int
        Of the refinement; 0 clusters nothing and leaves the map, thresholded.
    spread : {"cluster", "reliable"}
        Over which tokens of its cluster a row is averaged: over all, as the released
        code does, whose second round then finds nothing to change; or over those it
        attends to reliably, so that every round reaches further within the cluster.
    """

    groups: int = 9
    stepped: bool = False
    lloyd: int = 5
    threshold: float = 5e-4
    rounds: int = 3
    spread: Spread = "cluster"


def grid_anchors(
    grid: tuple[int, int], groups: int, *, stepped: bool = False
) -> Tensor:
    """Indices (K,) of tokens spread evenly over a grid, its corners among them.

    Parameters
    ----------
    grid : (int, int)
        Rows and columns of the tokens.
    groups : int
        K, a square number; 1 is the token in the middle.
    stepped : bool
        From the first token on in steps that are rounded down, as the released code
        goes: on 20 x 20 tokens it then makes 16 anchors where 9 are asked for, none of
        them in the last row or column.

    Raises
    ------
    UserError
        `groups` is no square number, or the grid is smaller than its root.
    """
    side = round(groups**0.5)
    if groups < 1 or side * side != groups or min(grid) < side:
        raise UserError(
            f"groups is {groups}; on {grid[0]} x {grid[1]} tokens give a square number "
            f"up to {min(grid) ** 2}"
        )
    rows, columns = (
        torch.arange(0, extent, extent // side) if stepped else _spread(extent, side)
        for extent in grid
    )
    return (rows[:, None] * grid[1] + columns).flatten()


def _spread(extent: int, count: int) -> Tensor:
    if count == 1:
        return torch.tensor([(extent - 1) // 2])
    return torch.linspace(0, extent - 1, count, dtype=torch.float64).round().long()


def symmetric_kl(rows: Tensor, centres: Tensor) -> Tensor:
    """Half the sum of both Kullback-Leibler divergences.

    Of rows (B, N, D) and centres (B, K, D), (B, N, K):
    ``0.5 sum_d (a_d - x_d)(log a_d - log x_d)``, also of rows that do not sum to 1;
    never negative. All entries are positive.
    """
    log_rows, log_centres = rows.log(), centres.log()
    own = (rows * log_rows).sum(-1)[:, :, None]
    others = (centres * log_centres).sum(-1)[:, None]
    mixed = rows @ log_centres.transpose(1, 2) + log_rows @ centres.transpose(1, 2)
    return ((own + others - mixed) / 2).clamp(min=0)


def cluster_tokens(attention: Tensor, anchors: Tensor, iterations: int = 5) -> Tensor:
    """Cluster tokens by who attends to them (Lloyd's algorithm, equation 4).

    Parameters
    ----------
    attention : (B, N, N) Tensor
        Not negative; row i is what token i attends to, and a token is described by its
        column. Computed in float32.
    anchors : (K,) or (B, K) Tensor of int
        Tokens whose columns are the first centres.
    iterations : int
        At least 1. A cluster that loses all its tokens is dropped.

    Returns
    -------
    (B, N) Tensor of int
        Cluster of each token, from 0 to K - 1.
    """
    columns = attention.float().transpose(1, 2)
    columns = torch.where(columns > 0, columns, _TINY) + _SOFTEN
    start = anchors.to(columns.device).expand(len(columns), -1)
    centres = torch.take_along_dim(columns, start[:, :, None], 1)
    lost = torch.zeros_like(start, dtype=torch.bool)
    clusters = start.new_zeros(columns.shape[:2])
    for _ in range(iterations):
        distance = symmetric_kl(columns, centres)
        clusters = distance.masked_fill(lost[:, None], torch.inf).argmin(-1)
        members = _members(clusters, centres.shape[1])
        sizes = members.sum(1)
        lost = sizes == 0
        means = members.transpose(1, 2) @ columns / sizes.clamp(min=1)[:, :, None]
        centres = torch.where(lost[:, :, None], centres, means)
    return clusters


def _members(clusters: Tensor, count: int) -> Tensor:
    """Which token is whose, (B, N) -> (B, N, K) float32 of 0 and 1."""
    own = torch.arange(count, device=clusters.device)
    return (clusters[:, :, None] == own).float()


def cluster_affinity(clusters: Tensor) -> Tensor:
    """Whether two tokens are of one cluster, (B, N) -> (B, N, N) bool (equation 5)."""
    return clusters[:, :, None] == clusters[:, None]


def reliable(attention: Tensor, threshold: float) -> Tensor:
    """Attention (B, N, N) without what is below `threshold`; every row sums to 1 again.

    A row without anything above stays as it is, but for its sum.
    """
    strong = attention * (attention >= threshold)
    kept = torch.where(strong.sum(-1, keepdim=True) > 0, strong, attention)
    return kept / kept.sum(-1, keepdim=True).clamp(min=1e-30)


def refine_attention(
    attention: Tensor,
    clusters: Tensor,
    rounds: int = 3,
    related: Tensor | None = None,
) -> Tensor:
    """Average rows of an attention map over tokens of one cluster (equation 6).

    ``A <- W A`` with ``W = L / rowsum(L)``, where L tells of two tokens whether they
    are of one cluster, and, with `related`, whether one relates to the other besides.

    Parameters
    ----------
    attention : (B, N, N) Tensor
    clusters : (B, N) Tensor of int
        Not negative.
    rounds : int
        Without `related` one does all: the rows of a cluster are equal after it.
    related : (B, N, N) Tensor of bool, optional
        Every token relates to itself whatever it says.

    Returns
    -------
    (B, N, N) Tensor
        Rows that all sum to the same still do.
    """
    if rounds < 1:
        return attention
    if related is None:
        members = _members(clusters, int(clusters.max()) + 1).to(attention)
        sizes = members.sum(1)[:, :, None].clamp(min=1)
        return members @ (members.transpose(1, 2) @ attention / sizes)
    self = torch.eye(attention.shape[-1], dtype=torch.bool, device=attention.device)
    weights = (cluster_affinity(clusters) & (related | self)).to(attention)
    weights = weights / weights.sum(-1, keepdim=True)
    for _ in range(rounds):
        attention = weights @ attention
    return attention


def attention_clustering_refinement(
    attention: Tensor, grid: tuple[int, int], settings: Refinement | None = None
) -> Tensor:
    """Refine attention maps as DiCLIP does.

    Parameters
    ----------
    attention : (B, N, N) Tensor
        Not negative; N tokens on `grid`, row by row.
    grid : (int, int)
        Rows and columns.
    settings : Refinement, optional
        The paper's without.

    Returns
    -------
    (B, N, N) float32 Tensor
        Each row sums to 1.
    """
    how = settings or Refinement()
    attention = attention.float()
    kept = reliable(attention, how.threshold)
    if how.rounds < 1:
        return kept
    anchors = grid_anchors(grid, how.groups, stepped=how.stepped)
    clusters = cluster_tokens(attention, anchors, how.lloyd)
    related = kept > 0 if how.spread == "reliable" else None
    return refine_attention(kept, clusters, how.rounds, related)
