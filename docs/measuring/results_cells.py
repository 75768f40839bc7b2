"""What is measured for docs/results.md: the cells of its tables, and their data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from results_data import FOLDS

SETS = ("ph2", "nuclei", "lgg")
NETWORKS = ("ensemdiff", "segdiff", "medsegdiff")
REFERENCES = ("unet", "segformer")
STEPS = {"a": 600, "b": 300, "c": 200, "d": 300, "e": 100}
TEACHER_STEPS, VESSEL_STEPS = 500, 900
"""Of each training of a table, of LEAF's small teachers, and of vessels in table d."""
SCHEDULES = {
    "linear-1e-4-0.02": ("linear", "[0.0001, 0.02]"),
    "linear-8.5e-4-0.012": ("linear", "[0.00085, 0.012]"),
    "scaled-1.5e-3-0.0155": ("scaled_linear", "[0.0015, 0.0155]"),
}
"""Beside linear 0.0015 to 0.0155, which is the LEAF recipes' own."""
CLEAN = ("sampling.prediction=x0",)
"""Of table d: what predicts the noise has learnt nothing after as few steps."""
SIZES = {
    "nuclei": ("preparation.size=[128, 128]",),
    "chasedb1": ("preparation.size=[320, 328]",),
}
"""Other than the recipes': nuclei are seen whole, vessels at a third and not a half."""
NNUNET = {"ph2": 64, "nuclei": 128, "lgg": 64}
"""Pixels a side; its one epoch is 250 steps of its own batch, 5 % of a small set."""
SEEDS = {"ph2": ("--seeds", "0,1,2,3,4,5,6,7,8,9"), "lgg": ("--seeds", "0,1,2")}
EVALUATED = ("--members", "5", "--steps", "25")
"""Of a diffusion model; papers take 100 or 1000 steps, from far longer trainings."""
FEW = ("--members", "5", "--steps", "10")
FEWER = ("--members", "5", "--steps", "5")
FEWEST = ("--members", "2", "--steps", "5")
"""Of volumes, of vessels, and where it is only shown that a method works."""
Kind = Literal["model", "evaluation", "part", "fingerprint", "losses", "nnunet"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One thing to measure: most often a training and the evaluation of its model.

    Attributes
    ----------
    name : str
        Of its file in docs/results, and of its folder among the runs.
    table : str
        Letter of the table in docs/results.md.
    data : str
        Name of the data set; see `results_data.data_folder`.
    recipe : str
        For an evaluation and for losses: the name of the cell that was trained.
    settings : tuple of str
        ``--set`` of the training, or options of another command; ``{runs}`` stands
        for the folder of the runs.
    evaluation : tuple of str
        Further arguments of ``diffseg evaluate``.
    kind : str
        `model`: train and evaluate; `evaluation`: of another cell's model; `part`:
        train what is no segmenter; `fingerprint`; `losses`: of two cells, against
        the timestep; `nnunet`: by its own commands, with the settings as options.
    """

    name: str
    table: str
    data: str
    recipe: str
    settings: tuple[str, ...] = ()
    evaluation: tuple[str, ...] = ()
    kind: Kind = "model"

    @property
    def steps(self) -> int:
        """Of its training."""
        if self.kind == "part" and self.name.endswith("-teacher"):
            return TEACHER_STEPS
        if self.table == "d" and self.recipe.startswith("chasedb1"):
            return VESSEL_STEPS
        return STEPS[self.table]

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the cells that must have been run before."""
        named = re.findall(r"\{runs\}/([^/]+)/", " ".join(self.settings))
        if self.kind == "evaluation":
            named.append(self.recipe)
        if self.kind == "losses":
            named += [self.recipe, f"{self.recipe}-images"]
        return tuple(named)


def cells() -> Iterator[Cell]:
    """Every cell of the tables; what others need comes before them."""
    for data in SETS:
        yield from _comparison(data)
    for data in SETS:
        yield from _experiments(data)
    for data in ("ph2", "lgg"):
        yield Cell(f"{data}-teacher", "c", data, f"{data}-teacher", kind="part")
    for data in ("ph2", "lgg"):
        yield from _predictions(data)
    yield from _volumes()
    for data, pixels in NNUNET.items():
        one = ("--epochs", "1", "--processes", "1")
        name = f"{data}-nnunet"
        yield Cell(name, "a", f"{data}@{pixels}", "nnunet", one, kind="nnunet")
    yield from _alignments("ph2")  # on lgg nothing is found after as many steps
    yield from _clean_masks()
    yield from _others()
    yield from _vessels()


def _comparison(data: str) -> Iterator[Cell]:
    """Table a: E1 and E2 of three networks, and the reference networks."""
    size = SIZES.get(data, ())
    for network in NETWORKS:
        run = f"{data}-{network}"
        yield Cell(run, "a", data, run, size, EVALUATED)
        twin = f"{run}-feedforward"
        yield Cell(twin, "a", data, twin, size, ("--members", "1"))
        flips = ("--members", "5")
        yield Cell(f"{twin}-flips", "a", data, twin, (), flips, "evaluation")
    for network in REFERENCES:
        run = f"{data}-{network}"
        yield Cell(run, "a", data, run, size, ("--members", "1"))


def _experiments(data: str) -> Iterator[Cell]:
    """Table b: the fingerprint (E3), E4, and losses against the timestep."""
    images, size = f"{data}-ensemdiff-images", SIZES.get(data, ())
    yield Cell(images, "b", data, images, size, kind="part")
    seen = ("--model", f"{{runs}}/{data}-ensemdiff/model")
    if size:  # with the image at its model's size, and at that of the others without
        yield _fingerprint(data, data, "b")
        yield _fingerprint(f"{data}-larger", data, "b", seen)
    else:
        yield _fingerprint(data, data, "b", seen)
    losses = f"{data}-losses"
    yield Cell(losses, "b", data, f"{data}-ensemdiff", kind="losses")


def _predictions(data: str) -> Iterator[Cell]:
    """Table c: LEAF by what is predicted, with and without alignment."""
    leaf, own = f"{data}-leaf", _teacher(data)
    for kind in ("x0", "v", "eps"):
        said = (f"sampling.prediction={kind}",)
        seeds = SEEDS[data] if kind == "x0" else ()
        yield Cell(f"{leaf}-{kind}", "c", data, leaf, (*said, own), seeds)
        alone = (*said, "objective.alignment=0")
        yield Cell(f"{leaf}-{kind}-alone", "c", data, leaf, alone, seeds)


def _clean_masks() -> Iterator[Cell]:
    """Table a: E2 that predicts the mask, and not the noise."""
    data, name = "ph2", "ph2-ensemdiff"
    yield Cell(f"{name}-x0", "a", data, name, CLEAN, EVALUATED)
    sloped = (*CLEAN, *_weightings(data)["-sampling"])
    yield Cell(f"{name}-x0-sampling", "a", data, name, sloped, EVALUATED)


def _alignments(data: str) -> Iterator[Cell]:
    """Table c: LEAF by strength of the alignment, teacher and schedule."""
    leaf, own = f"{data}-leaf", _teacher(data)
    for strength in ("0.125", "0.5"):
        said = (f"objective.alignment={strength}", own)
        yield Cell(f"{leaf}-strength-{strength}", "c", data, leaf, said)
    other = {"ph2": "lgg", "lgg": "ph2"}
    foreign = (_teacher(other[data]),)
    yield Cell(f"{leaf}-foreign-teacher", "c", data, leaf, foreign)
    for name, (schedule, betas) in SCHEDULES.items():
        said = (f"sampling.schedule={schedule}", f"sampling.betas={betas}", own)
        yield Cell(f"{leaf}-{name}", "c", data, leaf, said)


def _teacher(data: str) -> str:
    return f"objective.teacher={{runs}}/{data}-teacher/part"


def _others() -> Iterator[Cell]:
    """Table e: every other method on every other set."""
    yield Cell("nuclei-leaf", "e", "nuclei", "nuclei-leaf")
    for data in ("hippocampus", "chasedb1-0"):
        name = data.partition("-")[0]
        size = SIZES.get(name, ())
        for network in ("segdiff", "medsegdiff"):
            run = f"{name}-{network}"
            yield Cell(run, "e", data, run, size, FEWEST)
        yield Cell(f"{name}-leaf", "e", data, f"{name}-leaf", size)


def _volumes() -> Iterator[Cell]:
    """Table d: slope weighting, members and steps, by slices of volumes."""
    data, recipe = "hippocampus", "hippocampus-ensemdiff"
    yield _fingerprint(data, data)
    often = "length.validations=6"
    for way, settings in _weightings(data).items():
        said = (often, *CLEAN, *settings)
        yield Cell(f"{recipe}{way}", "d", data, recipe, said, FEW)
    for members, steps in ((1, 10), (2, 10), (5, 1), (5, 5)):
        yield _draws(data, f"{recipe}-sampling", members, steps)
    yield Cell(f"{recipe}-eps", "d", data, recipe, (often,), FEW)  # as published


def _vessels() -> Iterator[Cell]:
    """Table d: vessels by patient; of the first fold slope weighting and E1, too."""
    recipe, size = "chasedb1-ensemdiff", SIZES["chasedb1"]
    for twin in (f"{recipe}-feedforward", "chasedb1-unet"):
        yield Cell(f"{twin}-0", "d", "chasedb1-0", twin, size)
    yield Cell("chasedb1-unet", "d", "chasedb1", "chasedb1-unet", size)  # to be shipped
    for fold in range(FOLDS):
        here = f"chasedb1-{fold}"
        yield Cell(f"{recipe}-{fold}", "d", here, recipe, (*size, *CLEAN), FEWER)
    yield _draws("chasedb1-0", f"{recipe}-0", 1, 5)
    for fold in range(FOLDS):
        yield _draws(f"chasedb1-{fold}", f"{recipe}-{fold}", 5, 1)
    here, run = "chasedb1-0", f"{recipe}-sampling-0"
    yield _fingerprint(here, here)
    said = (*size, *CLEAN, *_weightings(here)["-sampling"])
    yield Cell(run, "d", here, recipe, said, FEWER)
    yield _draws(here, run, 5, 1)


def _fingerprint(
    name: str, data: str, table: str = "d", options: tuple[str, ...] = ()
) -> Cell:
    run = f"{name}-fingerprint"
    return Cell(run, table, data, "fingerprint", options, kind="fingerprint")


def _weightings(name: str) -> dict[str, tuple[str, ...]]:
    curve = f"objective.fingerprint={{runs}}/{name}-fingerprint/fingerprint.json"
    return {
        "": (),
        "-sampling": ("objective.weighting=sampling", curve),
        "-loss": ("objective.weighting=loss", curve),
    }


def _draws(data: str, trained: str, members: int, steps: int) -> Cell:
    said = ("--members", str(members), "--steps", str(steps))
    name = f"{trained}-{members}x{steps}"
    return Cell(name, "d", data, trained, (), said, "evaluation")
