"""Fingerprints of data sets: measured, written, drawn, and read into a recipe."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from diffseg.diffusion import noise_schedule
from diffseg.diffusion.fingerprint import RecoveryCurve
from diffseg.domain import ModelCard
from diffseg.errors import UserError
from diffseg.models import save_model
from diffseg.networks import build_network
from diffseg.progress import run
from diffseg_training.dataset import load_dataset
from diffseg_training.fingerprint import (
    Fingerprint,
    Origin,
    read_fingerprint,
    write_fingerprint,
)
from diffseg_training.fingerprint_advice import told
from diffseg_training.fingerprint_masks import (
    chosen_planes,
    held_out,
    iter_masks,
    mask_channels,
    mean_mask,
    resized,
)
from diffseg_training.fingerprint_plots import draw_fingerprint, draw_fingerprints
from diffseg_training.fingerprint_run import Wanted, iter_fingerprint
from diffseg_training.loss_curve import draw_losses, iter_loss_curve, trained_network
from diffseg_training.recipe import load_recipe

PNG = b"\x89PNG"
QUICK = (
    "length.steps=2",
    "length.validations=1",
    "network={name: compact_unet, dims: 2, channels: [4, 4], member_channels: [4, 4]}",
)


@pytest.fixture
def discs(tmp_path):
    """Five patients' pictures of a disc, one of them without any."""
    folder = tmp_path / "discs"
    folder.mkdir()
    rows = ["case,group,split,image,mask,labels"]
    grid = np.mgrid[:24, :20]
    for i in range(5):
        inside = ((grid - np.array([12, 8 + i]).reshape(2, 1, 1)) ** 2).sum(0) < 25
        mask = np.where(inside & (i != 4), 255, 0).astype(np.uint8)
        Image.fromarray(mask).save(folder / f"m{i}.png")
        Image.fromarray(mask // 2 + 40).save(folder / f"i{i}.png")
        rows.append(f"c{i},g{i},train,i{i}.png,m{i}.png,{'disc' if i != 4 else ''}")
    (folder / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder


def origin(**more):
    given = {
        "data": "d",
        "split": "train",
        "learned_on": 4,
        "measured_on": 1,
        "foreground": 0.3,
        "size": (64, 64),
        "minutes": 1.0,
        "training_steps": 10,
        "seed": 0,
        "draws": 1,
        "window": 3,
        "date": "2026-01-01",
    }
    return Origin(**{**given, **more})


def known(middle=0.0, prior=0.21, **more):
    """Told of a curve that loses all of its error about one noise level."""
    levels = np.linspace(9, -15, 120)
    curve = RecoveryCurve(levels, prior / (1 + np.exp(2 * (levels - middle))))
    return told(curve, origin(), prior=prior, **more)


# What is measured


def test_patients_are_learned_from_or_measured_never_both(discs):
    cases = load_dataset(discs).split("train")
    halves = held_out(cases, seed=0)
    assert halves.apart
    assert len(halves.measured) == 1
    groups = [
        {case.group for case in half} for half in (halves.learned, halves.measured)
    ]
    assert not groups[0] & groups[1]
    assert held_out(cases, seed=0) == halves
    chosen = {held_out(cases, seed=s).measured[0].case for s in range(20)}
    assert len(chosen) > 1
    alone = held_out(cases[:1], seed=0)
    assert not alone.apart


def test_masks_are_resized_by_majority():
    classes = torch.tensor([[[1, 1, 0, 2], [1, 0, 2, 2]]])
    assert resized(classes, 2, (1, 2)).tolist() == [[[1, 2]]]
    assert resized(classes, 2, (2, 4)) is classes


def test_masks_of_pictures_become_channels(discs):
    dataset = load_dataset(discs)
    examples = run(iter_masks(dataset.split("train"), dataset, (24, 20)))
    planes = chosen_planes(examples, 99, 0)
    masks = mask_channels(examples, planes, 1)
    assert masks.shape == (5, 1, 24, 20)
    reference = np.asarray(Image.open(discs / "m2.png")) > 0
    assert np.array_equal(masks[2, 0].numpy() > 0, reference)
    assert masks[4].sum() == 0
    torch.testing.assert_close(mean_mask(examples, 1), masks.mean(0))
    few = chosen_planes(examples, 2, 0)
    assert len(few) == 2
    assert set(few) < set(planes)


# What is told


def test_what_is_told_keeps_the_contract():
    fingerprint = known()
    content = json.loads(fingerprint.model_dump_json())
    lists = ("log_snr", "timestep", "error", "weights")
    assert {len(content[name]) for name in lists} == {100}
    assert content["prior_error"] == 0.21
    assert set(content["recommended"]) >= {"steps", "refine_log_snr"}
    assert np.mean(content["weights"]) == pytest.approx(1)
    levels = noise_schedule("linear", 1000).log_snr()[content["timestep"]]
    np.testing.assert_allclose(content["log_snr"], levels)
    # The weights are highest where the error rises, and the step before the last.
    peak = content["log_snr"][int(np.argmax(content["weights"]))]
    assert abs(peak) < 1


def test_recommendations_follow_the_curve():
    early, late = known(2.0).recommended, known(-9.5).recommended
    assert early.mask_scale == 1
    assert early.beta_end == 0.02
    assert late.mask_scale < 1
    assert late.beta_end > 0.02
    assert early.refine_log_snr > late.refine_log_snr
    assert early.refine_timestep < late.refine_timestep
    # All within the last timesteps: fewer, even steps lose more at a time.
    assert late.steps > early.steps
    never = known(-40.0).recommended
    assert never.converged_log_snr is None
    assert never.mask_scale is None


def test_a_network_that_errs_without_noise_is_told():
    levels = np.linspace(9, -15, 120)
    good = RecoveryCurve(levels, 0.2 / (1 + np.exp(2 * levels)))
    bad = RecoveryCurve(levels, 0.1 + good.error / 2)
    assert told(good, origin(), prior=0.2).warnings == ()
    (said,) = told(bad, origin(), prior=0.2).warnings
    assert "more minutes" in said


def test_with_an_image_a_mask_is_refined_where_the_curves_part():
    levels = np.linspace(9, -10, 50)
    helped = RecoveryCurve(levels, np.minimum(0.21 / (1 + np.exp(2 * levels)), 0.05))
    fingerprint = known(conditional=("m@1", helped))
    assert fingerprint.conditional.model == "m@1"
    assert len(fingerprint.conditional.error) == 100
    advice = fingerprint.recommended
    assert "image" in advice.refine_rule
    # 0.05 of the prior apart where the free curve is at 0.0605: sigma(-2 x) = 0.288.
    assert advice.refine_log_snr == pytest.approx(np.log(0.712 / 0.288) / 2, abs=0.25)


def test_what_was_written_is_read_again(tmp_path):
    fingerprint = known()
    write_fingerprint(fingerprint, tmp_path)
    assert read_fingerprint(tmp_path) == fingerprint
    curve = read_fingerprint(tmp_path / "fingerprint.json").curve()
    assert curve.log_snr[-1] == pytest.approx(-15)  # beyond the schedule, too


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": [1.0]}, "differ in length"),
        ({"prior_error": "much"}, "prior_error"),
        ({"log_snr": [float(i) for i in range(100)]}, "does not fall"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path, change, message):
    path = tmp_path / "fingerprint.json"
    content = {**json.loads(known().model_dump_json()), **change}
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_fingerprint(path)
    assert "\n" not in str(caught.value)


def test_pictures_are_drawn(tmp_path):
    one, other = known(2.0), known(-3.0, prior=0.1)
    assert draw_fingerprint(one, tmp_path / "one.png").read_bytes()[:4] == PNG
    both = {"nuclei": one, "one large $object$": other}
    for relative in (False, True):
        picture = draw_fingerprints(both, tmp_path / "both.png", relative=relative)
        assert picture.read_bytes()[:4] == PNG


def test_curves_of_other_pixels_do_not_share_a_picture(tmp_path):
    small = known().model_copy(update={"origin": origin(size=(32, 32))})
    with pytest.raises(ValueError, match="one size"):
        draw_fingerprints({"a": known(), "b": small}, tmp_path / "both.png")


# From end to end


@pytest.mark.slow
def test_a_data_set_is_measured(discs, tmp_path):
    wanted = Wanted(str(discs), "train", tmp_path / "out", size=16, overrides=QUICK)
    result = run(iter_fingerprint(wanted))
    assert isinstance(result, Fingerprint)
    assert read_fingerprint(tmp_path / "out") == result
    assert (tmp_path / "out" / "fingerprint.png").read_bytes()[:4] == PNG
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "fingerprint.json",
        "fingerprint.png",
    ]
    assert result.origin.learned_on == 4
    assert result.origin.measured_on == 1
    assert result.origin.training_steps == 2
    assert 0 < result.prior_error < 0.25
    assert max(result.error) <= 1
    with pytest.raises(UserError, match="holds a fingerprint already"):
        run(iter_fingerprint(wanted))


def image_model(folder, prediction="eps", size=(16, 16), **config):
    network = {
        "name": "guided_unet",
        "image_channels": 1,
        "mask_channels": 1,
        "channels": 32,
        "multipliers": [1, 1],
        "blocks": 1,
        "attention": [],
        "learned_variance": False,
    }
    torch.manual_seed(0)
    built = build_network(
        network["name"], **{k: v for k, v in network.items() if k != "name"}
    )
    card = ModelCard.model_validate(
        {
            "id": "with-image",
            "version": "1.0.0",
            "title": "t",
            "method": "ensemdiff",
            "network": network,
            "labels": {
                "labels": [
                    {"name": "disc", "value": 1, "color": "#E69F00", "code": None}
                ]
            },
            "preparation": {"dims": 2, "size": size},
            "sampling": {
                "schedule": "linear",
                "timesteps": 100,
                "prediction": prediction,
                "mask_range": (-1.0, 1.0),
                "sampler": "ddim",
            },
            "modality": "m",
            "licence": "l",
            "sha256": "",
            "data": "d",
            "intended_use": "i",
            "limits": ["none"],
        }
    )
    return save_model(folder, card, built.state_dict()).path


@pytest.mark.slow
def test_a_model_with_the_image_is_measured_beside(discs, tmp_path):
    model = image_model(tmp_path / "model")
    wanted = Wanted(
        str(discs), "train", tmp_path / "out", model=str(model), overrides=QUICK
    )
    result = run(iter_fingerprint(wanted))
    assert result.origin.size == (16, 16)
    assert result.conditional.model == "with-image@1.0.0"
    assert len(result.conditional.error) == len(result.error)
    # A network born silent says eps = 0: clipped, half the mask or more is wrong.
    assert result.conditional.error[-1] > result.conditional.error[0]


def test_a_model_that_cannot_be_measured_is_refused(discs, tmp_path):
    model = image_model(tmp_path / "model", size=None)
    wanted = Wanted(str(discs), "train", tmp_path / "a", model=str(model))
    with pytest.raises(UserError, match=r"preparation\.size"):
        run(iter_fingerprint(wanted))
    model = image_model(tmp_path / "sized")
    wanted = Wanted(str(discs), "train", tmp_path / "b", model=str(model), size=64)
    with pytest.raises(UserError, match="sees slices of 16 x 16"):
        run(iter_fingerprint(wanted))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"size": 20}, "a multiple of 8"),
        ({"split": "val"}, "holds no case"),
        ({"overrides": ("optimiser.batches=3",)}, "batches"),
        ({"data": "nowhere"}, "does not exist"),
    ],
)
def test_bad_input_is_told_in_one_line(discs, tmp_path, more, message):
    given = {"data": str(discs), "split": "train", "out": tmp_path / "out", **more}
    with pytest.raises(UserError, match=message) as caught:
        run(iter_fingerprint(Wanted(**given)))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_command_prints_its_file(discs, tmp_path, capsys):
    from diffseg.cli.app import main

    args = [
        "fingerprint",
        "--data",
        str(discs),
        "--out",
        str(tmp_path / "out"),
        "--json",
    ]
    args += [part for text in QUICK for part in ("--set", text)]
    assert main([*args, "--split", "train", "--size", "16"]) == 0
    said = json.loads(capsys.readouterr().out)
    written = (tmp_path / "out" / "fingerprint.json").read_text(encoding="utf-8")
    assert said == json.loads(written)
    assert main([*args, "--split", "val"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "holds a fingerprint already" in err


# Losses against the timestep


class Level(torch.nn.Module):
    """Denoises nothing: its error is that of answering zero."""

    dims, multiple, mask_channels, learned_variance = 2, 1, 1, False

    def encode(self, image):
        return image

    def denoise(self, noisy, timesteps, features):
        return torch.zeros_like(noisy)


def test_losses_are_measured_bin_by_bin(discs, tmp_path):
    dataset = load_dataset(discs)
    examples = run(iter_masks(dataset.split("train"), dataset, (8, 8)))
    recipe = load_recipe("fingerprint", ["patch=[8, 8]"])
    curve = run(iter_loss_curve(recipe, Level(), examples, bins=5, count=10))
    assert curve.count == 10
    assert curve.timestep.tolist() == [99.5, 299.5, 499.5, 699.5, 899.5]
    # The error of zero is the share of foreground, at every level alike.
    share = np.mean([float(e.classes.float().mean()) for e in examples])
    np.testing.assert_allclose(curve.loss, share, rtol=1e-5)
    assert draw_losses({"E3": curve}, tmp_path / "l.png").read_bytes()[:4] == PNG
    with pytest.raises(UserError, match="bins is 0"):
        run(iter_loss_curve(recipe, Level(), examples, bins=0))


def test_losses_need_an_objective_of_timesteps(tmp_path):
    recipe = load_recipe("hippocampus-mri")
    config = dict(recipe.network)
    small = {"dims": 2, "channels": [4, 4], "member_channels": [4, 4], "classes": 3}
    network = build_network(config["name"], **small)
    with pytest.raises(UserError, match="no loss at a timestep"):
        run(iter_loss_curve(recipe, network, []))
    with pytest.raises(UserError, match=r"holds no model\.safetensors"):
        trained_network(recipe, tmp_path)
