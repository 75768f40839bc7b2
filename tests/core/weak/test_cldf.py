"""The CLDF segmenter: labels, members, slices one after another, and model folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from beside import beside
from torch import nn

from diffseg import Request, Volume
from diffseg.domain import (
    ImageLabels,
    Sampling,
)
from diffseg.domain.slice_labels import ABSENT, PRESENT, UNKNOWN
from diffseg.errors import UserError
from diffseg.models import save_model
from diffseg.networks import build_network
from diffseg.networks.class_unet import ClassUNet
from diffseg.segmenters import Host, load_segmenter
from diffseg.segmenters.cldf import CLDF
from diffseg.segmenters.source import Slab
from diffseg.segmenters.weak.embedding import by_embedding
from diffseg.segmenters.weak.members import WeakMembers, levels_of

small = beside(__file__, "small_cldf")
card, network, CONFIG = small.card, small.network, small.CONFIG


def image(planes: int = 3, size: tuple[int, int] = (13, 18)) -> np.ndarray:
    return np.random.default_rng(0).random((1, planes, *size)).astype(np.float32)


def drawn(
    source: WeakMembers,
    shown: np.ndarray,
    members: int = 2,
    steps: int = 2,
    **rest: object,
) -> np.ndarray:
    """All members (M, K + 1, Z, Y, X), put together from their slabs."""
    slabs: dict[int, list[np.ndarray]] = {}
    for piece in source(shown, members=members, steps=steps, seed=3, **rest):  # type: ignore[arg-type]
        if isinstance(piece, Slab):
            slabs.setdefault(piece.start, []).append(piece.probability)
    return np.concatenate([np.stack(slabs[at]) for at in sorted(slabs)], axis=2)


def source(
    said: object = PRESENT, block: int = 10_000, **config: object
) -> WeakMembers:
    states = np.array([said], np.uint8) if np.ndim(said) == 0 else np.array(said)
    return WeakMembers(
        network(**config),
        card(),
        "cpu",
        by_embedding,
        said=states.astype(np.uint8),
        block_voxels=block,
    )


def test_members_are_probabilities_of_every_slice_and_differ() -> None:
    found = drawn(source(), image())
    assert found.shape == (2, 2, 3, 13, 18)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-4
    np.testing.assert_array_equal(drawn(source(), image()), found)


def test_blocks_and_batches_change_no_member() -> None:
    whole = drawn(source(), image())
    np.testing.assert_allclose(drawn(source(block=1), image()), whole, atol=1e-4)
    small = source()
    small.means = type(small.means)("cpu", batch=1)
    np.testing.assert_allclose(drawn(small, image()), whole, atol=1e-4)
    some = drawn(source(), image(), planes=range(1, 3))
    np.testing.assert_allclose(some, whole[:, :, 1:], atol=1e-4)


def test_no_feature_is_computed_of_an_absent_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    plain = ClassUNet.feature_maps

    def counted(self: nn.Module, x: torch.Tensor, *rest: object) -> object:
        asked.append(len(x))
        return plain(self, x, *rest)

    monkeypatch.setattr("diffseg.networks.class_unet.ClassUNet.feature_maps", counted)
    said = np.array([[ABSENT], [PRESENT], [ABSENT]])
    found = drawn(source(said), image(), members=1, steps=2)
    assert asked == [1, 1]  # one slice, at two noise levels
    assert (found[0, 0, [0, 2]] == 1).all()
    assert found[0, 1, 1].max() > 0


@pytest.mark.parametrize(("gate", "looked"), [(0.0, True), (1.01, False)])
def test_the_classifier_decides_where_nothing_is_said(
    gate: float, looked: bool
) -> None:
    found = drawn(source(UNKNOWN, gate=gate), image(), members=1)
    assert bool((found[0, 1] > 0).any()) is looked


def test_a_flipped_image_is_answered_the_right_way_round() -> None:
    said = np.array([[PRESENT], [ABSENT], [ABSENT]])
    flipping = WeakMembers(
        network(),
        card(flips=((), (0,))),
        "cpu",
        by_embedding,
        said=said.astype(np.uint8),
    )
    found = drawn(flipping, image())
    assert (found[:, 1, 0].max(axis=(1, 2)) > 0).all()
    assert (found[:, 1, 1:] == 0).all()


def test_members_take_subsets_of_the_noise_levels() -> None:
    levels = (10, 20, 30, 40, 50)
    taken = {levels_of(levels, 2, 0, member) for member in range(20)}
    assert len(taken) > 3
    assert all(len(one) == 2 and one == tuple(sorted(one)) for one in taken)
    assert levels_of(levels, 9, 0, 0) == levels


def test_several_classes_are_looked_for_where_they_are_present() -> None:
    net = network(classes=3)
    said = np.array([PRESENT, ABSENT, PRESENT], np.uint8)
    members = WeakMembers(net, card(("a", "b", "c")), "cpu", by_embedding, said=said)
    found = drawn(members, image(1))
    assert (found[:, 2] == 0).all()
    assert (found[:, [1, 3]].max(axis=(2, 3, 4)) > 0).all()


def test_the_classifiers_features_serve_too() -> None:
    found = drawn(source(features="classifier", blocks=(1, 3)), image(1))
    assert np.isfinite(found).all()


def test_a_residual_networks_features_serve_too() -> None:
    found = drawn(source(features="encoder", blocks=(0, 1)), image(1), members=1)
    assert np.isfinite(found).all()
    with pytest.raises(UserError, match="blocks are"):
        build_network("cldf", **CONFIG | {"features": "encoder", "blocks": (4,)})


def volume(planes: int) -> Volume:
    return Volume.from_array(image(planes)[0])


def segmenter(said_at: int = 1) -> CLDF:
    return CLDF(card(), network(), Host("cpu", 1))  # type: ignore[arg-type]


def test_a_proposal_is_empty_where_the_label_says_absent() -> None:
    labels = ImageLabels.parse("tumour=absent")
    proposal = segmenter().propose(Request(volume(2), labels=labels))
    assert not proposal.mask.any()
    assert not proposal.probability.any()


def test_a_slice_said_to_show_it_is_answered_whatever_the_classifier_says() -> None:
    labels = ImageLabels.parse("tumour")
    one = CLDF(card(), network(gate=1.01), Host("cpu", 1))  # type: ignore[arg-type]
    assert one.propose(Request(volume(1), labels=labels)).probability.any()
    assert not one.propose(Request(volume(1))).probability.any()
    # Of a volume the label says in no slice for sure that it is there.
    assert not one.propose(Request(volume(3), labels=labels)).probability.any()


def test_a_model_folder_is_loaded_and_proposes(tmp_path: Path) -> None:
    save_model(tmp_path / "model", card(), network().state_dict())
    loaded = load_segmenter(tmp_path / "model", device="cpu")
    proposal = loaded.propose(Request(volume(2)))
    assert proposal.mask.shape == (2, 13, 18)
    again = loaded.propose(Request(volume(2)))
    np.testing.assert_array_equal(again.probability, proposal.probability)


def test_a_card_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    net = network()
    for wrong, message in (
        (card(("a", "b")), "1 foreground classes, its card 2"),
        (card(tile=(8, 8)), "whole slices"),
        (
            card().model_copy(update={"sampling": Sampling(timesteps=100)}),
            "timestep 200, its schedule has 100",
        ),
    ):
        with pytest.raises(UserError, match=message):
            CLDF(wrong, net, Host("cpu", 1)).source()  # type: ignore[arg-type]
