"""Refinements of class maps, against loops over pixels and by what must not change."""

from __future__ import annotations

import math

import pytest
import torch

from diffseg.errors import UserError
from diffseg.segmenters.refining.neighbours import ring_offsets, shifted, window_offsets
from diffseg.segmenters.refining.pixels import pixel_affinity, refine_by_pixels
from diffseg.segmenters.text.crf import Field, refine_by_field
from diffseg.segmenters.text.diffusion_refinement import (
    refine_by_attention,
    transition,
    walk,
)


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def halves(rows=8, columns=12):
    """An image whose left half is dark and whose right half is bright."""
    image = torch.full((1, 1, rows, columns), 0.2)
    image[..., columns // 2 :] = 0.8
    return image


# The walk along attention


def attention(batch=2, tokens=6, seed=0):
    return torch.softmax(4 * random(batch, tokens, tokens, seed=seed), -1)


def test_a_transition_by_hand():
    a = attention()
    for i in range(2):
        expected = torch.zeros(6, 6)
        for row in range(6):
            for column in range(6):
                share = float(a[i, row, column] / a[i, :, column].max())
                bent = share + 0.02 * math.log10(math.e * share)
                expected[row, column] = max(bent, 0)
            expected[row] /= expected[row].sum()
        torch.testing.assert_close(transition(a)[i], expected)


def test_a_transition_drops_the_weakest_and_leaves_nobody_lost():
    a = torch.tensor([[[1.0, 1e-3, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    steps = transition(a)
    assert steps[0, 0, 1] == 0  # 1e-3 + 0.02 log10(e 1e-3) is below 0
    assert steps[0, 2].tolist() == [0, 0, 1]
    torch.testing.assert_close(steps.sum(-1), torch.ones(1, 3))
    assert transition(a, sharpening=0)[0, 0, 1] > 0


def test_a_walk_by_hand():
    steps, maps = transition(attention()), random(2, 3, 6, seed=1)
    walked = walk(maps, steps, 2)
    for i in range(2):
        for k in range(3):
            x = [float(v) for v in maps[i, k]]
            for step in range(3):
                if step:
                    x = [
                        sum(float(steps[i, m, n]) * x[n] for n in range(6))
                        for m in range(6)
                    ]
                x = [v - min(x) for v in x]
                x = [v / sum(x) for v in x]
            torch.testing.assert_close(
                walked[i, k], torch.tensor(x), atol=1e-6, rtol=1e-4
            )


def test_a_walk_keeps_sums_and_a_constant_map_says_nothing():
    steps = transition(attention())
    walked = walk(random(2, 3, 6), steps, 10)
    torch.testing.assert_close(walked.sum(-1), torch.ones(2, 3))
    assert (walked >= 0).all()
    flat = torch.full((2, 1, 6), 0.3)
    torch.testing.assert_close(flat @ steps.transpose(1, 2), flat)
    assert not walk(flat, steps, 10).any()


def test_a_walk_does_not_leave_its_block():
    block = (torch.arange(16) % 4 < 2).float()
    a = (block[:, None] == block).float()[None] / 8
    maps = torch.zeros(1, 1, 4, 4)
    maps[0, 0, 1, 0] = 1
    refined = refine_by_attention(maps, a, (4, 4), (4, 4), iterations=5)
    assert torch.equal(refined[0, 0], block.view(4, 4))


def test_refined_maps_lie_between_0_and_1_on_any_grid():
    maps = random(2, 3, 5, 7)
    refined = refine_by_attention(maps, attention(tokens=12), (3, 4), (9, 8))
    assert refined.shape == (2, 3, 9, 8)
    assert torch.equal(refined.amin((2, 3)), torch.zeros(2, 3))
    assert torch.equal(refined.amax((2, 3)), torch.ones(2, 3))
    same = refine_by_attention(
        torch.full((1, 1, 3, 4), 0.4), attention(1, 12), (3, 4), (6, 8)
    )
    assert not same.any()


# Neighbours


def test_neighbours_are_where_they_are_said_to_be():
    assert len(ring_offsets((1, 2))) == 16
    assert (-2, 2) in ring_offsets((1, 2))
    assert window_offsets(1) == ring_offsets((1,))
    assert set(window_offsets(5, 2)) == {
        (y, x) for y in (-4, -2, 0, 2, 4) for x in (-4, -2, 0, 2, 4)
    } - {(0, 0)}
    field = random(1, 2, 4, 5)
    for offset in [(0, 1), (-2, 3), (9, -9), (3, 0)]:
        near, none = (
            shifted(field, offset, mode) for mode in ("replicate", "constant")
        )
        for y in range(4):
            for x in range(5):
                v, w = y + offset[0], x + offset[1]
                inside = 0 <= v < 4 and 0 <= w < 5
                clamped = field[0, :, min(max(v, 0), 3), min(max(w, 0), 4)]
                assert torch.equal(near[0, :, y, x], clamped)
                assert torch.equal(none[0, :, y, x], clamped * inside)


# Pixel-adaptive refinement


def slow_pixels(maps, image, dilations, iterations, weight):
    """One image (C, Y, X) and its maps (K, Y, X), pixel by pixel, in float64."""
    maps, image = maps.double(), image.double()
    channels, rows, columns = image.shape
    offsets = [
        (y * far, x * far)
        for far in dilations
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
        if y or x
    ]
    far = torch.tensor([math.hypot(*offset) for offset in offsets]).double()
    near = torch.softmax(-((far / (far.std() + 1e-8) / 0.3) ** 2), 0)

    def beside(field, y, x):
        at = [
            (min(max(y + v, 0), rows - 1), min(max(x + w, 0), columns - 1))
            for v, w in offsets
        ]
        return torch.stack([field[:, v, w] for v, w in at])

    for _ in range(iterations):
        new = torch.zeros_like(maps)
        for y in range(rows):
            for x in range(columns):
                values = beside(image, y, x)
                width = values.std(0) + 1e-8
                far_off = (values - image[:, y, x]).abs() / width / 0.3
                likeness = torch.softmax(-(far_off**2).sum(1) / channels, 0)
                weights = (likeness + weight * near) / (1 + weight)
                new[:, y, x] = (weights[:, None] * beside(maps, y, x)).sum(0)
        maps = new
    return maps


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pixels_are_refined_as_in_loops(channels):
    image, maps = random(2, channels, 6, 5), random(2, 2, 6, 5, seed=1)
    refined = refine_by_pixels(maps, image, iterations=2, dilations=(1, 2))
    for i in range(2):
        slow = slow_pixels(maps[i], image[i], (1, 2), 2, 0.01)
        torch.testing.assert_close(refined[i].double(), slow, atol=1e-5, rtol=1e-4)


def test_affinities_sum_to_one_and_what_is_constant_stays():
    image = random(2, 3, 9, 7)
    weights = pixel_affinity(image, ring_offsets((1, 2, 4)))
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 9, 7))
    flat = torch.full((2, 1, 9, 7), 0.3)
    torch.testing.assert_close(refine_by_pixels(flat, image), flat)
    classes = torch.softmax(random(2, 4, 9, 7, seed=2), 1)
    total = refine_by_pixels(classes, image).sum(1)
    torch.testing.assert_close(total, torch.ones(2, 9, 7), atol=1e-4, rtol=0)


def test_an_edge_stops_the_spreading():
    maps = torch.zeros(1, 1, 8, 12)
    maps[0, 0, 4, 1] = 1
    refined = refine_by_pixels(
        maps, halves(), dilations=(1, 2), iterations=20, place_weight=0.0
    )[0, 0]
    assert refined[:, 6:].max() < 1e-6
    assert refined[:, :6].min() > 1e-4
    # Without an edge it arrives.
    free = refine_by_pixels(
        maps, torch.zeros(1, 1, 8, 12), dilations=(1, 2), iterations=20
    )
    assert free[0, 0, :, 6:].max() > 1e-3


def test_ranges_do_not_count_and_maps_may_be_small():
    image, maps = random(1, 3, 12, 12), random(1, 2, 4, 4)
    first = refine_by_pixels(maps, image, iterations=3)
    assert first.shape == (1, 2, 12, 12)
    grown = refine_by_pixels(maps, 255 * image + 7, iterations=3)
    torch.testing.assert_close(first, grown, atol=1e-4, rtol=1e-3)
    for dilations in ((), (0, 1)):
        with pytest.raises(UserError, match="dilations"):
            refine_by_pixels(maps, image, dilations=dilations)


# The random field


def slow_field(probabilities, image, how):
    """Mean field of one image, (K, Y, X) and (C, Y, X), over pairs of pixels."""
    classes, rows, columns = probabilities.shape
    pixels = [(y, x) for y in range(rows) for x in range(columns)]
    smooth, alike = torch.zeros(2, len(pixels), len(pixels)).double()
    reach = max(round(3 * how.smooth_sigma), 1)
    for i, (y, x) in enumerate(pixels):
        for j, (v, w) in enumerate(pixels):
            if i == j:
                continue
            tall, wide = abs(y - v), abs(x - w)
            squared = tall**2 + wide**2
            if max(tall, wide) <= reach:
                smooth[i, j] = math.exp(-squared / (2 * how.smooth_sigma**2))
            on_grid = tall % how.spacing == 0 and wide % how.spacing == 0
            if max(tall, wide) <= how.radius and on_grid:
                colour = float(((image[:, y, x] - image[:, v, w]) ** 2).sum())
                alike[i, j] = math.exp(
                    -squared / (2 * how.place_sigma**2)
                    - colour / (2 * how.colour_sigma**2)
                )
    message = torch.zeros_like(smooth)
    for weight, kernel in ((how.smooth_weight, smooth), (how.colour_weight, alike)):
        scale = kernel.sum(1).clamp(min=1e-20) ** -0.5
        message += weight * scale[:, None] * kernel * scale
    unary = probabilities.double().clamp(min=1e-6).log().flatten(1)
    answer = torch.softmax(unary, 0)
    for _ in range(how.iterations):
        answer = torch.softmax(unary + answer @ message.T, 0)
    return answer.view(classes, rows, columns)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_field_is_that_of_pairs_of_pixels(channels):
    how = Field(iterations=3, colour_sigma=0.4, place_sigma=3.0, radius=4, spacing=2)
    image = random(2, channels, 5, 6)
    probabilities = torch.softmax(random(2, 3, 5, 6, seed=1), 1)
    refined = refine_by_field(probabilities, image, how)
    for i in range(2):
        slow = slow_field(probabilities[i], image[i], how)
        torch.testing.assert_close(refined[i].double(), slow, atol=1e-5, rtol=1e-4)


def test_a_field_keeps_sums_and_what_is_even():
    image = random(2, 3, 12, 14)
    probabilities = torch.softmax(3 * random(2, 3, 12, 14, seed=1), 1)
    refined = refine_by_field(probabilities, image)
    torch.testing.assert_close(refined.sum(1), torch.ones(2, 12, 14))
    even = torch.full((2, 4, 12, 14), 0.25)
    torch.testing.assert_close(refine_by_field(even, image), even)
    swapped = refine_by_field(probabilities.flip(1), image)
    torch.testing.assert_close(swapped.flip(1), refined)


def test_a_field_cleans_up_to_an_edge_and_not_beyond():
    draw = torch.Generator().manual_seed(0)
    truth = (torch.arange(12) >= 6).float().expand(8, 12)
    flips = (torch.rand(8, 12, generator=draw) < 0.15).float()
    seen = (truth - flips).abs() * 0.4 + 0.3
    probabilities = torch.stack([1 - seen, seen])[None]
    refined = refine_by_field(probabilities, halves())[0, 1]
    assert flips.any()
    assert torch.equal((refined > 0.5).float(), truth)


def test_fields_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="resize"):
        refine_by_field(random(1, 2, 4, 4), random(1, 3, 4, 5))
    for wrong in ({"colour_sigma": 0.0}, {"radius": 2, "spacing": 3}, {"spacing": 0}):
        with pytest.raises(UserError, match="random field"):
            Field(**wrong)
