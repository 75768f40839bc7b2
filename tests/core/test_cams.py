"""Class activation maps against their formulas, and where they end."""

import numpy as np
import pytest
import torch
from monai.visualize import GradCAM
from torch import nn
from torch.nn import functional

from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg.segmenters.cams import SOURCES, cam_maps, raw_maps, unit_maps
from diffseg.segmenters.cams.choosing import (
    chosen_on_absent,
    chosen_on_masks,
    masks_of,
)
from diffseg.segmenters.cams.gradients import fused_layer_cam, grad_cam, layer_cam
from diffseg.segmenters.cams.masking import score_cam
from diffseg.segmenters.cams.sign import is_upside_down
from diffseg.segmenters.weak.thresholds import Threshold

SLICES = torch.rand(3, 1, 34, 48, generator=torch.Generator().manual_seed(3))


class TwoStages(nn.Module):
    """Maps that are the image times weights, a logit linear in their values."""

    classes = 2

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.last = nn.Parameter(torch.tensor([[1.0, -3.0], [0.5, 0.25]]))
        self.place = nn.Parameter(torch.linspace(-1, 1, 16).view(4, 4))

    def stages(self, image):
        fine = torch.stack([image[:, 0] * w for w in self.first], 1)
        return fine, functional.avg_pool2d(fine, 2)

    def answer(self, maps):
        weighed = (maps[-1] * self.place).mean((2, 3))  # (B, 2 maps)
        return weighed @ self.last.T


def picture(seed=0, count=2):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def enlarged(maps):
    return functional.interpolate(maps[:, None], (8, 8), mode="bilinear")[:, 0]


def test_grad_cam_is_what_a_hand_computes_of_a_linear_network():
    network, image = TwoStages(), picture()
    # By map k at pixel p: d logit_c / d A_k(p) = last[c, k] * place(p) / 16.
    for index in (0, 1):
        place = network.place.detach() + 0.5  # whose mean is not 0
        network.place.data = place
        maps = network.stages(image)[-1].detach()
        weights = network.last[index].detach() * place.mean() / 16
        by_hand = functional.relu((weights.view(1, 2, 1, 1) * maps).sum(1))
        found = grad_cam(network, image, index)
        torch.testing.assert_close(found, enlarged(by_hand))


def test_layer_cam_weighs_pixel_by_pixel_with_positive_gradients_alone():
    network, image = TwoStages(), picture(1)
    maps = network.stages(image)[-1].detach()
    slopes = network.last[0].detach().view(1, 2, 1, 1) * network.place.detach() / 16
    by_hand = (maps * functional.relu(slopes)).sum(1)
    torch.testing.assert_close(layer_cam(network, image, 0), enlarged(by_hand))


def test_fused_layer_cam_scales_shallow_stages_up_and_takes_the_largest():
    network, image = TwoStages(), picture(2)
    shares = []
    for stage in (0, 1):
        maps = network.stages(image)[stage].detach()
        place = network.place.detach() / 16
        if stage == 0:  # each of four pixels has a quarter of the pooled one's gradient
            place = place.repeat_interleave(2, 0).repeat_interleave(2, 1) / 4
        slopes = network.last[0].detach().view(1, 2, 1, 1) * place
        one = (maps * functional.relu(slopes)).sum(1)
        shares.append(torch.tanh(2 * one / one.amax((1, 2), keepdim=True)))
    by_hand = torch.maximum(shares[0], enlarged(shares[1]))
    found = fused_layer_cam(network, image, 0, stages=(0, 1))
    torch.testing.assert_close(found, by_hand)


def test_deep_stages_are_not_scaled_up():
    network = build_network("slice_classifier").eval()
    last = layer_cam(network, SLICES[:1], 0)
    assert float(last.max()) > 0
    found = fused_layer_cam(network, SLICES[:1], 0, stages=(3,))
    maps = network.stages(SLICES[:1])[-1]
    assert maps.shape[2:] == (2, 2)
    ratio = found / last.clamp_min(1e-12)
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0)


def test_score_cam_weighs_maps_by_the_image_seen_through_them():
    network, image = TwoStages(), picture(4, 1)
    maps = network.stages(image)[-1].detach()[0]
    scores = []
    for one in maps:
        full = enlarged(one[None])[0]
        mask = (full - full.min()) / (full.max() - full.min())
        black = image.min()
        seen = black + (image - black) * mask
        scores.append(network.answer(network.stages(seen))[0, 1].item())
    weights = torch.tensor(scores).softmax(0)
    by_hand = sum(w * enlarged(m[None]) for w, m in zip(weights, maps, strict=True))
    torch.testing.assert_close(score_cam(network, image, 1), by_hand)
    # No more maps than asked for: the stronger, twice the other, alone.
    alone = score_cam(network, image, 1, most=1)
    torch.testing.assert_close(alone, enlarged(maps[1:2]))


def test_grad_cam_is_monais():
    network = build_network("slice_classifier", classes=2, output_stride=16).eval()
    theirs = GradCAM(
        network,
        target_layers="backbone.body.layer4",
        upsampler=lambda size: nn.Upsample(size, mode="bilinear"),
        postprocessing=lambda maps: maps,
    )
    found = theirs(SLICES, class_idx=1)[:, 0]
    mine = grad_cam(network, SLICES, 1)
    torch.testing.assert_close(mine, found, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("source", [one for one in SOURCES if one != "score_cam"])
def test_every_source_gives_each_slice_a_map_of_its_own_in_0_to_1(source):
    torch.manual_seed(1)
    own = {"seam": "seam", "seam_raw": "seam", "ame_cam": "ame_cam"}
    own["local_map"] = "local_classifier"
    kind = own.get(source, "slice_classifier")
    network = build_network(kind, channels=1, classes=2).train()
    network.requires_grad_(False)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    maps = cam_maps(source, network, SLICES, 1, batch=2)
    assert maps.shape == (3, 34, 48)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert np.isfinite(maps).all()
    assert network.training, "the network is left in the mode that it was in"
    assert all((v == before[k]).all() for k, v in network.state_dict().items())
    alone = cam_maps(source, network, SLICES[2:].numpy(), 1)
    np.testing.assert_allclose(alone[0], maps[2], atol=2e-4)
    assert cam_maps(source, network, SLICES[:0]).shape == (0, 34, 48)


def test_maps_of_one_scale_keep_what_a_slice_lacks():
    network = build_network("slice_classifier").eval()
    raw = raw_maps("layer_cam", network, SLICES)
    scaled = cam_maps("layer_cam", network, SLICES, scale=float(2 * raw.max()))
    np.testing.assert_allclose(scaled, raw / (2 * raw.max()), rtol=1e-5)
    assert unit_maps(np.full((1, 4, 4), 7, np.float32)).max() == 0


def test_what_cannot_be_asked_is_told():
    network = build_network("slice_classifier")
    for source, said in (
        ("gradcam", "CAM 'gradcam' is not one of grad_cam.*did you mean 'grad_cam'"),
        ("seam", "CAM seam needs a network seam, not SliceClassifier"),
        ("ame_cam", "CAM ame_cam needs a network ame_cam, not SliceClassifier"),
    ):
        with pytest.raises(UserError, match=said):
            cam_maps(source, network, SLICES)
    with pytest.raises(UserError, match="structure 1 is not one of the classifier's 1"):
        cam_maps("grad_cam", network, SLICES, 1)
    with pytest.raises(UserError, match="Conv2d has no stages"):
        cam_maps("grad_cam", nn.Conv2d(1, 1, 1), SLICES)
    with pytest.raises(UserError, match="slices of 16 x 16 pixels are smaller"):
        cam_maps("grad_cam", network, SLICES[:, :, :16, :16])
    with pytest.raises(UserError, match="backbone 'vgg' is not one of"):
        build_network("slice_classifier", backbone="vgg")


def test_affinities_of_seam_are_of_alike_pixels_and_sum_to_one():
    torch.manual_seed(0)
    network = build_network("seam", output_stride=8).eval()
    image = torch.rand(1, 1, 64, 64)
    maps = network.stages(image)
    with torch.no_grad():
        affinity = network.affinity(image, maps)
    assert affinity.shape == (1, 64, 64)
    assert float(affinity.min()) >= 0
    torch.testing.assert_close(affinity.sum(1), torch.ones(1, 64), rtol=1e-3, atol=0)
    # A map that is the same everywhere stays so.
    flat = torch.full((1, 1, 8, 8), 0.3)
    torch.testing.assert_close(
        network.refined(flat, image, maps), flat, rtol=1e-3, atol=0
    )
    # Nothing goes back into the network but through the affinities' own weights.
    maps = network.stages(image)
    network.refined(flat, image, maps).square().sum().backward()
    assert network.mixed.weight.grad is not None
    assert network.backbone.body.conv1.weight.grad is None


def test_ame_cam_aggregates_within_the_exits_maps():
    torch.manual_seed(0)
    network = build_network("ame_cam", classes=2).eval()
    with torch.no_grad():
        exits = network.exit_maps(network.stages(SLICES))
        each, together = network.aggregated(SLICES, exits)
    assert each.shape == (3, 2, 4, 34, 48)
    assert (together <= each.amax(2) + 1e-6).all()
    assert (together >= each.amin(2) - 1e-6).all()
    assert (each.amin((3, 4)) == 0).all()
    maps = cam_maps("ame_cam", network, SLICES, 1)
    five = torch.cat([each[:, 1], together[:, 1, None]], 1).mean(1).numpy()
    np.testing.assert_allclose(maps, unit_maps(five), atol=1e-5)


def test_a_map_that_is_upside_down_is_noticed_without_a_mask():
    class Bright(nn.Module):
        classes = 1

        def stages(self, image):
            return (image,)

        def answer(self, maps):
            return maps[0].mean((1, 2, 3))[:, None]

    image = picture(5, 4)
    bright = image[:, 0].numpy()
    assert not is_upside_down(Bright(), image, bright)
    assert is_upside_down(Bright(), image, 1 - bright)


def blobs():
    y, x = np.mgrid[:16, :16]
    near = np.exp(-((y - 8) ** 2 + (x - 8) ** 2) / 20).astype(np.float32)
    maps = np.stack([near, near, near])
    masks = maps > 0.31
    masks[2] = False
    return maps, masks


def test_a_threshold_is_chosen_on_masks_of_slices_that_have_one():
    maps, masks = blobs()
    found = chosen_on_masks(maps, masks)
    assert found.threshold.kind == "fixed"
    assert found.threshold.value == pytest.approx(0.30, abs=0.021)
    assert found.on == "masks"
    assert found.slices == 2
    assert found.dice == pytest.approx(1, abs=0.02)
    assert "chosen on the masks of 2 slices of val" in found.told()
    share = chosen_on_masks(maps, masks, kinds=("percentile",)).threshold
    assert share.kind == "percentile"
    with pytest.raises(UserError, match="no mask of val has a voxel"):
        chosen_on_masks(maps, masks & False)


def test_a_threshold_is_chosen_on_slices_without_the_structure():
    quiet = np.linspace(0, 0.5, 1000, dtype=np.float32).reshape(1, 10, 100)
    found = chosen_on_absent(quiet, 0.1)
    assert found.threshold.value == pytest.approx(0.45, abs=0.001)
    assert "by image-level labels alone" in found.told()
    with pytest.raises(UserError, match="absent in no slice"):
        chosen_on_absent(quiet[:0])


def test_masks_are_empty_where_a_structure_is_absent():
    maps, _ = blobs()
    there = np.array([True, False, True])
    masks = masks_of(maps, Threshold(kind="otsu"), there)
    assert masks[0].any()
    assert not masks[1].any()
    assert masks_of(maps[:0], Threshold()).shape == (0, 16, 16)
    # A map in which nothing stands out has no mask, instead of all of the slice.
    assert not masks_of(np.ones((1, 4, 4), np.float32), Threshold(kind="otsu")).any()
