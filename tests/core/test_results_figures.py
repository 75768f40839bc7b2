"""The figures of docs/results.md, and what is told of fingerprints in numbers."""

from __future__ import annotations

import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from beside import measuring
from PIL import Image, ImageColor

from diffseg.diffusion import noise_schedule
from diffseg.errors import UserError
from diffseg_training.fingerprint import (
    Beyond,
    Conditional,
    Fingerprint,
    Origin,
    Recommended,
    write_fingerprint,
)

LEVELS = np.linspace(7, -10, 171)
BEYOND = np.linspace(-10.5, -15, 10)


@pytest.fixture(scope="module")
def docs():
    """The scripts, as one that lies beside them imports them."""
    return SimpleNamespace(
        figures=measuring("results_figures"),
        losses=measuring("results_losses"),
        recovery=measuring("results_recovery"),
    )


def logistic(middle, prior=0.2, *, floor=0.0, size=64, **more):
    """A fingerprint that reaches half of its prior's error at log SNR `middle`."""

    def error(levels):
        return tuple(np.maximum(prior / (1 + np.exp(levels - middle)), floor))

    return Fingerprint(
        log_snr=tuple(LEVELS),
        timestep=tuple(range(len(LEVELS))),
        error=error(LEVELS),
        prior_error=0.9 * prior,
        prior_error_held_out=prior,
        weights=np.ones(len(LEVELS)),
        recommended=Recommended(steps=17, refine_log_snr=-1.25),
        beyond=Beyond(log_snr=tuple(BEYOND), error=error(BEYOND)),
        origin=Origin(
            data="d", split="train", learned_on=8, measured_on=2, foreground=0.1,
            size=(size, size), minutes=1, training_steps=9, seed=0, draws=1, window=1,
            date="2026-01-01",
        ),
        **more,
    )  # fmt: skip


# Fingerprints in numbers


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_share_of_the_prior_is_reached_where_the_curve_says(docs, share):
    wanted = -2.03 - math.log(share / (1 - share))
    assert docs.recovery.reached(logistic(-2.03), share) == pytest.approx(
        wanted, abs=0.01
    )


def test_the_first_crossing_counts_though_the_curve_dips_after_it(docs):
    one = logistic(-2.0)
    error = np.array(one.error)
    error[np.abs(LEVELS - 3) < 0.01] = 0.15
    dipping = one.model_copy(update={"error": tuple(error)})
    assert docs.recovery.reached(dipping, 0.5) == pytest.approx(3.05, abs=0.06)


def test_what_is_never_or_always_reached_is_told(docs):
    late, early = logistic(-14.0), logistic(-2.0, floor=0.05)
    assert docs.recovery.reached(late, 0.9) == -math.inf
    assert docs.recovery.reached(early, 0.1) == math.inf
    table = docs.recovery.fingerprint_table({"late": late, "early": early})
    first, second = table.splitlines()[2:]
    assert first.startswith("| early | 0.2000 | above 7.0 | -2.0 |")
    assert "| below -15.0 |" in second


def test_the_table_is_in_the_order_of_loss_and_tells_convergence(docs):
    several = {
        "late": logistic(-9.0, warnings=("too few minutes",)),
        "early": logistic(-1.0, prior=0.1),
        "middle": logistic(-5.0),
    }
    assert docs.recovery.order(several) == ("early", "middle", "late")
    lines = docs.recovery.fingerprint_table(several).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:5]] == [
        "| early", "| middle", "| late"
    ]  # fmt: skip
    assert lines[2] == (
        "| early | 0.1000 | 1.2 | -1.0 | -3.2 | yes, 100 % | 17 | -1.2 |"
    )
    last = float(noise_schedule("linear", 1000).log_snr()[-1])
    share = 100 / (1 + math.exp(last + 9))
    assert f"| no, {share:.0f} % |" in lines[4]
    assert lines[-1] == "- late: too few minutes"
    assert len({line.count("|") for line in lines[:5]}) == 1


# Pictures


def opened(picture):
    with Image.open(picture) as image:
        return image.convert("RGB")


def shows(image, color):
    """Whether a picture has a colour, but for what its having few colours changes."""
    wanted = ImageColor.getrgb(color)
    return any(
        max(abs(a - b) for a, b in zip(one, wanted, strict=True)) <= 6
        for _, one in image.getcolors(10**6)
    )


def test_fingerprints_are_drawn_small_in_bytes(docs, tmp_path):
    held = Conditional(model="m", error=tuple(np.full(len(LEVELS), 0.02)))
    several = {
        "ph2": logistic(-7.0, conditional=held),
        "lgg": logistic(-4.0, prior=0.05),
        "other": logistic(-1.0),
    }
    picture = docs.figures.draw_fingerprints(several, tmp_path / "f.png")
    assert picture.stat().st_size < 200_000
    image = opened(picture)
    assert image.size == (1920, 900)
    assert all(shows(image, color) for color in ("#0072B2", "#009E73", "#CC79A7"))
    assert not shows(image, "#E69F00")  # of nuclei, which are not there


def test_fingerprints_of_two_sizes_are_refused(docs, tmp_path):
    several = {"a": logistic(0.0), "b": logistic(0.0, size=32)}
    with pytest.raises(UserError, match="several sizes"):
        docs.figures.draw_fingerprints(several, tmp_path / "f.png")
    with pytest.raises(UserError, match="there are none"):
        docs.figures.draw_fingerprints({}, tmp_path / "f.png")


def loss_file(docs, data="nuclei", last=999, **errors):
    timesteps = tuple(docs.losses.grid(last + 1))
    count = len(timesteps)
    return docs.figures.LossFile(
        data=data,
        count=9,
        timesteps=timesteps,
        errors={k: tuple(np.linspace(v, v / 50, count)) for k, v in errors.items()},
        standard_errors={k: tuple(np.full(count, v)) for k, v in errors.items()},
    )


def test_losses_are_drawn_a_panel_for_each_experiment(docs, tmp_path):
    several = [loss_file(docs, E2=0.3, E4=0.9), loss_file(docs, "ph2", E4=0.5)]
    picture = docs.figures.draw_losses(several, tmp_path / "l.png")
    assert picture.stat().st_size < 200_000
    image = opened(picture)
    assert image.size == (1920, 800)
    assert shows(image, "#0072B2")
    assert not shows(image.crop((0, 0, 960, 700)), "#0072B2")
    one = docs.figures.draw_losses(several[1:], tmp_path / "one.png")
    assert opened(one).size == (960, 800)
    mixed = [several[0], loss_file(docs, last=99, E2=0.3)]
    with pytest.raises(UserError, match="several schedules"):
        docs.figures.draw_losses(mixed, tmp_path / "l.png")


def test_the_command_draws_and_prints(docs, tmp_path, monkeypatch, capsys):
    write_fingerprint(logistic(-3.0), tmp_path / "fp")
    losses = tmp_path / "losses.json"
    losses.write_text(loss_file(docs, E2=0.3).model_dump_json())
    given = ["x", "--fingerprint", f"ph2={tmp_path / 'fp'}", "--losses", str(losses)]
    monkeypatch.setattr(sys, "argv", [*given, "--out", str(tmp_path)])
    docs.figures.main()
    assert "| ph2 | 0.2000 |" in capsys.readouterr().out
    assert {"fingerprints.png", "losses.png"} <= {p.name for p in tmp_path.iterdir()}
    # Files in docs/results hold the same among other things.
    cell = {"losses": json.loads(losses.read_text()), "date": "2026-01-01"}
    cell["fingerprint"] = logistic(-3.0).model_dump(mode="json")
    (tmp_path / "cell.json").write_text(json.dumps(cell))
    given = ["x", "--fingerprint", f"ph2={tmp_path / 'cell.json'}"]
    given += ["--losses", str(tmp_path / "cell.json"), "--out", str(tmp_path / "new")]
    monkeypatch.setattr(sys, "argv", given)
    docs.figures.main()
    assert "| ph2 | 0.2000 |" in capsys.readouterr().out
    drawn = [(tmp_path / d / "losses.png").read_bytes() for d in (".", "new")]
    assert drawn[0] == drawn[1]
    losses.write_text("{}")
    monkeypatch.setattr(sys, "argv", ["x", "--losses", str(losses)])
    with pytest.raises(SystemExit, match=r"losses\.json holds no losses"):
        docs.figures.main()
    monkeypatch.setattr(sys, "argv", ["x", "--fingerprint", "nameless"])
    with pytest.raises(SystemExit, match="is not NAME=FILE"):
        docs.figures.main()
