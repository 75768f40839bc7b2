"""The contrastive loss against a direct double loop, and its memory."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from diffseg_training.weak.contrast import contrastive_bytes, contrastive_loss


def example(count: int = 13) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    z = torch.randn(count, 4, generator=source, dtype=torch.float64)
    classes = torch.randint(0, 2, (count,), generator=source)
    classes[-1] = 2  # alone in its class
    return functional.normalize(z, dim=1), classes


def double_loop(z: Tensor, classes: Tensor, tau: float, balanced: bool) -> float:
    """Equation 2 of Khosla et al. 2020, read aloud."""
    each: dict[int, list[float]] = {}
    for i in range(len(z)):
        positives = [p for p in range(len(z)) if p != i and classes[p] == classes[i]]
        if not positives:
            continue
        below = sum(math.exp(float(z[i] @ z[a]) / tau) for a in range(len(z)) if a != i)
        terms = [
            math.log(math.exp(float(z[i] @ z[p]) / tau) / below) for p in positives
        ]
        each.setdefault(int(classes[i]), []).append(-sum(terms) / len(positives))
    means = [sum(one) / len(one) for one in each.values()]
    if balanced:
        return sum(means) / len(means)
    return sum(map(sum, each.values())) / sum(map(len, each.values()))


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_it_is_the_double_loop(tau: float, balanced: bool) -> None:
    z, classes = example()
    found = float(contrastive_loss(z, classes, tau, balanced=balanced))
    assert found == pytest.approx(double_loop(z, classes, tau, balanced), rel=1e-5)


def test_its_gradient_is_that_of_finite_differences() -> None:
    z, classes = example(6)
    raw = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(contrastive_loss(raw, classes, 0.5), raw)
    step = 1e-5
    for place in range(z.numel()):
        up, down = z.clone(), z.clone()
        up.view(-1)[place] += step
        down.view(-1)[place] -= step
        change = double_loop(up, classes, 0.5, False) - double_loop(
            down, classes, 0.5, False
        )
        found = float(gradient.view(-1)[place])
        assert found == pytest.approx(change / (2 * step), abs=1e-4)


def test_pixels_that_have_none_of_their_kind_leave_no_trace() -> None:
    for count, classes in ((1, [0]), (2, [0, 1]), (0, [])):
        z = torch.randn(count, 3, requires_grad=True)
        loss = contrastive_loss(z, torch.tensor(classes, dtype=torch.long), 0.1)
        loss.backward()
        assert float(loss.detach()) == 0
        assert z.grad is not None
        assert torch.isfinite(z.grad).all()


def test_its_memory_grows_with_the_pixels_alone() -> None:
    z, classes = torch.randn(300, 16, requires_grad=True), torch.arange(300) % 2
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = contrastive_loss(z, classes, 0.1)
    assert torch.isfinite(loss)
    assert sum(kept.values()) < contrastive_bytes(300) + 16 * 300 * 8
