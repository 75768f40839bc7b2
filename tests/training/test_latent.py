"""Latent training: targets, weights, what is frozen, the autoencoder, the teacher."""

import os
import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from diffseg.diffusion import generator, to_x0
from diffseg.domain import Preparation, Sampling
from diffseg.errors import UserError
from diffseg.models.pulling import find_public, iter_pull
from diffseg.models.teachers import Teacher
from diffseg.networks import build_network
from diffseg.progress import run
from diffseg_training.objectives import Batch, autoencoder, latent, teacher
from diffseg_training.objectives.latent_alignment import Alignment, alignment_of
from diffseg_training.recipe_parts import Optimiser
from diffseg_training.settings.autoencoder import Settings as AutoencoderSettings
from diffseg_training.settings.latent import Settings
from diffseg_training.settings.teacher import Settings as TeacherSettings

SMALL = {"channels": 8, "multipliers": (1, 1, 1), "blocks": 1, "groups": 8}
UNET = {
    "channels": 32,
    "multipliers": (1, 1),
    "blocks": 1,
    "attention": (2,),
    "dropout": 0.0,
}
SCHEDULES = [
    ("linear", (1e-4, 0.02)),
    ("linear", (0.00085, 0.012)),
    ("linear", (0.0015, 0.0155)),
    ("scaled_linear", (1e-4, 0.02)),
    ("scaled_linear", (0.0015, 0.0155)),
]


def build(**config):
    torch.manual_seed(3)
    given = {"image_channels": 1, "dropout": 0.0, "scale": 1.0, "image_scale": 1.0}
    net = build_network(
        "latent_diffusion", **given | {"autoencoder": SMALL, "unet": UNET} | config
    )
    for parameter in net.unet.out.parameters():  # zero at the start
        nn.init.normal_(parameter, std=0.3)
    return net


READY = Preparation(dims=2, size=(32, 32), intensity={"kind": "range", "to": (-1, 1)})


def recipe(
    prediction="x0",
    schedule="linear",
    betas=None,
    patch=(32, 32),
    preparation=READY,
    **settings,
):
    return SimpleNamespace(
        name="toy",
        preparation=preparation,
        network={"name": "latent_diffusion"},
        patch=patch,
        sampling=Sampling(
            prediction=prediction, schedule=schedule, betas=betas, clip=False
        ),
        objective=Settings(**settings),
        optimiser=Optimiser(batch=4),
    )


def batch(count=3, classes=1, channels=1, side=32, first=0):
    source = generator(7)
    blobs = torch.zeros(count, side, side, dtype=torch.long)
    for index in range(count):
        kind = 1 + (first + index) % classes
        blobs[index, 4 + index % 8 : 20, 6 : 22 + index % 8] = kind
    image = torch.rand(count, channels, side, side, generator=source) - 0.5
    image = (image + blobs[:, None] / 2).clamp(-1, 1)
    return Batch(image, blobs, [generator(5, first + i) for i in range(count)])


def fake_teacher(dim=6, grid=(4, 4)):
    """Tokens that are a fixed linear map of each patch's mean colour."""
    torch.manual_seed(0)
    tower = nn.Linear(3, dim)
    tower.requires_grad_(False)

    def tokens(image):
        pooled = nn.functional.adaptive_avg_pool2d(image, grid)
        return tower(pooled.flatten(2).transpose(1, 2))

    zero, one = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return Teacher("fake", tower, tokens, dim, (8, 8), grid, zero, one)


def aligned(net, **settings):
    config = Settings(teacher="fake", projector=16, **settings)
    torch.manual_seed(1)
    alignment = Alignment(fake_teacher(), 32, 2, config.projector)
    made = recipe()
    return latent.LatentLoss(made, config, alignment)


# What is predicted


class Spy(nn.Module):
    """Stands in for a U-Net: puts out what makes the prediction exact."""

    def __init__(self, net, kind, schedule):
        super().__init__()
        self.kind, self.schedule, self.net, self.times = kind, schedule, net, []

    def denoise(self, noisy, t, features):
        self.times += t.tolist()
        a, s = self.schedule.signal_and_noise(t, noisy)
        clean = self.clean
        eps = (noisy - a * clean) / s
        answer = {"x0": clean, "eps": eps, "v": a * eps - s * clean}[self.kind]
        estimate = to_x0(self.kind, answer, noisy, t, self.schedule)
        assert torch.allclose(estimate, clean, atol=2e-2)
        return answer


@pytest.mark.parametrize(("schedule", "betas"), SCHEDULES)
@pytest.mark.parametrize("kind", ["eps", "v", "x0"])
def test_the_right_prediction_costs_nothing(kind, schedule, betas):
    net, made = build(), recipe(kind, schedule, betas, latent_x0=1.0)
    loss = latent.make(made, net)
    spy = Spy(net, kind, loss.schedule)
    spy.clean = net.encode_mask(latent.foreground(batch().classes, 1))
    net.denoise = spy.denoise
    total, terms = loss(net, batch())
    assert float(total) < 1e-3
    assert set(terms) == {"prediction", "latent_x0"}
    net.denoise = lambda *given: spy.denoise(*given) + 0.1
    assert loss(net, batch())[1]["prediction"] == pytest.approx(0.1, rel=1e-3)


def test_the_latent_term_is_that_of_the_clean_latent():
    """An error e of eps is one of sqrt(1 / abar - 1) e of the clean latent."""
    net, made = build(), recipe("eps", latent_x0=1.0)
    loss = latent.make(made, net)
    spy = Spy(net, "eps", loss.schedule)
    spy.clean = net.encode_mask(latent.foreground(batch().classes, 1))
    net.denoise = lambda *given: spy.denoise(*given) + 0.1
    total, terms = loss(net, batch())
    bar = loss.schedule.alpha_bar[torch.tensor(spy.times)]
    expected = float((0.1 * ((1 - bar) / bar).sqrt()).mean())
    assert terms["latent_x0"] == pytest.approx(expected, rel=1e-3)
    assert float(total) == pytest.approx(0.1 + expected, rel=1e-3)


def test_squared_errors_are_an_option():
    net = build()
    loss = latent.make(recipe(loss="l2"), net)
    spy = Spy(net, "x0", loss.schedule)
    spy.clean = net.encode_mask(latent.foreground(batch().classes, 1))
    net.denoise = lambda *given: spy.denoise(*given) + 0.1
    assert float(loss(net, batch())[0]) == pytest.approx(0.01, rel=1e-3)


def test_timesteps_are_those_of_the_whole_schedule_and_each_samples_own():
    net = build()
    loss = latent.make(recipe(), net)
    seen = []

    def denoise(noisy, t, features):
        seen.append((noisy.detach(), t))
        return noisy

    net.denoise = denoise
    for first in range(0, 400, 16):
        loss(net, batch(16, side=16, first=first))
    times = torch.cat([t for _, t in seen])
    assert times.min() < 20
    assert times.max() > 979
    assert float(times.float().mean()) == pytest.approx(499.5, abs=60)
    seen.clear()
    loss(net, batch(4))
    loss(net, batch(2))
    loss(net, batch(2, first=2))
    torch.testing.assert_close(seen[0][1], torch.cat([seen[1][1], seen[2][1]]))
    first_two = seen[1][0]
    torch.testing.assert_close(seen[0][0][:2], first_two)


def test_a_step_is_the_mean_of_its_samples_and_follows_from_their_sources():
    net = build()
    loss = aligned(net)
    whole = batch(4)
    together = float(loss(net, whole)[0].detach())
    assert together == float(loss(net, batch(4))[0].detach())
    halves = []
    for part in (slice(0, 2), slice(2, 4)):
        fresh = batch(4)
        cut = Batch(fresh.image[part], fresh.classes[part], fresh.sources[part])
        halves.append(float(loss(net, cut)[0].detach()))
    assert together == pytest.approx(sum(halves) / 2, abs=1e-5)


# Alignment


@pytest.mark.parametrize("per_batch", [False, True])
@pytest.mark.parametrize("count", [2, 4])
def test_the_alignments_weight(per_batch, count):
    """The public code's 1.0 at a batch of 4 is 0.25, however a step is shared out."""
    net = build()
    loss = aligned(net, alignment=1.0, per_batch=per_batch)
    total, terms = loss(net, batch(count))
    weight = 1 / 4 if per_batch else 1.0
    expected = terms["prediction"] - weight * terms["cosine"]
    assert float(total.detach()) == pytest.approx(expected, abs=1e-6)
    assert abs(terms["cosine"]) > 1e-3
    clean = aligned(net, alignment=0.25)
    assert clean.weight == loss.weight * (1.0 if per_batch else 0.25)
    assert Settings().alignment == 0.25


def test_the_cosine_is_worked_out_by_hand():
    loss = aligned(build())
    alignment = loss.alignment
    seen, image = torch.randn(2, 32, 4, 4), torch.rand(2, 3, 32, 32) * 2 - 1
    found = alignment(seen, image).detach()
    tokens = fake_teacher()((image + 1) / 2)
    for sample in range(2):
        cosines = []
        for place in range(16):
            ours = alignment.projector(seen)[sample, place].detach()
            wanted = tokens[sample, place]
            cosines.append(float(ours @ wanted / (ours.norm() * wanted.norm())))
        assert float(found[sample]) == pytest.approx(sum(cosines) / 16, abs=1e-5)


def test_alignment_learns_and_reaches_the_image_encoder():
    net = build()
    loss = aligned(net, alignment=1.0)
    weights = [*net.parameters(), *loss.parameters()]
    descent = torch.optim.Adam([w for w in weights if w.requires_grad], lr=2e-3)
    before = loss(net, batch())[1]["cosine"]
    for _ in range(15):
        total, terms = loss(net, batch())
        descent.zero_grad()
        total.backward()
        descent.step()
    assert terms["cosine"] > before + 0.1
    encoder = [w.grad for w in net.image_encoder.parameters()]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in encoder)


def test_frozen_parts_get_no_gradient_and_the_projector_is_not_the_models():
    net = build()
    loss = aligned(net)
    net.train()
    loss(net, batch())[0].backward()
    assert not any(w.requires_grad for w in net.autoencoder.parameters())
    assert all(w.grad is None for w in net.autoencoder.parameters())
    (shown,) = loss.alignment._teacher
    assert all(w.grad is None for w in shown.tower.parameters())
    trained = {
        name.split(".")[0] for name, w in net.named_parameters() if w.requires_grad
    }
    assert trained == {"unet", "image_encoder"}
    assert set(loss.state_dict()) == {
        f"alignment.projector.{layer}.{kind}"
        for layer in (0, 2, 4)
        for kind in ("weight", "bias")
    }
    assert not any("projector" in name for name in net.state_dict())
    assert not net.autoencoder.training


def small_teacher(tmp_path):
    from diffseg.models.teacher_files import TowerConfig, build_tower, save_teacher

    config = TowerConfig(size=64, patch=16, width=16, depth=1, heads=2)
    return save_teacher(build_tower(config, 0), config, tmp_path / "teacher")


def test_a_teacher_gives_as_many_tokens_as_a_map_has_positions(tmp_path):
    net = build()
    folder = small_teacher(tmp_path)
    config = Settings(teacher=f"file:{folder}", projector=8)
    alignment = alignment_of(config, net, (32, 32))
    assert alignment.block == 2
    image = torch.rand(1, 1, 32, 32)
    seen = net.denoise_with_features(
        torch.zeros(1, 4, 8, 8), torch.zeros(1).long(), net.encode(image), 2
    )[1]
    assert seen.shape[2:] == (4, 4)
    assert alignment(seen, image).shape == (1,)
    with pytest.raises(UserError, match="fit no map"):
        alignment_of(config.model_copy(update={"grid": (5, 5)}), net, (32, 32))
    assert alignment_of(Settings(), net, (32, 32)) is None
    none = config.model_copy(update={"alignment": 0.0})
    assert alignment_of(none, net, (32, 32)) is None


# Beginning


def trained_part(folder, network, name, **config):
    """Write a part as the trainer does."""
    from diffseg_training.parts import save_part

    told = SimpleNamespace(
        network={"name": name, **config},
        name="toy",
        objective=SimpleNamespace(name="toy"),
    )
    folder.mkdir()
    return save_part(folder, told, SimpleNamespace(network=network, best={}, steps=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prediction": "classes"}, "not classes"),
        ({"prediction": "eps", "schedule": "cosine"}, "predict x0 or v"),
        ({"patch": (30, 32)}, "multiples of 8"),
        ({"autoencoder": "nowhere.safetensors"}, "are not there; give a file"),
        ({"autoencoder": "nowhere.ckpt"}, "are not there; give a file"),
        ({"autoencoder": "kl-f8"}, "fetch them with: diffseg models pull kl-f8"),
        ({"autoencoder": "klf8"}, "nor one that ships.*did you mean 'kl-f8'"),
        ({"autoencoder": "no-such-part"}, "nor one that ships"),
        ({"preparation": Preparation(dims=2)}, "window, or range"),
        (
            {"preparation": Preparation(dims=2, intensity={"kind": "range"})},
            "window, or range",
        ),
        ({"unet": "alone.safetensors"}, "set objective.autoencoder"),
        ({"teacher": "no-such-part"}, "nor one that ships"),
    ],
)
def test_recipes_that_cannot_be_trained(changes, message):
    with pytest.raises(UserError, match=message) as caught:
        latent.make(recipe(**changes), build())
    assert "\n" not in str(caught.value)


def test_another_network_is_refused():
    wrong = build_network("kl_autoencoder", **SMALL)
    with pytest.raises(UserError, match="needs network latent_diffusion"):
        latent.make(recipe(), wrong)
    with pytest.raises(UserError, match="needs network kl_autoencoder"):
        autoencoder.make(recipe(), build())
    with pytest.raises(UserError, match="needs network vision_transformer"):
        teacher.make(recipe(), build())


def test_masks_of_more_classes_are_refused():
    net = build(classes=2)
    loss = latent.make(recipe(), net)
    with pytest.raises(UserError, match="hold class 3"):
        loss(net, batch(classes=3))


def test_a_network_begins_with_the_autoencoder_that_is_named(tmp_path):
    from safetensors.torch import save_file

    source = build_network("kl_autoencoder", **SMALL)
    path = tmp_path / "parts" / "kl.safetensors"
    path.parent.mkdir()
    save_file(source.state_dict(), path)
    net = build()
    latent.make(recipe(autoencoder=str(path)), net)
    mine = net.autoencoder.state_dict()
    assert all(torch.equal(mine[k], v) for k, v in source.state_dict().items())
    first = net.image_encoder.encoder.conv_in.weight
    torch.testing.assert_close(first, source.encoder.conv_in.weight.sum(1, True))
    other = build_network("kl_autoencoder", **SMALL | {"blocks": 2})
    save_file(other.state_dict(), path)
    with pytest.raises(UserError, match="another architecture"):
        latent.make(recipe(autoencoder=str(path)), net)


def authors_names(state):
    """A state of ours in the names of CompVis's code, as far as they differ here."""
    renamed = {}
    for name, tensor in state.items():
        new = name.replace(".resnets.", ".block.").replace(
            ".conv_norm_out.", ".norm_out."
        )
        new = new.replace(".conv_shortcut.", ".nin_shortcut.")
        new = re.sub(r"down_blocks\.(\d)", r"down.\1", new)
        new = re.sub(r"up_blocks\.(\d)", lambda m: f"up.{2 - int(m[1])}", new)
        new = new.replace("samplers.0.conv", "sample.conv")
        for ours, theirs in (("block.0", "block_1"), ("block.1", "block_2")):
            new = new.replace(f"mid_block.{ours}", f"mid.{theirs}")
        new = new.replace("mid_block.attentions.0", "mid.attn_1")
        for ours, theirs in zip(
            ("group_norm", "to_q", "to_k", "to_v", "to_out.0"),
            ("norm", "q", "k", "v", "proj_out"),
            strict=True,
        ):
            new = new.replace(f"attn_1.{ours}.", f"attn_1.{theirs}.")
        flat = ".attn_1." in new and tensor.ndim == 2
        renamed[new] = tensor[:, :, None, None] if flat else tensor
    return renamed


@pytest.fixture
def published_checkpoint(tmp_path, monkeypatch):
    """A file in the form of ``kl-f8``, pulled from its folder; and its weights."""
    source = build_network("kl_autoencoder", **SMALL)
    names = authors_names(source.state_dict())
    assert "decoder.up.2.block.0.norm1.weight" in names
    loss = {"loss.discriminator.main.0.weight": torch.zeros(1)}
    folder = tmp_path / "downloaded"
    folder.mkdir()
    torch.save({"state_dict": names | loss, "epoch": 3}, folder / "model.ckpt")
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    run(iter_pull(find_public("kl-f8"), folder))
    return folder / "model.ckpt", source.state_dict()


@pytest.mark.parametrize("named", [True, False], ids=["pulled", "file"])
def test_a_network_begins_with_a_published_checkpoint(named, published_checkpoint):
    file, weights = published_checkpoint
    net = build()
    latent.make(recipe(autoencoder="kl-f8" if named else str(file)), net)
    mine = net.autoencoder.state_dict()
    assert all(torch.equal(mine[k], v) for k, v in weights.items())


def test_an_autoencoder_within_a_checkpoint_is_found(published_checkpoint, tmp_path):
    _, weights = published_checkpoint
    names = authors_names(weights)
    held = {f"first_stage_model.{name}": value for name, value in names.items()}
    file = tmp_path / "sdseg.ckpt"
    torch.save({"state_dict": held | {"scale_factor": torch.ones(())}}, file)
    net = build()
    latent.make(recipe(autoencoder=str(file)), net)
    mine = net.autoencoder.state_dict()
    assert all(torch.equal(mine[k], v) for k, v in weights.items())


def test_a_checkpoint_that_would_run_something_is_refused(tmp_path):
    trap, file = tmp_path / "sprung", tmp_path / "model.ckpt"

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(trap),))

    torch.save({"state_dict": {"a": torch.ones(1)}, "more": Trap()}, file)
    with pytest.raises(UserError, match=r"needs unpickling.*or safetensors") as caught:
        latent.make(recipe(autoencoder=str(file)), build())
    assert "\n" not in str(caught.value)
    assert not trap.exists()


def test_a_measured_scale_is_kept_from_the_first_batch():
    net = build(scale="measured")
    loss = latent.make(recipe(), net)
    assert net.scale_missing
    loss(net, batch())
    scale = float(net.mask_scale)
    assert float(net.encode_mask(latent.foreground(batch().classes, 1)).std()) == (
        pytest.approx(1, abs=1e-4)
    )
    loss(net, batch(first=9))
    assert float(net.mask_scale) == scale
    assert float(net.state_dict()["mask_scale"]) == scale


def test_parts_that_were_trained_here(tmp_path):
    own = build_network("kl_autoencoder", **SMALL)
    folder = trained_part(tmp_path / "ae", own, "kl_autoencoder", **SMALL)
    net = build()
    vit, _ = hiding()
    sizes = {"size": 32, "patch": 8, "width": 32, "depth": 2, "heads": 2}
    shown = trained_part(tmp_path / "vit", vit, "vision_transformer", **sizes)
    made = recipe(autoencoder=str(folder), teacher=str(shown), projector=8)
    loss = latent.make(made, net)
    state = net.autoencoder.state_dict()
    assert all(torch.equal(state[k], v) for k, v in own.state_dict().items())
    (taught,) = loss.alignment._teacher
    image = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(taught(image), vit.eval()(2 * image - 1))
    assert loss(net, batch())[1]["cosine"] != 0
    with pytest.raises(UserError, match="is no part that the objective teacher"):
        latent.make(recipe(teacher=str(folder)), net)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    with pytest.raises(UserError, match="are not those of its config"):
        latent.make(made, net)


# The autoencoder


def test_an_autoencoder_learns_masks_and_images():
    torch.manual_seed(0)
    net = build_network("kl_autoencoder", **SMALL)
    loss = autoencoder.make(
        SimpleNamespace(name="toy", objective=AutoencoderSettings()), net
    )
    first, _ = loss(net, batch())
    before = loss.validation(net, batch())
    descent = torch.optim.Adam(net.parameters(), lr=5e-3)
    for step in range(60):
        total, terms = loss(net, batch(first=3 * step))
        descent.zero_grad()
        total.backward()
        descent.step()
    after = loss.validation(net, batch())
    assert set(terms) == {"mask", "cross_entropy", "image", "kl", "holding"}
    assert float(total.detach()) < 0.5 * float(first.detach())
    assert after["score"] > max(0.8, before["score"])
    assert after["deviation"] == pytest.approx(1, abs=0.3)


def test_the_divergence_is_that_of_two_normals():
    mean, log_variance = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    ours = autoencoder.divergence(mean, log_variance)
    normals = torch.distributions.Normal
    wanted = torch.distributions.kl_divergence(
        normals(mean, (0.5 * log_variance).exp()), normals(0.0, 1.0)
    ).sum()
    torch.testing.assert_close(ours, wanted)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_masks_become_images_as_the_latent_network_makes_them(count):
    classes = batch(classes=count).classes
    net = build(classes=count)
    wanted = net._coloured(latent.foreground(classes, count))
    torch.testing.assert_close(autoencoder.coloured_mask(classes, count), wanted)
    with pytest.raises(UserError, match="hold class 9"):
        autoencoder.coloured_mask(torch.full((1, 8, 8), 9), count)


def test_mixed_masks_show_flips_of_themselves_or_nothing():
    masks = autoencoder.coloured_mask(batch(8).classes, 1)
    sources = [generator(3, i) for i in range(8)]
    mixed = autoencoder.mixed(masks, 1.0, sources)
    kinds = set()
    for one, was in zip(mixed, masks, strict=True):
        looks = [was[0].flip(axes) for axes in ([], [0], [1], [0, 1])]
        looks.append(-torch.ones_like(was[0]))
        for channel in one:
            found = [i for i, look in enumerate(looks) if torch.equal(channel, look)]
            assert found
            kinds.add(found[0])
    assert len(kinds) == 5
    assert torch.equal(autoencoder.mixed(masks, 0.0, sources), masks)


# The teacher


def hiding(size=32, patch=8):
    torch.manual_seed(0)
    net = build_network(
        "vision_transformer", size=size, patch=patch, width=32, depth=2, heads=2
    )
    settings = TeacherSettings()
    made = SimpleNamespace(name="toy", objective=settings)
    return net, teacher.make(made, net)


def test_hidden_patches_are_told_better_and_better():
    net, loss = hiding()
    descent = torch.optim.Adam([*net.parameters(), *loss.parameters()], lr=3e-3)
    before = loss.validation(net, batch())["score"]
    for step in range(40):
        total, _ = loss(net, batch(first=3 * step))
        descent.zero_grad()
        total.backward()
        descent.step()
    after = loss.validation(net, batch())["score"]
    assert after > before + 0.1
    assert after == loss.validation(net, batch())["score"]


def test_what_is_hidden_is_not_seen():
    net, loss = hiding()
    image = torch.rand(1, 3, 32, 32)
    away = teacher.hidden_patches(16, 0.6, [generator(4)])
    assert int(away.sum()) == round(0.6 * 16)
    changed = image.clone()
    for index in away[0].nonzero().flatten().tolist():
        row, column = divmod(index, 4)
        changed[..., 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 0.3
    tokens = []
    for shown in (image, changed):
        patches = torch.where(away[..., None], loss.hidden, net.embedded(shown))
        tokens.append(net.transformed(patches))
    torch.testing.assert_close(tokens[0], tokens[1])
    assert not torch.allclose(net(image), net(changed))


def test_patches_are_ordered_as_tokens_and_normalised():
    image = torch.randn(2, 3, 32, 32)
    patches = teacher.normalised_patches(image, 8)
    own = image[1, :, 8:16, 16:24].flatten()  # row 1, column 2
    own = (own - own.mean()) / own.std(correction=0)
    torch.testing.assert_close(patches[1, 4 + 2], own, atol=1e-3, rtol=0)
    net, _ = hiding()
    moved = image.clone()
    moved[:, :, 8:16, 16:24] += 1
    differing = (net.embedded(moved) != net.embedded(image)).any(2)
    assert differing[0].nonzero().flatten().tolist() == [6]


def test_tokens_are_timms_own():
    net, _ = hiding()
    image = torch.rand(2, 3, 32, 32)
    wanted = net.tower.forward_features(image)[:, 1:]
    torch.testing.assert_close(net(image), wanted)
