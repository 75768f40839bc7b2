"""The objectives of the four experiments: worked by hand, and each of them teaches."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from diffseg.diffusion import generator, noise_schedule, target
from diffseg.diffusion.variational import (
    learned_log_variance,
    log_variance_bounds,
    posterior_mean,
    step_variances,
    variational_bits,
)
from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg_training.objectives import Batch, make_loss
from diffseg_training.objectives.terms import (
    coded_mask,
    dice_loss,
    drawn_timesteps,
    foreground_loss,
    normal,
    one_hot,
)
from diffseg_training.recipe import Recipe, load_recipe

LINEAR = noise_schedule("linear", 1000)


class Toy(nn.Module):
    """A small denoiser of the Protocol, which says what it was asked."""

    dims, multiple = 2, 1

    def __init__(self, mask=1, image=1, learned=False, width=16):
        super().__init__()
        self.mask_channels, self.learned_variance = mask, learned
        self.image = nn.Conv2d(image, width, 3, padding=1)
        self.noisy = nn.Conv2d(mask, width, 3, padding=1)
        self.level = nn.Linear(2, width)
        self.inner = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Conv2d(width, (2 if learned else 1) * mask, 1)
        self.asked = []

    def encode(self, image):
        return self.image(image)

    def denoise(self, noisy, timesteps, features):
        self.asked.append((noisy.detach(), timesteps, features.detach()))
        share = timesteps.float()[:, None] / 1000
        level = self.level(torch.cat([share, share**2], 1))[:, :, None, None]
        x = torch.relu(self.noisy(noisy) + features + level)
        return self.out(torch.relu(self.inner(x)))


class ToyCalibrated(Toy):
    def denoise_calibrated(self, noisy, timesteps, features):
        answer = self.denoise(noisy, timesteps, features)
        return answer, features[:, : self.mask_channels].sigmoid()


def recipe(objective, prediction="eps", mask_range=(0.0, 1.0), **sampling):
    content = load_recipe("hippocampus-mri").model_dump()
    content["objective"] = objective
    content["network"] = {"name": "toy"}
    content["sampling"] |= {
        "schedule": "linear",
        "prediction": prediction,
        "mask_range": mask_range,
        **sampling,
    }
    return Recipe.model_validate(content)


def batch(size=4, classes=1, channels=1, key=0):
    """Discs in noisy images."""
    source = generator(key)
    grid = torch.stack(
        torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
    )
    middles = torch.randint(4, 8, (size, 2, 1, 1), generator=source)
    inside = ((grid - middles) ** 2).sum(1) < 9
    masks = inside.long() * torch.randint(
        1, classes + 1, (size, 1, 1), generator=source
    )
    image = masks[:, None].float() + 0.1 * torch.randn(
        (size, channels, 12, 12), generator=source
    )
    return Batch(image, masks, [generator(key, 1, i) for i in range(size)])


def one_of(whole, i):
    """The batch of one sample, its sources as they were at the start."""
    return Batch(
        whole.image[i : i + 1], whole.classes[i : i + 1], whole.sources[i : i + 1]
    )


# The variational bound


def test_step_variances_are_those_of_the_betas():
    beta, posterior = step_variances(LINEAR)
    expected = np.linspace(1e-4, 0.02, 1000)
    np.testing.assert_allclose(beta, expected, rtol=1e-9)
    bar = np.cumprod(1 - expected)
    np.testing.assert_allclose(
        posterior[1:], expected[1:] * (1 - bar[:-1]) / (1 - bar[1:]), rtol=1e-9
    )
    assert posterior[0] == 0
    least, greatest = log_variance_bounds(LINEAR)
    assert least[0] == least[1]
    assert bool((least[1:] < greatest[1:]).all())


def test_log_variance_lies_between_its_bounds():
    least, greatest = log_variance_bounds(LINEAR)
    t = torch.tensor([300, 300, 300])
    placed = torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1)
    found = learned_log_variance(placed, t, LINEAR).flatten()
    low, high = float(least[300]), float(greatest[300])
    torch.testing.assert_close(found, torch.tensor([low, (low + high) / 2, high]))


def test_posterior_mean_is_what_two_gaussians_make():
    """By Bayes: x_{t-1} given x0, then x_t given x_{t-1}, as products of precisions."""
    t, x0, x_t = 400, 0.7, -0.2
    bar = LINEAR.alpha_bar.numpy()
    alpha, beta = bar[t] / bar[t - 1], 1 - bar[t] / bar[t - 1]
    precision = 1 / (1 - bar[t - 1]) + alpha / beta
    mean = (
        math.sqrt(bar[t - 1]) * x0 / (1 - bar[t - 1]) + math.sqrt(alpha) * x_t / beta
    ) / precision
    shape = (1, 1, 1, 1)
    found = posterior_mean(
        torch.full(shape, x0), torch.full(shape, x_t), torch.tensor([t]), LINEAR
    )
    assert float(found) == pytest.approx(mean, rel=1e-5)
    assert float(step_variances(LINEAR)[1][t]) == pytest.approx(1 / precision, rel=1e-9)


@pytest.mark.parametrize("t", [1, 250, 999])
def test_bits_of_a_step_are_the_divergence_of_two_normals(t):
    """Against an expectation of log-densities by scipy, over the true posterior."""
    x0, x_t, estimate, placed = 1.0, 0.4, 0.6, 0.3
    one = lambda value: torch.full((1, 1, 1, 1), value, dtype=torch.float64)  # noqa: E731
    time = torch.tensor([t])
    found = variational_bits(
        one(x0),
        one(x_t),
        time,
        estimate=one(estimate),
        placed=one(placed),
        schedule=LINEAR,
        mask_range=(0.0, 1.0),
    )
    _, posterior = step_variances(LINEAR)
    truth = stats.norm(
        float(posterior_mean(one(x0), one(x_t), time, LINEAR)),
        float(posterior[t]) ** 0.5,
    )
    model = stats.norm(
        float(posterior_mean(one(estimate), one(x_t), time, LINEAR)),
        math.exp(0.5 * float(learned_log_variance(one(placed), time, LINEAR))),
    )
    nats = truth.expect(
        lambda x: truth.logpdf(x) - model.logpdf(x),
        lb=truth.ppf(1e-12),
        ub=truth.isf(1e-12),
    )
    assert float(found) == pytest.approx(nats / math.log(2), rel=1e-5)


@pytest.mark.parametrize(
    ("x0", "ends"),
    [
        (0.0, (-np.inf, 1 / 510)),
        (1.0, (1 - 1 / 510, np.inf)),
        (100 / 255, (99.5 / 255, 100.5 / 255)),
    ],
)
def test_bits_of_the_last_step_are_those_of_a_gray_level(x0, ends):
    one = lambda value: torch.full((1, 1, 1, 1), value, dtype=torch.float64)  # noqa: E731
    time, x_t = torch.tensor([0]), 0.39
    found = variational_bits(
        one(x0),
        one(x_t),
        time,
        estimate=one(0.4),
        placed=one(0.0),
        schedule=LINEAR,
        mask_range=(0.0, 1.0),
    )
    mean = float(posterior_mean(one(0.4), one(x_t), time, LINEAR))
    spread = math.exp(0.5 * float(learned_log_variance(one(0.0), time, LINEAR)))
    chance = np.diff(stats.norm(mean, spread).cdf(ends))[0]
    assert float(found) == pytest.approx(-math.log2(max(chance, 1e-12)), rel=1e-6)


def test_the_bound_teaches_the_variance_alone():
    net = Toy(learned=True)
    x0, x_t = torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    estimate = torch.rand(2, 1, 4, 4, requires_grad=True)
    placed = torch.zeros(2, 1, 4, 4, requires_grad=True)
    bits = variational_bits(
        x0,
        x_t,
        torch.tensor([5, 500]),
        estimate=estimate,
        placed=placed,
        schedule=LINEAR,
        mask_range=(0.0, 1.0),
    )
    bits.sum().backward()
    assert estimate.grad is None
    assert bool(placed.grad.any())
    assert net.learned_variance


# Denoising (E2)


@pytest.mark.parametrize("kind", ["eps", "v", "x0"])
@pytest.mark.parametrize("mask_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_denoising_by_hand(kind, mask_range):
    net, given = Toy(), batch()
    loss_of = make_loss(recipe({"name": "denoising"}, kind, mask_range), net)
    total, terms = loss_of(net, given)
    again = batch()
    t = drawn_timesteps(None, 1000, again.sources)
    low, high = mask_range
    x0 = again.classes[:, None].float() * (high - low) + low
    noise = normal(x0, again.sources)
    noisy = LINEAR.add_noise(x0, noise, t)
    asked, times, _ = net.asked[0]
    torch.testing.assert_close(asked, noisy)
    assert torch.equal(times, t)
    wanted = target(kind, x0, noise, t, LINEAR)
    answer = net.denoise(noisy, t, net.encode(again.image))
    by_hand = ((answer - wanted) ** 2).mean((1, 2, 3)).mean()
    torch.testing.assert_close(total, by_hand)
    assert terms == {"prediction": pytest.approx(float(by_hand.detach()))}


def test_classes_have_a_channel_each_and_background_none():
    classes = torch.tensor([[[0, 1, 2]]])
    coded = coded_mask(classes, 2, (-1.0, 1.0))
    assert coded.tolist() == [[[[-1, 1, -1]], [[-1, -1, 1]]]]
    with pytest.raises(UserError, match=r"class 2, .* mask_channels 1") as caught:
        coded_mask(classes, 1, (0.0, 1.0))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("objective", "prediction", "net"),
    [
        ({"name": "denoising"}, "eps", Toy(learned=True)),
        ({"name": "denoising"}, "v", ToyCalibrated(mask=2)),
        # Dice is pooled over the batch: its sums go over the processes.
        ({"name": "feedforward", "dice": 0}, "classes", Toy(mask=2)),
        ({"name": "mask_prior"}, "x0", Toy(mask=2)),
        ({"name": "image_generation"}, "eps", Toy()),
    ],
)
def test_a_batch_is_the_mean_of_its_samples(objective, prediction, net):
    """However the samples are spread over processes, the step is the same."""
    more = {"input": "noise"} if prediction == "classes" else {}
    given = recipe(objective, prediction, **more)
    loss_of = make_loss(given, net)
    count = net.mask_channels
    whole, _ = loss_of(net, batch(classes=count))
    parts = [loss_of(net, one_of(batch(classes=count), i))[0] for i in range(4)]
    torch.testing.assert_close(whole, torch.stack(parts).mean())
    assert len({float(part.detach()) for part in parts}) == 4


def test_the_bound_and_the_calibration_are_added_where_there_are_any():
    plain = recipe({"name": "denoising", "variational": 0, "calibration": 0})
    heavy = recipe({"name": "denoising", "variational": 2.0, "calibration": 5.0})
    for net, name, factor in (
        (Toy(learned=True), "variational", 2.0),
        (ToyCalibrated(), "calibration", 5.0),
    ):
        without, few = make_loss(plain, net)(net, batch())
        total, terms = make_loss(heavy, net)(net, batch())
        assert name not in few
        assert float(total.detach()) == pytest.approx(
            float(without.detach()) + factor * terms[name], rel=1e-5
        )


def test_calibration_is_held_against_zeros_and_ones():
    net, given = ToyCalibrated(), batch()
    wide = recipe({"name": "denoising"}, "v", (-1.0, 1.0))
    _, terms = make_loss(wide, net)(net, given)
    own = net.encode(given.image)[:, :1].sigmoid()
    by_hand = ((own - given.classes[:, None].float()) ** 2).mean()
    assert terms["calibration"] == pytest.approx(float(by_hand.detach()), rel=1e-5)


def test_the_bound_can_be_scaled_with_the_timesteps():
    net = Toy(learned=True)
    terms = [
        make_loss(
            recipe({"name": "denoising", "variational_rescaled": on}, timesteps=100),
            net,
        )(net, batch())[1]["variational"]
        for on in (False, True)
    ]
    assert terms[1] == pytest.approx(terms[0] * 0.1)


def test_l1_is_the_absolute_error():
    net = Toy()
    total, _ = make_loss(recipe({"name": "denoising", "loss": "l1"}, "x0"), net)(
        net, batch()
    )
    again = batch()
    asked, t, _ = net.asked[0]
    answer = net.denoise(asked, t, net.encode(again.image))
    torch.testing.assert_close(total, (answer - again.classes[:, None]).abs().mean())


# Timestep weights


def test_chances_draw_the_timesteps():
    chances = torch.tensor([0.0, 1.0, 0.0, 3.0])
    drawn = drawn_timesteps(chances, 4, [generator(i) for i in range(2000)])
    counts = torch.bincount(drawn, minlength=4)
    assert counts[0] == counts[2] == 0
    assert float(counts[3] / counts[1]) == pytest.approx(3, rel=0.2)


@pytest.mark.parametrize("kind", ["eps", "v", "x0"])
def test_weights_weigh_the_error_of_the_clean_mask(kind):
    """Whatever is predicted, the weighted loss is that of the x0 it implies."""
    from diffseg.diffusion import to_x0

    weights = (0.5, 1.0, 1.5)
    settings = {
        "name": "denoising",
        "weighting": "loss",
        "timestep_weights": weights,
        "largest_gain": 1e9,
    }
    net = Toy()
    total, _ = make_loss(recipe(settings, kind, timesteps=3), net)(net, batch())
    schedule = noise_schedule("linear", 3)
    noisy, t, features = net.asked[0]
    x0 = batch().classes[:, None].float()
    estimate = to_x0(kind, net.denoise(noisy, t, features), noisy, t, schedule)
    errors = ((estimate - x0) ** 2).mean((1, 2, 3))
    expected = (torch.tensor(weights)[t] * errors).mean()
    bar = schedule.alpha_bar.numpy()
    gain = {"eps": (1 - bar) / bar, "v": 1 - bar, "x0": np.ones(3)}[kind]
    mean = float((np.array(weights) * gain).mean())  # the factors are told with mean 1
    assert float(total.detach()) == pytest.approx(
        float(expected.detach()) / mean, rel=1e-3
    )


def a_fingerprint(path, middle=0.0):
    levels = np.linspace(9, -10, 96)
    error = 0.2 / (1 + np.exp(levels - middle))
    content = {
        "log_snr": levels.tolist(),
        "timestep": list(range(96)),
        "error": error.tolist(),
        "prior_error": 0.2,
        "weights": [1.0] * 96,
        "recommended": {"steps": 10, "refine_log_snr": 0.0},
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_recipe_takes_its_weights_from_a_fingerprint(tmp_path):
    path = a_fingerprint(tmp_path / "fingerprint.json")
    settings = {"name": "denoising", "weighting": "sampling", "fingerprint": str(path)}
    chances = make_loss(recipe(settings), Toy()).chances
    assert chances.mean() == pytest.approx(1)
    peak = float(LINEAR.log_snr()[int(chances.argmax())])
    assert abs(peak) < 1
    # The folder will do too, and a wider mask is lost later.
    settings["fingerprint"] = str(tmp_path)
    wide = make_loss(recipe(settings, mask_range=(-1.0, 1.0)), Toy()).chances
    assert wide.argmax() > chances.argmax()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("{}", "is no fingerprint: log_snr: Field required"),
        ("no json", "is no fingerprint"),
    ],
)
def test_what_is_no_fingerprint_is_told_in_one_line(tmp_path, text, message):
    path = tmp_path / "fingerprint.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    settings = {"name": "denoising", "weighting": "loss", "fingerprint": str(path)}
    with pytest.raises(UserError, match=message) as caught:
        make_loss(recipe(settings), Toy())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weighting": "loss"}, "needs timestep_weights or a fingerprint"),
        ({"timestep_weights": [1, 1]}, "set weighting"),
        ({"weighting": "loss", "timestep_weights": [0, 0]}, "some are positive"),
        (
            {"weighting": "loss", "timestep_weights": [1], "fingerprint": "f.json"},
            "not both",
        ),
    ],
)
def test_weights_have_one_source_and_one_use(settings, message):
    with pytest.raises(ValueError, match=message):
        recipe({"name": "denoising", **settings})


# Feed-forward (E1)


@pytest.mark.parametrize("kind", ["zeros", "noise"])
def test_feedforward_shows_nothing_at_the_last_timestep(kind):
    net = Toy(learned=True)
    given = recipe({"name": "feedforward"}, "classes", input=kind)
    make_loss(given, net)(net, batch())
    noisy, t, _ = net.asked[0]
    assert t.tolist() == [999] * 4
    nothing = torch.zeros(4, 1, 12, 12)
    if kind == "noise":
        nothing = normal(nothing, batch().sources)
    assert torch.equal(noisy, nothing)


def test_one_foreground_channel_is_softmax_with_a_background_of_zero():
    logits, classes = torch.randn(2, 1, 6, 6), torch.randint(0, 2, (2, 6, 6))

    class Weights:
        dice, cross_entropy, deep = 0.5, 0.5, 0.0

    with_background = torch.cat([torch.zeros_like(logits), logits], 1)
    expected = 0.5 * nn.functional.cross_entropy(with_background, classes)
    expected += 0.5 * dice_loss(with_background, one_hot(classes, 2))
    torch.testing.assert_close(foreground_loss(logits, classes, Weights()), expected)


def test_dice_is_pooled_over_the_batch():
    sure = lambda masks: torch.log(masks + 1e-9)  # noqa: E731
    # The class is absent from the second patch, and a little of it is found there.
    reference = one_hot(torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 0]]]), 2)
    found = one_hot(torch.tensor([[[1, 1, 0, 0]], [[1, 0, 0, 0]]]), 2)
    # One by one: 0 and 1 - 1/2. Pooled: overlap 2, sizes 5, smoothed by 1.
    pooled = float(dice_loss(sure(found), reference))
    assert pooled == pytest.approx(1 - 5 / 6, abs=1e-4)


def test_the_learned_variance_is_ignored_and_the_calibration_taught():
    net = Toy(learned=True)
    loss, _ = make_loss(recipe({"name": "feedforward"}, "classes"), net)(net, batch())
    loss.backward()
    assert not net.out.weight.grad[1].any()
    assert net.out.weight.grad[0].any()
    own = ToyCalibrated()
    _, terms = make_loss(recipe({"name": "feedforward"}, "classes"), own)(own, batch())
    assert terms["calibration"] > 0


# Without the image (E3), and the image itself (E4)


def test_mask_prior_sees_no_image():
    net, given = Toy(), batch()
    loss_of = make_loss(recipe({"name": "mask_prior"}, "x0"), net)
    first, _ = loss_of(net, given)
    other = Batch(torch.randn(4, 1, 12, 12), given.classes, batch().sources)
    second, _ = loss_of(net, other)
    assert torch.equal(first, second)
    noisy, t, _ = net.asked[0]
    answer = net.denoise(noisy, t, net.encode(torch.zeros(4, 1, 12, 12)))
    torch.testing.assert_close(first, ((answer - given.classes[:, None]) ** 2).mean())


def test_images_are_generated_in_the_masks_place():
    net = Toy(mask=3, image=3, learned=True)
    given = batch(channels=3)
    total, _ = make_loss(recipe({"name": "image_generation"}), net)(net, given)
    noisy, t, features = net.asked[0]
    noise = (noisy - LINEAR.signal_and_noise(t, noisy)[0] * given.image) / (
        LINEAR.signal_and_noise(t, noisy)[1]
    )
    torch.testing.assert_close(features, net.encode(torch.zeros(4, 3, 12, 12)))
    answer = net.denoise(noisy, t, features)[:, :3]
    torch.testing.assert_close(
        total, ((answer - noise) ** 2).mean(), rtol=1e-3, atol=1e-4
    )
    with pytest.raises(UserError, match=r"network\.mask_channels=1"):
        make_loss(recipe({"name": "image_generation"}), net)(net, batch())


@pytest.mark.parametrize(
    ("name", "prediction", "message"),
    [
        ("denoising", "classes", "set sampling.prediction to eps, v or x0"),
        ("mask_prior", "eps", "set sampling.prediction to x0"),
        ("image_generation", "classes", "set sampling.prediction"),
        ("feedforward", "eps", "set sampling.prediction to classes"),
    ],
)
def test_an_objective_says_which_prediction_it_teaches(name, prediction, message):
    with pytest.raises(UserError, match=message) as caught:
        make_loss(recipe({"name": name}, prediction), Toy())
    assert "\n" not in str(caught.value)


def test_recycling_noises_the_range_that_its_card_names():
    given = load_recipe("hippocampus-mri", ["sampling.mask_range=[0, 1]"])
    config = dict(given.network)
    with pytest.raises(UserError, match=r"leave out sampling\.mask_range"):
        make_loss(given, build_network(config.pop("name"), **config))


@pytest.mark.parametrize(
    "name", ["denoising", "mask_prior", "image_generation", "feedforward"]
)
def test_a_network_that_denoises_nothing_is_refused(name):
    given = recipe({"name": name}, "classes" if name == "feedforward" else "x0")
    with pytest.raises(UserError, match="and toy does not"):
        make_loss(given, nn.Conv2d(1, 1, 1))


# Each of them teaches


@pytest.mark.parametrize(
    ("objective", "prediction", "net"),
    [
        ({"name": "denoising"}, "eps", Toy),
        ({"name": "denoising"}, "v", lambda: Toy(learned=True)),
        ({"name": "denoising", "loss": "l1"}, "x0", ToyCalibrated),
        ({"name": "feedforward"}, "classes", Toy),
        ({"name": "mask_prior"}, "x0", Toy),
        ({"name": "image_generation"}, "eps", Toy),
    ],
)
def test_a_few_steps_lower_the_loss(objective, prediction, net):
    torch.manual_seed(0)
    network = net()
    loss_of = make_loss(recipe(objective, prediction), network)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)

    def mean_loss():
        with torch.no_grad():
            return sum(float(loss_of(network, batch(16, key=k))[0]) for k in (1, 2))

    before = mean_loss()
    for step in range(40):
        optimiser.zero_grad()
        loss_of(network, batch(16, key=10 + step))[0].backward()
        optimiser.step()
    assert mean_loss() < 0.8 * before
