"""nnU-Net as a reference, by its own commands: planned, trained, asked, scored.

It is an extra, ``napari-diffseg[nnunet]``, and runs in processes of its own. Its
checkpoints are pickles: nothing of ours reads them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffseg.domain import Proposal, Provenance
from diffseg.ensemble.entropy import normalised_entropy
from diffseg.errors import DiffsegError, UserError
from diffseg.progress import Progress, Work
from diffseg.volume import Volume, read_mask
from diffseg.volume.atomic import atomic_write_bytes
from diffseg_training.case_score import class_indices, score_case
from diffseg_training.case_trust import Rankings
from diffseg_training.dataset import Case, Dataset, read_image, read_reference
from diffseg_training.evaluation_summary import summarise
from diffseg_training.nnunet_export import ENDING, NAME, NUMBER, export_raw, splits_of

EPOCHS = (1, 5, 10, 20, 50, 100, 250, 500, 750, 1000, 2000, 4000, 8000)
"""Lengths that nnU-Net has a trainer for; an epoch is 250 steps."""
INSTALL = "pip install 'napari-diffseg[nnunet]'"


@dataclass(frozen=True, slots=True)
class Plan:
    """What nnU-Net is asked to do.

    Parameters
    ----------
    configuration : {"2d", "3d_fullres"}
    epochs : int
        One of `EPOCHS`.
    device : {"cpu", "cuda", "mps"}
    processes : int
        That prepare and export cases at once.
    """

    configuration: Literal["2d", "3d_fullres"] = "2d"
    epochs: int = 1000
    device: str = "cpu"
    processes: int = 2

    def __post_init__(self) -> None:
        if self.configuration not in ("2d", "3d_fullres"):
            raise UserError(
                f"configuration {self.configuration!r} is not 2d or 3d_fullres"
            )
        if self.epochs not in EPOCHS:
            lengths = ", ".join(map(str, EPOCHS))
            raise UserError(
                f"nnU-Net has no trainer of {self.epochs} epochs; give one of {lengths}"
            )

    @property
    def trainer(self) -> str:
        """The name of nnU-Net's trainer of that length."""
        if self.epochs == 1000:
            return "nnUNetTrainer"
        return f"nnUNetTrainer_{self.epochs}epoch{'' if self.epochs == 1 else 's'}"

    def planning(self) -> list[str]:
        """Command that plans and preprocesses."""
        return [
            "nnUNetv2_plan_and_preprocess",
            *("-d", str(NUMBER), "-c", self.configuration),
            *("-np", str(self.processes), "-npfp", str(self.processes)),
            *("--verify_dataset_integrity", "--no_pbar"),
        ]

    def training(self) -> list[str]:
        """Command that trains the one fold there is."""
        return [
            *("nnUNetv2_train", str(NUMBER), self.configuration, "0"),
            *("-tr", self.trainer, "-device", self.device),
        ]

    def predicting(self, images: Path, out: Path) -> list[str]:
        """Command that predicts a folder of images, with probabilities."""
        return [
            *("nnUNetv2_predict", "-i", str(images), "-o", str(out)),
            *("-d", str(NUMBER), "-c", self.configuration, "-f", "0"),
            *("-tr", self.trainer, "-device", self.device),
            *("-npp", str(self.processes), "-nps", str(self.processes)),
            *("--save_probabilities", "--disable_progress_bar"),
        ]


def run_nnunet(
    dataset: Dataset, out: Path, split: str, plan: Plan
) -> Work[dict[str, Any]]:
    """Train nnU-Net on train, choose on val, predict `split` and score it.

    Parameters
    ----------
    dataset : Dataset
    out : Path
        New folder; ``predictions`` and a log of each command come to lie in it, and
        ``metrics.json``.
    split : str
    plan : Plan

    Returns
    -------
    dict
        As `score_predictions` gives it.

    Raises
    ------
    UserError
        nnU-Net is not installed, or the data set or the folder cannot be used.
    DiffsegError
        One of its commands failed.
    """
    _installed(plan)
    dataset.split("train"), dataset.split("val"), dataset.split(split)
    if (out / "metrics.json").exists():
        raise UserError(f"{out} holds a run already; name a new folder")
    places = {
        f"nnUNet_{kind}": str((out / kind).resolve())
        for kind in ("raw", "preprocessed", "results")
    }
    # Else its validation starts eight processes, wherever it runs.
    places["nnUNet_def_n_proc"] = str(plan.processes)
    folder = yield from export_raw(dataset, out / "raw", split)
    yield from _command(plan.planning(), out / "plan.log", places)
    fold = json.dumps(splits_of(dataset), indent=1)
    atomic_write_bytes(out / "preprocessed" / NAME / "splits_final.json", fold.encode())
    yield from _command(plan.training(), out / "train.log", places)
    asked = plan.predicting(folder / "imagesTs", out / "predictions")
    yield from _command(asked, out / "predict.log", places)
    metrics = yield from score_predictions(out / "predictions", dataset, split)
    text = json.dumps(metrics, indent=1) + "\n"
    atomic_write_bytes(out / "metrics.json", text.encode())
    return metrics


def score_predictions(
    folder: Path, dataset: Dataset, split: str
) -> Work[dict[str, Any]]:
    """Score a folder of predicted masks, whoever predicted them.

    Parameters
    ----------
    folder : Path
        ``CASE.nii.gz`` with class indices on each image's grid, and, where the model
        gave them, ``CASE.npz`` with `probabilities` (K, Z, Y, X), background first;
        without, a mask is taken for sure of itself.
    dataset : Dataset
    split : str

    Returns
    -------
    dict
        The numbers of ``metrics.json``, as of an evaluation.

    Raises
    ------
    UserError
        A case has no prediction, or one on another grid.
    """
    cases = [case for case in dataset.split(split) if case.mask is not None]
    if not cases:
        raise UserError(f"no case of split {split!r} has a reference mask")
    scores, rankings = [], Rankings()
    for done, case in enumerate(cases):
        yield Progress("evaluate", done, len(cases), case.case)
        volume = read_image(case)
        proposal = _as_proposal(folder, case, volume, dataset)
        reference = read_reference(case, volume, dataset.labels)
        order = class_indices(reference, dataset.labels, dataset.labels)
        score, ranking = score_case(case.case, case.group, proposal, [order], 0.0)
        scores.append(score)
        rankings = rankings + ranking
    summary = summarise(scores, rankings)
    return {"model": {"id": folder.name}, "split": split, "members": 1, **summary}


def _as_proposal(
    folder: Path, case: Case, volume: Volume, dataset: Dataset
) -> Proposal:
    file = folder / f"{case.case}{ENDING}"
    if not file.is_file():
        raise UserError(f"{file} is missing: case {case.case} has no prediction")
    indices = read_mask(file)
    if indices.shape != volume.shape:
        raise UserError(
            f"{file} is {indices.shape}, but its image is {volume.shape}; predict on "
            "the image's own grid"
        )
    count = len(dataset.labels)
    probability = np.stack([indices == i for i in range(count + 1)]).astype(np.float32)
    beside = folder / f"{case.case}.npz"
    if beside.is_file():
        with np.load(beside, allow_pickle=False) as stored:
            probability = stored["probabilities"].astype(np.float32)
    values = np.array([0, *dataset.labels.values], np.uint8)
    return Proposal(
        mask=values[indices],
        probability=probability[1:],
        uncertainty=normalised_entropy(probability),
        labels=dataset.labels,
        grid=volume.grid,
        source=volume.source,
        provenance=Provenance(
            {"id": folder.name}, seed=0, members=1, steps=1, device="", threads=0,
            seconds={},
        ),
    )  # fmt: skip


def _installed(plan: Plan) -> None:
    nowhere = Path()
    needed = (plan.planning(), plan.training(), plan.predicting(nowhere, nowhere))
    for command in needed:
        if shutil.which(command[0]) is None:
            raise UserError(f"nnU-Net is not installed ({command[0]}): {INSTALL}")


def _command(
    command: Sequence[str], log: Path, places: Mapping[str, str]
) -> Work[None]:
    """Run one of nnU-Net's commands; closing the generator ends it and its children."""
    stage = log.stem
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **places, "nnUNet_compile": "f"},
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                yield Progress(stage, message=_last_line(log))
                time.sleep(0.2)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
    if process.returncode:
        raise DiffsegError(
            f"{command[0]} ended with status {process.returncode}: "
            f"{_last_line(log) or 'it said nothing'} (all of it is in {log})"
        )


def _last_line(log: Path) -> str:
    with log.open(encoding="utf-8", errors="replace") as file:
        lines = deque((line.strip() for line in file if line.strip()), maxlen=1)
    return lines[0][:200] if lines else ""
