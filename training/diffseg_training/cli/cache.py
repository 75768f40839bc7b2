"""``diffseg models cache``: what classes look like, kept beside a model of words."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.models_tree import Json, brief
from diffseg.cli.output import emit, follow
from diffseg.errors import UserError
from diffseg_training.labelled_project import PATIENT

if TYPE_CHECKING:
    from diffseg.models import ModelFolder
    from diffseg_training.settings.diclip import Caching


def cache(
    model: Annotated[
        str, typer.Argument(metavar="ID[@VERSION]|DIR", help="A model of words.")
    ],
    id: Annotated[str, typer.Option("--id", help="The name of the new model.")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="DATASET", help="Images with image-level labels."),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "train",
    generate: Annotated[
        int, typer.Option(metavar="N", help="Draw N images of each class.")
    ] = 0,
    project: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Take its corrections.")
    ] = None,
    patient: Annotated[
        str, typer.Option(help="Whose first group in a case's name is the patient.")
    ] = PATIENT,
    images: Annotated[
        int, typer.Option(help="Most slices of a class, and without any.")
    ] = 50,
    classes: Annotated[
        str, typer.Option(metavar="NAME,...", help="Cached ones; else all.")
    ] = "",
    clusters: Annotated[int, typer.Option(help="Keys of a class.")] = 10,
    background: Annotated[int, typer.Option(help="Keys of the background.")] = 20,
    weighting: Annotated[
        str, typer.Option(help="Values: text, one_hot or softmax.")
    ] = "text",
    prompt: Annotated[
        str, typer.Option(help="Of drawn images, with {} for the class.")
    ] = "",
    drawing_steps: Annotated[
        int, typer.Option("--drawing-steps", help="Of a drawn image.")
    ] = 45,
    guidance: Annotated[
        float, typer.Option(help="How far its prompt is followed.")
    ] = 10.0,
    seed: Annotated[int, typer.Option(help="Every random number follows.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The model's folder; else among yours."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    json: Json = False,
) -> None:
    """Build a model's cache of features, or let it grow; a new model has it.

    Example: diffseg models cache skin-words --id skin-cached --data data/ph2
    """
    from diffseg.models import add_model, find_model
    from diffseg.segmenters import resolve_device
    from diffseg_training.text.caching import CacheJob, iter_cached_model

    how = _how(
        images=images,
        generated=generate,
        classes=tuple(one.strip() for one in classes.split(",")) if classes else None,
        clusters=clusters,
        background_clusters=background,
        weighting=weighting,
        prompt=prompt,
        drawing_steps=drawing_steps,
        guidance=guidance,
    )
    job = CacheJob(how, data, split, project, patient, seed)
    source, where = find_model(model), resolve_device(device)
    if out is not None:
        made, told = follow(iter_cached_model(source, job, out, id, where))
    else:
        with tempfile.TemporaryDirectory() as aside:
            path = Path(aside) / "model"
            made, told = follow(iter_cached_model(source, job, path, id, where))
            made = add_model(made.path, id)
    emit({**brief(made), **told}, json, lambda: _text(made, told))


def _how(**given: Any) -> Caching:
    """Options of the cache; `UserError` names the one that is wrong."""
    from pydantic import ValidationError

    from diffseg_training.settings.diclip import Caching

    try:
        return Caching(**given)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        name = str(first["loc"][0])
        flags = {"generated": "generate", "background_clusters": "background"}
        flag = flags.get(name, name).replace("_", "-")
        said = str(first["msg"])
        raise UserError(f"--{flag} is {given[name]!r}: {said.lower()}") from None


def _text(made: ModelFolder, told: dict[str, Any]) -> str:
    keys = ", ".join(f"{name} {count}" for name, count in told["keys"].items())
    images = ", ".join(f"{n} {kind}" for kind, n in told["images"].items() if n)
    lines = [f"{made.name} has a cache: {made.path}", f"keys: {keys}; of {images}"]
    lines += [
        f"{count} masks of {name} covered no patch and were left out"
        for name, count in told["empty"].items()
        if count
    ]
    if told["held_out"]:
        lines.append(f"{told['held_out']} cases are held out to judge, and left out")
    return "\n".join(lines)
