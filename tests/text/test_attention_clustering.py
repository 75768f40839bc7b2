"""Attention clustering refinement, against loops and by what must not change."""

from __future__ import annotations

import math

import pytest
import torch

from diffseg.diffusion.attention_clustering import (
    Refinement,
    attention_clustering_refinement,
    cluster_affinity,
    cluster_tokens,
    grid_anchors,
    refine_attention,
    reliable,
    symmetric_kl,
)
from diffseg.errors import UserError

GRID = (6, 8)
N = GRID[0] * GRID[1]


def attention(batch=2, seed=0, sharp=3.0):
    """Rows that sum to 1, and attend in blocks that differ from image to image."""
    draw = torch.Generator().manual_seed(seed)
    places = torch.rand(batch, N, 4, generator=draw)
    noise = 0.3 * torch.rand(batch, N, N, generator=draw)
    return torch.softmax(sharp * (places @ places.transpose(1, 2) + noise), -1)


def slow_refinement(a, anchors, lloyd, rounds):
    """Steps 1 to 5 of one image, in loops and float64."""
    count = len(a)
    described = [[float(a[j, i]) or 1e-6 for j in range(count)] for i in range(count)]
    described = [[value + 1e-5 for value in row] for row in described]

    def divergence(p, q):
        ahead = sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
        back = sum(y * math.log(y / x) for x, y in zip(p, q, strict=True))
        return 0.5 * ahead + 0.5 * back

    centres = [described[i] for i in anchors.tolist()]
    for _ in range(lloyd):
        nearest = []
        for row in described:
            distances = [divergence(row, centre) for centre in centres]
            nearest.append(distances.index(min(distances)))
        kept = sorted(set(nearest))
        centres = []
        for k in kept:
            mine = [d for d, c in zip(described, nearest, strict=True) if c == k]
            centres.append([sum(v) / len(mine) for v in zip(*mine, strict=True)])
    related = torch.tensor([[x == y for y in nearest] for x in nearest]).double()
    refined = a.double()
    for _ in range(rounds):
        refined = related @ refined / related.sum(1, keepdim=True)
    return nearest, refined


@pytest.mark.parametrize("groups", [1, 4, 9])
def test_it_is_the_slow_one(groups):
    a = attention(seed=groups)
    anchors = grid_anchors(GRID, groups)
    clusters = cluster_tokens(a, anchors)
    refined = refine_attention(a, clusters, 3)
    for i in range(len(a)):
        nearest, expected = slow_refinement(a[i], anchors, 5, 3)
        own = cluster_affinity(clusters)[i]
        slow = torch.tensor([[x == y for y in nearest] for x in nearest])
        assert torch.equal(own, slow)
        torch.testing.assert_close(refined[i].double(), expected, atol=1e-6, rtol=1e-4)
    assert groups == 1 or len(clusters.unique()) > 1


def test_affinity_is_symmetric_with_a_diagonal_of_ones():
    related = cluster_affinity(cluster_tokens(attention(), grid_anchors(GRID, 9)))
    assert torch.equal(related, related.transpose(1, 2))
    assert related.diagonal(dim1=1, dim2=2).all()
    assert not related.all()


def test_rows_of_a_cluster_are_equal_and_sums_stay():
    a = attention()
    clusters = cluster_tokens(a, grid_anchors(GRID, 9))
    refined = refine_attention(a, clusters, 1)
    torch.testing.assert_close(refined.sum(-1), torch.ones(2, N))
    for i in range(2):
        for cluster in clusters[i].unique():
            rows = refined[i][clusters[i] == cluster]
            assert torch.equal(rows, rows[:1].expand_as(rows))
            expected = a[i][clusters[i] == cluster].mean(0)
            torch.testing.assert_close(rows[0], expected)


def test_what_is_constant_within_clusters_is_a_fixed_point():
    clusters = cluster_tokens(attention(), grid_anchors(GRID, 9))
    once = refine_attention(attention(), clusters, 1)
    torch.testing.assert_close(refine_attention(once, clusters, 3), once)


def test_tokens_may_change_places_with_their_anchors():
    a = attention()
    anchors = grid_anchors(GRID, 9)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    moved = a[:, order][:, :, order]
    place = torch.argsort(order)  # where a token went
    clusters = cluster_tokens(a, anchors)
    again = cluster_tokens(moved, place[anchors])
    assert torch.equal(again, clusters[:, order])
    expected = refine_attention(a, clusters)[:, order][:, :, order]
    torch.testing.assert_close(refine_attention(moved, again), expected)


def test_images_of_a_batch_do_not_meet():
    a = attention(batch=3)
    whole = attention_clustering_refinement(a, GRID)
    alone = attention_clustering_refinement(a[1:2], GRID)
    torch.testing.assert_close(whole[1:2], alone)


def test_blocks_are_found():
    kind = torch.arange(N) % GRID[1] // 4  # a left half and a right half
    a = torch.where(kind[:, None] == kind, 1.0, 0.0)[None] / (N / 2)
    clusters = cluster_tokens(a, grid_anchors(GRID, 4))
    expected = kind[:, None] == kind
    assert torch.equal(cluster_affinity(clusters)[0], expected)
    refined = attention_clustering_refinement(a, GRID)
    torch.testing.assert_close(refined, a)


def test_divergence_is_symmetric_and_zero_only_at_home():
    rows = attention()[:, :5] + 1e-5
    distance = symmetric_kl(rows, rows)
    torch.testing.assert_close(distance, distance.transpose(1, 2), atol=1e-6, rtol=0)
    assert distance.diagonal(dim1=1, dim2=2).max() < 1e-6
    p, q = rows[0, 0], rows[0, 1]
    expected = 0.5 * ((p * (p / q).log()).sum() + (q * (q / p).log()).sum())
    torch.testing.assert_close(distance[0, 0, 1], expected, atol=1e-6, rtol=1e-4)


def test_anchors_span_the_grid():
    assert grid_anchors((20, 20), 9).tolist() == [
        20 * y + x for y in (0, 10, 19) for x in (0, 10, 19)
    ]
    assert grid_anchors((5, 7), 1).tolist() == [2 * 7 + 3]
    assert grid_anchors((4, 6), 4).tolist() == [0, 5, 18, 23]
    for groups in (0, 8, 25):
        with pytest.raises(UserError, match="square number"):
            grid_anchors((4, 6), groups)


def test_the_released_code_makes_sixteen_anchors_of_nine():
    anchors = grid_anchors((20, 20), 9, stepped=True)
    steps = (0, 6, 12, 18)
    assert anchors.tolist() == [20 * y + x for y in steps for x in steps]


def test_the_threshold_drops_and_rows_sum_to_one_again():
    a = torch.tensor([[[0.7, 0.2, 0.1], [0.05, 0.04, 0.03], [0.0, 0.5, 0.5]]])
    kept = reliable(a, 0.2)
    expected = [[7 / 9, 2 / 9, 0], [5 / 12, 4 / 12, 3 / 12], [0, 0.5, 0.5]]
    torch.testing.assert_close(kept[0], torch.tensor(expected))
    assert torch.equal(reliable(a[:, [2]], 0.0), a[:, [2]])


def test_clusters_come_from_the_whole_map_and_the_threshold_from_the_settings():
    a = attention(sharp=9.0)
    how = Refinement(threshold=0.02)
    clusters = cluster_tokens(a, grid_anchors(GRID, 9))
    expected = refine_attention(reliable(a, 0.02), clusters)
    refined = attention_clustering_refinement(a, GRID, how)
    torch.testing.assert_close(refined, expected)
    none = attention_clustering_refinement(a, GRID, Refinement(rounds=0, threshold=0))
    torch.testing.assert_close(none, a)


def test_reliable_spread_reaches_further_each_round_but_not_beyond_the_cluster():
    line = torch.eye(4) + torch.diag(torch.ones(3), 1) + torch.diag(torch.ones(3), -1)
    a = (line / line.sum(1, keepdim=True))[None]
    clusters = torch.tensor([[0, 0, 0, 1]])
    once, twice = (refine_attention(a, clusters, r, a > 0) for r in (1, 2))
    assert once[0, 0, 3] == 0  # two steps away
    assert twice[0, 0, 3] > 0
    torch.testing.assert_close(twice.sum(-1), torch.ones(1, 4))
    torch.testing.assert_close(once[0, 3], a[0, 3])  # alone in its cluster
    nobody = refine_attention(a, clusters, 1, torch.zeros_like(a, dtype=torch.bool))
    torch.testing.assert_close(nobody, a)  # each token still relates to itself
    how = Refinement(spread="reliable", threshold=1e-2)
    refined = attention_clustering_refinement(attention(), GRID, how)
    torch.testing.assert_close(refined.sum(-1), torch.ones(2, N))


def test_a_cluster_that_is_lost_stays_lost():
    a = attention(batch=1)
    anchors = torch.tensor([0, 0, N - 1])  # the second one never wins
    clusters = cluster_tokens(a, anchors)
    assert set(clusters.unique().tolist()) == {0, 2}


def test_half_precision_is_computed_in_float32():
    a = attention()
    refined = attention_clustering_refinement(a.half(), GRID)
    assert refined.dtype == torch.float32
    expected = attention_clustering_refinement(a.half().float(), GRID)
    assert torch.equal(refined, expected)
