"""A local classifier beside the decoder: what it adds, and from which slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from beside import beside
from torch import Tensor

from diffseg.domain.slice_labels import ABSENT, PRESENT, UNKNOWN
from diffseg.networks.cldf import Cldf
from diffseg.networks.local_classifier import LocalClassifier
from diffseg.segmenters.source import Slab
from diffseg.segmenters.weak.embedding import by_embedding
from diffseg.segmenters.weak.local import local_maps
from diffseg.segmenters.weak.members import WeakMembers

small = beside(__file__, "small_cldf")
LOCAL = {"local": {"width": 4, "share": 0.2}, "local_weight": 0.5}
Z = 7


def maps() -> Tensor:
    return torch.randn(Z, 2, 3, 4, generator=torch.Generator().manual_seed(0))


def of(planes: Sequence[int]) -> Tensor:
    return maps()[list(planes)]


def said(*absent: tuple[int, int]) -> np.ndarray:
    states = np.full((Z, 2), PRESENT, np.uint8)
    for plane, index in absent:
        states[plane, index] = ABSENT
    return states


def test_a_map_is_the_weighed_mean_of_those_around_it() -> None:
    found, wanted = local_maps(of, said(), range(Z), 1.0), torch.zeros(Z, 2, 3, 4)
    for plane in range(Z):
        total = 0.0
        for other in range(Z):
            if abs(plane - other) <= 3:
                weight = np.exp(-0.5 * (plane - other) ** 2)
                wanted[plane] += weight * maps()[other]
                total += weight
        wanted[plane] /= total
    torch.testing.assert_close(found, wanted)


def test_slices_without_the_class_have_no_say_in_its_map() -> None:
    found = local_maps(of, said((2, 0), (3, 0)), range(Z), 1.0)
    loud = maps()
    loud[2:4, 0] += 100
    other = local_maps(lambda p: loud[list(p)], said((2, 0), (3, 0)), range(Z), 1.0)
    for plane in (0, 1, 4, 5, 6):
        torch.testing.assert_close(found[plane, 0], other[plane, 0])
    # Of the other class they show it, and speak.
    whole = local_maps(of, said(), range(Z), 1.0)
    torch.testing.assert_close(found[:, 1], whole[:, 1])
    assert not torch.allclose(found[4, 0], whole[4, 0])


def test_without_a_deviation_each_speaks_for_itself() -> None:
    torch.testing.assert_close(local_maps(of, said(), [5, 1], 0.0), maps()[[5, 1]])


def test_some_planes_are_those_of_the_whole() -> None:
    whole = local_maps(of, said((1, 0)), range(Z), 0.8)
    some = local_maps(of, said((1, 0)), [4, 3], 0.8)
    torch.testing.assert_close(some, whole[[4, 3]])


def image(planes: int = 6) -> np.ndarray:
    source = np.random.default_rng(0)
    return source.random((1, planes, 16, 20)).astype(np.float32)


def network(**config: object) -> Cldf:
    net = small.network(**{**LOCAL, **config})
    assert isinstance(net, Cldf)
    return net


def drawn(
    net: Cldf, state: int = PRESENT, block: int = 10_000, **more: object
) -> np.ndarray:
    """One member's probabilities (K + 1, Z, Y, X)."""
    states = np.array([state], np.uint8)
    made = WeakMembers(
        net, small.card(), "cpu", by_embedding, said=states, block_voxels=block
    )
    pieces = made(image(), members=1, steps=2, seed=0, **more)  # type: ignore[arg-type]
    slabs = [piece for piece in pieces if isinstance(piece, Slab)]
    return np.concatenate([piece.probability for piece in slabs], axis=1)


def odds(found: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(found[1]) - np.log(found[0]))


def test_its_log_odds_are_added_weighed() -> None:
    with_it = network(iterations=0, temperature=1.0)
    without = network(iterations=0, temperature=1.0, local_weight=0.0)
    added = odds(drawn(with_it)) - odds(drawn(without))
    assert with_it.local is not None
    slices = torch.from_numpy(image()[0])[:, None]
    with torch.no_grad():
        told = with_it.local.activations(with_it.local.stages(slices))
        full = torch.nn.functional.interpolate(told, (16, 20), mode="bilinear")
    np.testing.assert_allclose(added, 0.5 * full[:, 0].numpy(), atol=1e-3)


def test_neighbours_are_the_same_whatever_is_drawn_together() -> None:
    loud = {"local_weight": 20.0, "temperature": 1.0}
    net = network(local_slices=1.0, **loud)
    whole = drawn(net)
    alone = drawn(network(**loud))
    assert np.abs(odds(whole) - odds(alone)).max() > 0.01
    np.testing.assert_allclose(drawn(net, block=1), whole, atol=1e-4)
    some = drawn(net, planes=range(2, 4))
    np.testing.assert_allclose(some, whole[:, 2:4], atol=1e-4)


def test_it_looks_at_a_slice_once_whatever_the_members(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[int] = []
    plain = LocalClassifier.stages

    def counted(self: LocalClassifier, shown: Tensor) -> tuple[Tensor, ...]:
        looked.append(len(shown))
        return plain(self, shown)

    monkeypatch.setattr(LocalClassifier, "stages", counted)
    states = np.array([PRESENT], np.uint8)
    made = WeakMembers(network(), small.card(), "cpu", by_embedding, said=states)
    slabs = [
        piece
        for piece in made(image(), members=3, steps=2, seed=0)
        if isinstance(piece, Slab)
    ]
    assert len(slabs) == 3
    assert sum(looked) == 6


@pytest.mark.parametrize(("bias", "there"), [(9.0, True), (-9.0, False)])
def test_it_says_what_slices_show_where_nobody_has(bias: float, there: bool) -> None:
    net = network()
    assert net.local is not None
    for branch in net.local.branches:
        torch.nn.init.constant_(branch.head[1].bias, bias)
    net.classifier.register_forward_hook(lambda *_: pytest.fail("it was asked"))
    assert bool((drawn(net, UNKNOWN)[1] > 0).any()) is there


def test_without_log_odds_nothing_can_be_added() -> None:
    with pytest.raises(TypeError, match="temperature is 0"):
        small.network(**LOCAL, temperature=0.0)
