"""Measure what fine-tuning on corrections gains, by a simulated annotator.

    python docs/measuring/finetune_study.py --data DATASET --out FOLDER --minutes 3

A model is trained on few cases for some minutes. Then so many other cases of the split
`train` are put into a project, corrected to their reference and accepted, and the model
is fine-tuned on them, gate and all; a few more are held out for the gate. Parent, child
and the shipped model are scored on the split `val`, which none of them was chosen by
here. The same from the shipped model. A simulated user is not a user: it corrects
everything, and makes no mistake.

Each step is kept in FOLDER and not taken again: what was broken off goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffseg import load_segmenter
from diffseg.errors import UserError
from diffseg.models import add_model, find_model
from diffseg.progress import run
from diffseg.project import store
from diffseg_training.dataset import (
    Case,
    Dataset,
    load_dataset,
    read_image,
    read_reference,
)
from diffseg_training.evaluation import evaluation_config, iter_evaluate
from diffseg_training.finetuning.job import FinetuneJob
from diffseg_training.finetuning.run import iter_finetune
from diffseg_training.run import train_model

SHIPPED = "hippocampus-mri"
FEW, JUDGES = 8, 4


@dataclass(frozen=True, slots=True)
class Plan:
    """What is studied, and where it is kept."""

    data: Path
    out: Path
    minutes: float
    counts: tuple[int, ...]
    settings: tuple[str, ...]
    device: str
    seed: int
    replay: bool


def cases_of(dataset: Dataset) -> list[Case]:
    """Cases of the split `train`, one a patient, in order of name."""
    found: dict[str, Case] = {}
    for case in sorted(dataset.split("train"), key=lambda one: one.case):
        if case.mask is not None:
            found.setdefault(case.group, case)
    return list(found.values())


def few_cases(plan: Plan, dataset: Dataset, few: Sequence[Case]) -> Path:
    """A data set of few cases to train on, and the rest of its split to choose on."""
    folder = plan.out / "few"
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["case,group,split,image,mask,labels"]
    for index, case in enumerate(few):
        split = "train" if index < FEW else "val"
        images = ";".join(str(path.resolve()) for path in case.images)
        mask = case.mask.resolve() if case.mask else ""
        rows.append(f"{case.case},{case.group},{split},{images},{mask},?")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    classes = {label.value: label.name for label in dataset.labels.each()}
    (folder / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    return folder


def poor_model(plan: Plan, dataset: Dataset, few: Sequence[Case]) -> str:
    """Train on few cases for some minutes; the model's id."""
    if not (plan.out / "poor" / "model" / "card.json").is_file():
        data = few_cases(plan, dataset, few)
        options = [f"length.minutes={plan.minutes}", "trackers=[]"]
        done = train_model(
            SHIPPED, str(data), plan.out / "poor", options, device=plan.device
        )
        run(done, told)
    try:
        return find_model("poor@1.0.0").name
    except UserError:
        return add_model(plan.out / "poor" / "model", "poor").name


def project_of(
    plan: Plan, name: str, dataset: Dataset, learn: Sequence[Case], hold: Sequence[Case]
) -> Path:
    """A project in which every case was corrected to its reference and accepted."""
    folder = plan.out / "projects" / name
    whole = folder / "whole"
    if whole.is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)  # it was broken off
    with store.create_project(folder, labels=dataset.labels, annotator="study") as made:
        for case in (*learn, *hold):
            image = list(case.images) if len(case.images) > 1 else case.images[0]
            kept = store.add_case(made, image, annotator="study", name=case.case)
            truth = read_reference(case, read_image(case), dataset.labels)
            store.add_correction(made, kept.id, truth, annotator="study")
            store.set_review(made, kept.id, store.State.DONE, reviewer="study")
    whole.touch()
    return folder


def scored(plan: Plan, model: str, dataset: Dataset) -> dict[str, Any]:
    """Dice of a model on the split `val`, by structure and their mean."""
    kept = plan.out / "scores" / f"{model}.json"
    if not kept.is_file():
        config = evaluation_config(split="val", seed=plan.seed)
        segmenter = load_segmenter(model, device=plan.device)
        metrics = run(iter_evaluate(segmenter, dataset, config), told).metrics
        found = {**metrics["mean"]["dice"], "mean": metrics["dice_macro"]}
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found), encoding="utf-8")
    found = json.loads(kept.read_text(encoding="utf-8"))
    return dict(found)


def finetuned(plan: Plan, model: str, project: Path, hold: Sequence[Case]) -> Any:
    """Fine-tune, gate included; what the project noted of it, and the seconds."""
    kept = project / "done.json"
    if not kept.is_file():
        began = time.perf_counter()
        job = FinetuneJob(
            project=str(project),
            model=model,
            annotator="study",
            hold_out=tuple(case.case for case in hold),
            settings=plan.settings,
            seed=plan.seed,
            device=plan.device,
            replay=replayed(plan, model),
        )
        done = run(iter_finetune(job), told).as_json()
        done["seconds"] = time.perf_counter() - began
        kept.write_text(json.dumps(done), encoding="utf-8")
    return json.loads(kept.read_text(encoding="utf-8"))


def replayed(plan: Plan, model: str) -> str | None:
    """The few cases of the model trained on them; those of the other judge here."""
    wanted = plan.replay and not model.startswith(SHIPPED)
    return str(plan.out / "few") if wanted else None


def study(plan: Plan) -> Iterator[str]:
    """Yield the lines of the table."""
    dataset = load_dataset(plan.data)
    cases = cases_of(dataset)
    need = FEW + 4 + JUDGES + max(plan.counts)
    if len(cases) < need:
        raise UserError(f"{plan.data} has {len(cases)} patients to train; give {need}")
    hold, pool = cases[FEW + 4 : FEW + 4 + JUDGES], cases[FEW + 4 + JUDGES :]
    poor = poor_model(plan, dataset, cases[: FEW + 4])
    ship = scored(plan, f"{SHIPPED}@1.0.0", dataset)
    yield "| start | corrected | before | after | shipped | closed | gate | seconds |"
    yield "|---|---|---|---|---|---|---|---|"
    for start in (poor, f"{SHIPPED}@1.0.0"):
        before = scored(plan, start, dataset)
        for count in plan.counts:
            name = f"{start.partition('@')[0]}-{count}"
            project = project_of(plan, name, dataset, pool[:count], hold)
            done = finetuned(plan, start, project, hold)
            # What the gate refuses is not used: the parent stays.
            after = before
            if done["outcome"] == "kept":
                after = scored(plan, done["model"], dataset)
            apart = ship["mean"] - before["mean"]
            closed = (after["mean"] - before["mean"]) / apart if apart > 1e-6 else None
            share = "" if closed is None else f"{100 * closed:.0f} %"
            yield (
                f"| {start} | {count} | {before['mean']:.4f} | {after['mean']:.4f} | "
                f"{ship['mean']:.4f} | {share} | {done['outcome']} | "
                f"{done['seconds']:.0f} |"
            )


def told(progress: Any) -> None:
    """Say how far it is, where somebody watches."""
    if sys.stderr.isatty():
        line = f"{progress.stage} {100 * progress.fraction:.0f} % {progress.message}"
        print(f"\r\033[K{line}", end="", file=sys.stderr)


@contextmanager
def models_in(folder: Path) -> Iterator[None]:
    """Keep the study's models out of the user's own."""
    before = os.environ.get("DIFFSEG_HOME")
    os.environ["DIFFSEG_HOME"] = str(folder.resolve())
    try:
        yield
    finally:
        os.environ.pop("DIFFSEG_HOME")
        if before is not None:
            os.environ["DIFFSEG_HOME"] = before


def main() -> None:
    """Read the options, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--counts", default="5,10,20")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--replay", action="store_true", help="mix the few cases in")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    given = vars(parser.parse_args())
    counts = tuple(int(one) for one in given.pop("counts").split(","))
    settings = tuple(given.pop("settings"))
    plan = Plan(**given, counts=counts, settings=settings)
    with models_in(plan.out / "home"):
        for line in study(plan):
            print(line, flush=True)


if __name__ == "__main__":
    main()
