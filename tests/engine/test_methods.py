"""A model of every method is listed, answers from another process, and tells steps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffseg.domain import Preview, Region, Request, Strokes
from diffseg.engine import Advanced, Engine, Failed, Finished, Job
from diffseg.engine.events import Planned
from diffseg.models import list_models
from diffseg.volume import Volume

pytestmark = pytest.mark.slow

METHODS = ("ensemdiff", "segdiff", "medsegdiff", "latent", "feedforward")
STEPS = 3


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine of one thread that knows a toy of each method."""
    folder = tmp_path_factory.mktemp("home")
    maker = Path(__file__).with_name("toy_models.py")
    subprocess.run([sys.executable, maker, folder / "models"], check=True, timeout=300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFSEG_HOME", str(folder))
        engine = Engine("", threads=1)
        yield engine
        engine.close()


def picture(channels: int = 3) -> Volume:
    """A picture of another size than the network's input, and not square."""
    shape = (channels, 1, 20, 28)
    voxels = np.random.default_rng(2).integers(0, 255, shape, np.uint8)
    return Volume.from_array(voxels, name="picture")


def job(method: str, channels: int = 3, **more: Any) -> Job:
    return Job(f"toy-{method}", Request(picture(channels), **more), "cpu")


def test_every_method_is_in_the_list(toys: Engine) -> None:
    listed = {model.card.method for model in list_models() if "toy-" in model.card.id}
    assert listed == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_answers_from_another_process(
    toys: Engine, ear: Any, method: str
) -> None:
    toys.propose(job(method, seed=4, keep_members=True), ear)
    done = ear.last()
    assert isinstance(done, Finished), done
    proposal = done.proposal
    assert proposal.mask.shape == (1, 20, 28)
    assert proposal.provenance.model["id"] == f"toy-{method}"
    assert proposal.members is not None
    assert len(proposal.members) == 2
    assert 0 <= proposal.probability.min() <= proposal.probability.max() <= 1
    assert proposal.probability.std() > 1e-4, "nothing of the image is in the answer"
    told = [one.progress for one in ear.events if isinstance(one, Advanced)]
    drawing = [one for one in told if one.stage == "sample"]
    shares = [one.fraction for one in drawing]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    steps = list(dict.fromkeys(one.detail for one in drawing if one.detail))
    if method == "feedforward":
        assert steps == []
    else:
        assert steps == [
            f"step {step} of {STEPS}, members 1 to 2 of 2"
            for step in range(1, STEPS + 1)
        ]
        assert {round(2 * step / STEPS, 3) for step in range(1, STEPS)} <= {
            round(one.done + one.under_way, 3) for one in drawing
        }


@pytest.mark.parametrize("method", METHODS)
def test_a_plan_of_every_method(toys: Engine, ear: Any, method: str) -> None:
    toys.plan(job(method), ear)
    planned = ear.last()
    assert isinstance(planned, Planned), planned
    assert planned.plan.seconds > 0
    assert planned.plan.members == 2


def test_a_box_of_a_model_that_resizes(toys: Engine, ear: Any) -> None:
    box = Region((0, 1), (3, 17), (5, 20))
    toys.propose(job("medsegdiff", region=box), ear)
    done = ear.last()
    assert isinstance(done, Finished), done
    outside = done.proposal.probability[1:].copy()
    outside[(slice(None), *box.slices)] = 0
    assert not outside.any()
    assert done.proposal.probability[(slice(None), *box.slices)].std() > 1e-4


@pytest.mark.parametrize(
    ("channels", "more", "why"),
    [
        (2, {}, "2 channels, model toy-segdiff wants 3 (red, green, blue)"),
        (3, {"steps": 21}, "model toy-segdiff has 20 noise levels: give 1 to 20"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    toys: Engine, ear: Any, channels: int, more: dict[str, int], why: str
) -> None:
    toys.propose(job("segdiff", channels, **more), ear)
    failed = ear.last()
    assert isinstance(failed, Failed), failed
    assert why in failed.message
    assert "\n" not in failed.message


@pytest.mark.parametrize("method", METHODS)
def test_what_was_drawn_stays_in_every_member(
    toys: Engine, ear: Any, method: str
) -> None:
    dense = np.zeros((1, 20, 28), np.uint8)
    dense[0, 4:9, 5:12], dense[0, 12, 8:20] = 1, 255
    mask = np.zeros_like(dense)
    mask[0, 10:16, 6:22] = 1
    given = {"strokes": Strokes.of(dense), "initial_mask": mask, "noise_level": 0.6}
    toys.propose(job(method, keep_members=True, **given), ear)
    done = ear.last()
    if method in ("latent", "feedforward"):
        assert isinstance(done, Failed), done
        assert "choose a diffusion model of masks" in done.message
        return
    assert isinstance(done, Finished), done
    for one in (done.proposal.mask, *done.proposal.members):
        assert (one[dense == 1] == 1).all()
        assert (one[dense == 255] == 0).all()
    told = [one.progress for one in ear.events if isinstance(one, Advanced)]
    previews = [one for one in told if isinstance(one, Preview)]
    assert previews
    assert (previews[-1].mask[dense == 1] == 1).all()


def test_grey_for_colour_is_told(toys: Engine, ear: Any) -> None:
    toys.propose(job("feedforward", 1), ear)
    done = ear.last()
    assert isinstance(done, Finished), done
    assert any("is grey" in line for line in done.proposal.warnings)
