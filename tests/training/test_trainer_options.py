"""What a recipe can ask of the trainer, one thing at a time."""

import contextlib
import json

import pytest
import torch
from beside import beside
from safetensors.torch import load_file
from torch import nn

import diffseg_training.trainer
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg_training.average import Average
from diffseg_training.curve import draw_curve
from diffseg_training.lora import add_lora, merged
from diffseg_training.machines import make_accelerator
from diffseg_training.optimisation import learning_rate
from diffseg_training.parts import save_part
from diffseg_training.recipe_parts import Length, Lora, Optimiser
from diffseg_training.state import read_log
from diffseg_training.step import Step, keep_float32
from diffseg_training.synchronised import (
    deviation_over_processes,
    synchronise_batch_norm,
)
from diffseg_training.training_set import Example
from diffseg_training.validation import chosen_cases

tiny_run = beside(__file__, "tiny_run")
tiny_recipe, tiny_train = tiny_run.tiny_recipe, tiny_run.tiny_train


class NoNorm(tiny_run.TinyDenoiser):
    """Each sample for itself, so that a batch may be taken in parts."""

    def __init__(self):
        super().__init__()
        self.image[1] = self.norm = nn.Identity()


def losses(out):
    return [row["loss"] for row in read_log(out / "log.jsonl") if "loss" in row]


# Length


def test_a_run_stops_when_validations_gain_no_more(tmp_path):
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.9])
    recipe = tiny_recipe(10, "length.validations=5", "length.patience=2")
    result = run(
        tiny_train(recipe, tmp_path, validate=lambda _: {"score": next(scores)})
    )
    assert result.best == {"score": 0.5}
    assert (result.steps, result.stopped) == (8, True)
    # Taken up again, it stays stopped; with more patience it goes on.
    recipe = tiny_recipe(10, "length.validations=5", "length.patience=3")
    more = {"validate": lambda _: {"score": next(scores)}, "resume": True}
    result = run(tiny_train(recipe, tmp_path, **more))
    assert (result.steps, result.best) == (10, {"score": 0.9})


def test_validation_is_bounded_evenly_over_the_cases():
    assert chosen_cases(range(9), Length(validation_cases=3)) == [0, 4, 8]
    assert chosen_cases(range(2), Length(validation_cases=3)) == range(2)
    assert chosen_cases(range(9), Length()) == range(9)


# Optimiser


def test_learning_rate_warms_up_then_falls_or_stays():
    options = Optimiser(learning_rate=1.0, warmup=0.1)
    assert learning_rate(options, 0.05) == pytest.approx(0.51)
    assert learning_rate(options, 0.1) == pytest.approx(1)
    assert learning_rate(options, 0.55) == pytest.approx(0.505)
    assert learning_rate(options, 1.2) == pytest.approx(0.01)
    steady = options.model_copy(update={"schedule": "constant"})
    assert learning_rate(steady, 0.05) == pytest.approx(0.51)
    assert learning_rate(steady, 0.9) == 1
    assert learning_rate(Optimiser(learning_rate=1.0, warmup=0), 0) == 1


def test_a_batch_in_parts_is_the_same_step(tmp_path):
    for parts in (1, 2, 4):
        recipe = tiny_recipe(5, f"optimiser.accumulate={parts}")
        run(tiny_train(recipe, tmp_path / str(parts), NoNorm))
    whole = losses(tmp_path / "1")
    assert losses(tmp_path / "2") == pytest.approx(whole, abs=1e-5)
    assert losses(tmp_path / "4") == pytest.approx(whole, abs=1e-5)


def test_threads_change_no_number(tmp_path):
    for workers in (0, 3):
        recipe = tiny_recipe(5, f"loading.workers={workers}")
        run(tiny_train(recipe, tmp_path / str(workers)))
    assert losses(tmp_path / "0") == losses(tmp_path / "3")


def test_frozen_parameters_are_neither_trained_nor_averaged(tmp_path):
    class Frozen(tiny_run.TinyDenoiser):
        def __init__(self):
            super().__init__()
            self.middle.requires_grad_(False)

    torch.manual_seed(0)
    before = Frozen().middle.weight.clone()
    result = run(tiny_train(tiny_recipe(3), tmp_path, Frozen))
    (file,) = (tmp_path / "state").glob("*.safetensors")
    state = load_file(file)
    assert torch.equal(result.network.middle.weight, state["net.middle.weight"])
    assert "best.middle.weight" not in state
    assert "best.last.weight" in state
    shadows = [key for key in state if key.startswith("ema.")]
    assert len(shadows) == len(list(Frozen().parameters())) - 2
    assert before.shape == result.network.middle.weight.shape


def test_small_maps_can_stay_in_float32():
    net = nn.Conv3d(1, 2, 3, padding=1)
    keep_float32(net, 100)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = [net(torch.randn(1, 1, n, n, n)).dtype for n in (8, 4)]
    assert seen == [torch.bfloat16, torch.float32]


def test_synchronised_batch_norm_is_batch_norm_in_one_process():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Sequential(nn.BatchNorm2d(3)))
    other = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Sequential(nn.BatchNorm2d(3)))
    other.load_state_dict(plain.state_dict())
    other = synchronise_batch_norm(other, "cpu")
    assert type(other[1][0]) is not nn.BatchNorm2d
    x = torch.randn(4, 2, 5, 5)
    # The gradient of a normalised sum of squares would be nearly all rounding.
    weight = torch.randn(4, 3, 5, 5)
    for net in (plain, other):
        (weight * net(x)).sum().backward()
    for mine, theirs in zip(other.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-4, rtol=1e-4)
    assert other.state_dict().keys() == plain.state_dict().keys()
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], value)
    torch.testing.assert_close(other.eval()(x), plain.eval()(x))


@pytest.mark.slow  # of what it is held to, which is long in coming
@pytest.mark.parametrize("warmup", [True, False])
def test_the_average_is_diffusers_own(warmup):
    from diffusers.training_utils import EMAModel

    torch.manual_seed(0)
    ours, theirs = (nn.Linear(3, 4) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    mine = Average(ours.parameters(), 0.9, warmup=warmup)
    other = EMAModel(theirs.parameters(), decay=0.9, use_ema_warmup=warmup, power=0.75)
    kept = []
    for _ in range(40):
        for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
            with torch.no_grad():
                one.add_(torch.randn_like(one))
                two.copy_(one)
        mine.step([*ours.parameters()])
        other.step(theirs.parameters())
        assert mine.share_kept() == other.get_decay(other.optimization_step)
        kept.append(mine.share_kept())
        for shadow, wanted in zip(mine.shadows, other.shadow_params, strict=True):
            torch.testing.assert_close(shadow, wanted, atol=1e-6, rtol=0)
    assert kept[0] == 0
    assert kept[1] < kept[10] < 0.9
    assert (kept[-1] == 0.9) == warmup  # the slower growth needs 90 steps


def test_averages_stand_in_and_go_again():
    net = nn.Linear(1, 1, bias=False)
    average = Average(net.parameters(), 0.5, warmup=False)
    before, parameters = net.weight.detach().clone(), [*net.parameters()]
    for _ in range(3):
        with torch.no_grad():
            net.weight.add_(1)
        average.step(parameters)
    own = before + 3
    with contextlib.suppress(ZeroDivisionError), average.in_place_of(parameters):
        assert before < net.weight < own
        raise ZeroDivisionError
    torch.testing.assert_close(net.weight.detach(), own)


def test_parts_can_be_averaged_alone(tmp_path):
    recipe = tiny_recipe(4, "optimiser.ema_of=[middle, last.]", "optimiser.ema=0.99")
    run(tiny_train(recipe, tmp_path))
    (file,) = (tmp_path / "state").glob("*.safetensors")
    state = load_file(file)
    assert len([key for key in state if key.startswith("ema.")]) == 4
    names = [name for name, _ in tiny_run.TinyDenoiser().named_parameters()]
    scored = tmp_path / "state" / "state.json"
    assert json.loads(scored.read_text(encoding="utf-8"))["unimproved"] == 0
    for name in names:  # the last validation was the best one
        same = torch.equal(state[f"best.{name}"], state[f"net.{name}"])
        assert same != name.startswith(("middle", "last")), name
    with pytest.raises(UserError, match=r"another optimiser\.ema_of"):
        run(tiny_train(tiny_recipe(6), tmp_path, resume=True))
    wrong = tiny_recipe(4, "optimiser.ema_of=[midle.]")
    with pytest.raises(UserError, match=r"'midle\.' begins no.*mean 'middle'"):
        run(tiny_train(wrong, tmp_path / "wrong"))


@pytest.fixture
def scaled(monkeypatch):
    """Runs whose loss is scaled, as fp16 asks for, on a processor."""

    def made(*given):
        accelerator = make_accelerator(*given)
        accelerator.scaler = torch.amp.GradScaler(
            "cpu", init_scale=4.0, growth_interval=2
        )
        return accelerator

    monkeypatch.setattr(diffseg_training.trainer, "make_accelerator", made)


def scaler_of(out):
    text = (out / "state" / "state.json").read_text(encoding="utf-8")
    return json.loads(text)["scaler"]


def test_the_scale_of_the_loss_is_kept_with_the_state(tmp_path, scaled):
    whole, part = tmp_path / "whole", tmp_path / "part"
    more = ("optimiser.clip=1e9", "length.validations=2")
    run(tiny_train(tiny_recipe(10, *more), whole))
    assert (scaler_of(whole)["scale"], scaler_of(whole)["_growth_tracker"]) == (128, 0)
    work = tiny_train(tiny_recipe(10, *more), part)
    for progress in work:
        if progress.stage == "validate":
            work.close()
    assert (scaler_of(part)["scale"], scaler_of(part)["_growth_tracker"]) == (16, 1)
    run(tiny_train(tiny_recipe(10, *more), part, resume=True))
    assert scaler_of(part) == scaler_of(whole)


def test_a_broken_step_lowers_the_scale(tmp_path, scaled):
    one = tiny_run.tiny_examples(1)[0]
    broken = Example("broken", torch.full_like(one.image, torch.nan), one.classes, 2)
    recipe = tiny_recipe(4, "optimiser.clip=1e9", "optimiser.batch=1")
    result = run(tiny_train(recipe, tmp_path, examples=[broken]))
    assert result.skipped == 4
    assert scaler_of(tmp_path)["scale"] == 4 / 2**4


def test_the_deviation_of_one_process_is_its_own():
    torch.manual_seed(0)
    x, y = (torch.randn(3, 4).mul(2).requires_grad_() for _ in range(2))
    y.data.copy_(x.data)
    found = deviation_over_processes(x)
    torch.testing.assert_close(found, y.std())
    found.backward()
    y.std().backward()
    torch.testing.assert_close(x.grad, y.grad)


# Weights


def test_updates_of_low_rank_are_trained_alone_and_merged(tmp_path):
    recipe = tiny_recipe(6, "lora={rank: 2, alpha: 4, targets: [middle, last]}")
    recipe = recipe.model_copy(
        update={"lora": recipe.lora.model_copy(update={"whole": ("image.0",)})}
    )
    result = run(tiny_train(recipe, tmp_path))
    (file,) = (tmp_path / "state").glob("*.safetensors")
    state = load_file(file)
    trained = {key for key in state if key.startswith("best.") and "norm" not in key}
    assert {key.rsplit(".lora_")[0] for key in trained if "lora" in key} == {
        "best.middle",
        "best.last",
    }
    shipped = result.network.state_dict()
    assert shipped.keys() == tiny_run.TinyDenoiser().state_dict().keys()
    torch.testing.assert_close(
        shipped["mask.weight"], state["net.mask.weight"], atol=0, rtol=0
    )
    a, b = (state[f"best.middle.lora_{k}.default.weight"] for k in "AB")
    update = torch.einsum("or,rikl->oikl", b[:, :, 0, 0], a) * 2
    base = state["net.middle.base_layer.weight"]
    assert float(update.abs().max()) > 0
    torch.testing.assert_close(shipped["middle.weight"], base + update)


def test_merged_updates_answer_as_unmerged_ones_do():
    torch.manual_seed(0)
    network = tiny_run.TinyDenoiser().eval()
    add_lora(network, Lora(rank=2, targets=("middle",)), 0)
    with torch.no_grad():
        network.middle.lora_B.default.weight.normal_()
    inputs = torch.randn(2, 1, 8, 8), torch.tensor([3, 900]), torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(merged(network)(*inputs), network(*inputs))
    with pytest.raises(UserError, match="fit no layer"):
        add_lora(tiny_run.TinyDenoiser(), Lora(targets=("attention",)), 0)


def test_weights_of_a_loss_are_trained_and_kept_with_the_state(tmp_path, monkeypatch):
    class Scaled(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.projector = nn.Linear(1, 1)
            self.network = network  # must not be kept twice

        def forward(self, network, batch):
            answer = network(
                batch.image, torch.zeros(len(batch.image), dtype=int), batch.image
            )
            wanted = batch.classes[:, None].float()
            total = (self.projector(answer[..., None])[..., 0] - wanted).square().mean()
            return total, {"error": total.detach()}

    monkeypatch.setattr(
        diffseg_training.trainer, "make_loss", lambda _, network: Scaled(network)
    )
    whole = tmp_path / "whole"
    run(tiny_train(tiny_recipe(6), whole))
    work = tiny_train(tiny_recipe(6), tmp_path / "part")
    for progress in work:
        if progress.stage == "validate":
            work.close()
    run(tiny_train(tiny_recipe(6), tmp_path / "part", resume=True))
    states = []
    for out in (whole, tmp_path / "part"):
        (file,) = (out / "state").glob("*.safetensors")
        states.append(load_file(file))
    mine = {key for key in states[0] if key.startswith("loss.")}
    assert mine == {"loss.projector.weight", "loss.projector.bias"}
    for key, value in states[0].items():
        assert torch.equal(states[1][key], value), key


def test_a_part_is_chosen_by_its_loss_and_shipped_without_a_card(tmp_path):
    held_out = tiny_run.tiny_examples(3)
    recipe = tiny_recipe(4, "product=part")
    result = run(tiny_train(recipe, tmp_path, validate=None, held_out=held_out))
    assert result.best["score"] == -result.best["loss"] < 0
    folder = save_part(tmp_path / "part", recipe, result)
    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert told["objective"] == "denoising"
    weights = load_file(folder / "model.safetensors")
    tiny_run.TinyDenoiser().load_state_dict(weights)


# What is told


def test_trackers_and_curve_tell_the_run(tmp_path):
    recipe = tiny_recipe(6, "trackers=[tensorboard]")
    run(tiny_train(recipe, tmp_path))
    (events,) = tmp_path.glob("tracked/events.*")
    content = events.read_bytes()
    assert b"train/loss" in content
    assert b"val/score" in content
    picture = draw_curve(tmp_path / "log.jsonl", tmp_path / "curve.png", "Discs")
    assert picture.read_bytes().startswith(b"\x89PNG")
    (tmp_path / "none.jsonl").touch()
    draw_curve(tmp_path / "none.jsonl", tmp_path / "none.png")


def test_the_log_tells_means_and_the_pace(tmp_path):
    run(tiny_train(tiny_recipe(6), tmp_path / "each"))
    run(tiny_train(tiny_recipe(6, "length.log_steps=3"), tmp_path / "third"))
    each, third = losses(tmp_path / "each"), losses(tmp_path / "third")
    assert third == pytest.approx([sum(each[:3]) / 3, sum(each[3:]) / 3])
    row = read_log(tmp_path / "third" / "log.jsonl")[0]
    assert row["images_per_second"] > 0
    assert 0 <= row["waiting"] <= 1


def test_a_step_is_one_module_of_network_and_loss():
    step = Step(tiny_run.TinyDenoiser(), lambda network, batch: (network, {}))
    assert len(step.trained()) == len(step.averaged())
    assert step.of_loss() == {}
