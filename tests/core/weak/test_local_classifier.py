"""The classifier that sees small windows: how far it sees, and what it averages."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg.networks.local_classifier import (
    LocalClassifier,
    asymmetry,
    one_sided,
)
from diffseg.segmenters.cams import cam_maps, raw_maps
from diffseg_training.objectives.labels import begin_with

SLICES = torch.randn(3, 2, 96, 64, generator=torch.Generator().manual_seed(0))


def local(**more: object) -> LocalClassifier:
    torch.manual_seed(0)
    config = {"channels": 2, "classes": 2, "width": 8, **more}
    return cast("LocalClassifier", build_network("local_classifier", **config)).eval()


def test_it_sees_thirty_pixels() -> None:
    network = local(branches=2)
    changed = SLICES.clone()
    changed[:, :, 40:44, 28:32] += 3
    with torch.no_grad():
        before, after = (
            network.activations(network.stages(x)) for x in (SLICES, changed)
        )
    rows, columns = np.nonzero((before != after).any(1).any(0).numpy())
    assert rows.min() * 4 > 40 - 30
    assert rows.max() * 4 < 44 + 30
    assert columns.min() * 4 > 28 - 30
    assert columns.max() * 4 < 32 + 30
    assert len(rows) > 1


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_the_answer_is_the_mean_of_the_highest_share(share: float) -> None:
    network = local(share=share)
    with torch.no_grad():
        maps = network.activations(network.stages(SLICES)).flatten(2).numpy()
        answer = network(SLICES).numpy()
    count = int(share * maps.shape[2])
    wanted = np.sort(maps, axis=2)[:, :, -count:].mean(2)
    np.testing.assert_allclose(answer, wanted, atol=1e-6)


def test_branches_are_averaged_before_the_pooling() -> None:
    network = local(branches=2)
    with torch.no_grad():
        together = network.activations(network.stages(SLICES))
        alone = []
        for one in range(2):
            single = local()
            single.branches[0].load_state_dict(network.branches[one].state_dict())
            alone.append(single.activations(single.stages(SLICES)))
    torch.testing.assert_close(together, (alone[0] + alone[1]) / 2)


def test_its_map_ends_where_it_is_undecided() -> None:
    network = local()
    with torch.no_grad():
        places = network.activations(network.stages(SLICES))[:, 1]
    maps = raw_maps("local_map", network, SLICES, 1)
    assert maps.shape == (3, 96, 64)
    assert (maps >= 0).all()
    assert maps.max() <= max(float(places.max()), 0) + 1e-6
    # So that thresholds within it part what speaks for the structure.
    network.branches[0].head[1].bias.data -= 100
    assert (raw_maps("local_map", network, SLICES, 1) == 0).all()


def test_every_way_to_ask_where_takes_it() -> None:
    network = local()
    for source in ("grad_cam", "layer_cam", "layer_cam_stages", "score_cam_64"):
        maps = cam_maps(source, network, SLICES)
        assert maps.shape == (3, 96, 64)
        assert np.isfinite(maps).all()


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="share is 0"):
        local(share=0)
    with pytest.raises(UserError, match="branches is 0"):
        local(branches=0)
    other = build_network("slice_classifier", channels=2)
    with pytest.raises(UserError, match="needs a network local_classifier, not"):
        cam_maps("local_map", other, SLICES)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UserError, match="LocalClassifier has none: leave them out"):
        begin_with(local(), tmp_path)


def head(moved: int) -> torch.Tensor:
    """A drawn head that is alike left and right, off the slice's middle."""
    y, x = np.mgrid[:64, :80].astype(np.float32)
    x = np.abs(x - 39.5 - moved)
    inside = ((y - 32) / 28) ** 2 + (x / 24) ** 2 < 1
    drawn = np.where(inside, np.cos(y / 5) * 0.3 + np.sin(x / 4) * 0.4, -1)
    return torch.from_numpy(drawn.astype(np.float32))[None, None]


@pytest.mark.parametrize("moved", [0, 5, -9])
def test_a_head_that_is_alike_on_both_sides_has_no_asymmetry(moved: int) -> None:
    whole = head(moved)
    assert asymmetry(whole, blur=1).abs().max() < 1e-6
    ill = whole.clone()
    ill[..., 28:36, 50 + moved : 56 + moved] += 1
    found = asymmetry(ill, blur=1)[0, 0].numpy()
    rows, columns = np.nonzero(found > 0.9)
    assert (rows.min(), rows.max()) == (28, 35)
    assert (columns.min(), columns.max()) == (50 + moved, 55 + moved)
    # And as much is missing on the other side.
    assert (found < -0.9).sum() == (found > 0.9).sum()


def test_each_slice_has_its_own_mirror_image() -> None:
    both = torch.cat([head(6), head(-7)])
    both[1, :, 20:24, 20:24] += 1
    apart = torch.cat([asymmetry(one[None]) for one in both])
    torch.testing.assert_close(asymmetry(both), apart)


def test_what_both_sides_have_is_not_seen() -> None:
    network = local(channels=1, classes=1, mirror=True)
    plain, other = head(4), head(4)
    other[..., 10:54, 39:49] += 0.5  # along the middle, as wide ventricles are
    seen = one_sided(torch.cat([plain, other]))
    assert seen.shape == (2, 2, 64, 80)
    middle = seen[1, 1, 20:44, 41:47]
    assert middle.abs().max() < 0.2  # of 1.7 that the slice has there
    ill = plain.clone()
    ill[..., 28:36, 52:60] += 1
    kept = one_sided(ill)[0, 1, 30:34, 54:58]
    torch.testing.assert_close(kept, ill[0, 0, 30:34, 54:58] + 1, atol=1e-3, rtol=0)
    with torch.no_grad():
        answers = network(torch.cat([plain, other, ill]))[:, 0]
    assert abs(answers[1] - answers[0]) < abs(answers[2] - answers[0])
