"""``diffseg propose``: masks and their uncertainty for one or several images."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import emit, follow
from diffseg.cli.propose_kept import Initial, Kept, NoiseLevel, Touched
from diffseg.cli.propose_slices import Slices, said_of, table_of
from diffseg.errors import UserError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from diffseg.domain import ImageLabels, ModelCard, Region, Request
    from diffseg.domain.slice_ranges import RangeTable

Report = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked for on the command line, for every image alike."""

    images: Sequence[str]
    out: Path
    labels: str = ""
    slices: RangeTable | None = None
    text: str | None = None
    members: int | None = None
    steps: int | None = None
    seed: int = 0
    roi: str | None = None
    frame: int | None = None
    series: str | None = None
    keep_members: bool = False
    overwrite: bool = False
    kept: Kept = field(default_factory=Kept)


Images = Annotated[
    list[str],
    typer.Argument(metavar="IMAGE", help="Files or folders; channels joined by ';'."),
]
Model = Annotated[
    str, typer.Option(metavar="ID[@VERSION]|DIR", help="See diffseg models list.")
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Where the results go.")]
Labels = Annotated[
    str,
    typer.Option(metavar="NAME[=absent],...", help="What is known of the image."),
]
Words = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[CLASS=]WORDS,...", help="What to look for, in words; repeatable."
    ),
]
Members = Annotated[
    int | None, typer.Option(help="Draws of the ensemble; else the model's own.")
]
Steps = Annotated[
    int | None, typer.Option(help="Steps of each member; else the model's own.")
]
Seed = Annotated[int, typer.Option(help="Every random number follows from it.")]
Device = Annotated[
    str, typer.Option(envvar="DIFFSEG_DEVICE", help="auto, cpu, cuda or mps.")
]
Roi = Annotated[
    str | None,
    typer.Option(metavar="z0:z1,y0:y1,x0:x1", help="Where to look, half-open."),
]
Frame = Annotated[int | None, typer.Option(help="Of a 4D image; the first without it.")]
Series = Annotated[
    str | None, typer.Option(help="DICOM series, where a folder holds several.")
]
KeepMembers = Annotated[
    bool, typer.Option("--keep-members", help="Write each member's mask too.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier run's results.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def propose(
    images: Images,
    model: Model,
    out: Out,
    labels: Labels = "",
    slices: Slices = None,
    text: Words = None,
    members: Members = None,
    steps: Steps = None,
    seed: Seed = 0,
    device: Device = "auto",
    roi: Roi = None,
    frame: Frame = None,
    series: Series = None,
    keep_members: KeepMembers = False,
    initial: Initial = None,
    touched: Touched = None,
    noise_level: NoiseLevel = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Propose masks for images, with probabilities and uncertainty.

    Example: diffseg propose case.nii.gz --model hippocampus-mri --out out --members 8
    """
    from diffseg.models import find_model

    order = Order(
        images=images, out=out, labels=labels,
        text=None if text is None else ",".join(text),
        slices=table_of(slices), members=members,
        steps=steps, seed=seed, roi=roi, frame=frame, series=series,
        keep_members=keep_members, overwrite=overwrite,
        kept=Kept(initial, touched, noise_level),
    )  # fmt: skip
    requests = checked_requests(order, find_model(model).card)
    stems = [request.volume.name for request in requests]
    reports = run_requests(requests, order, model, device)
    emit({"results": reports}, json, lambda: _in_words(stems, reports, out))


def checked_requests(order: Order, card: ModelCard) -> list[Request]:
    """Make a request of every image, or raise before the first is run.

    Raises
    ------
    UserError
        An image cannot be read, two share a stem, a label, region or number is
        wrong, the model cannot use what was given, or results would be in the way.
    """
    from diffseg.domain import ImageLabels, Region
    from diffseg.domain.report import check_writable, gives_pictures

    known = ImageLabels.parse(order.labels).checked(card.labels)
    region = Region.parse(order.roi) if order.roi is not None else None
    _check_numbers(order)
    order.kept.check(len(order.images))
    requests = [_request(order, image, known, region, card) for image in order.images]
    sources = [request.volume.source for request in requests]
    _check_stems(order.images, [source.stem for source in sources])
    for request, source in zip(requests, sources, strict=True):
        check_writable(
            order.out,
            source.stem,
            card.labels,
            raster=gives_pictures(request.volume.grid, source),
            members=_kept(order, card),
            overwrite=order.overwrite,
        )
    return requests


def run_requests(
    requests: list[Request], order: Order, model: str, device: str
) -> list[Report]:
    """Run checked requests one after another, and write what they give."""
    from diffseg.segmenters import load_segmenter

    segmenter = load_segmenter(model, device=device)
    reports = []
    while requests:  # an image's voxels go with its request, once it is done
        proposal = follow(segmenter.iter_propose(requests.pop(0)))
        reports.append(proposal.save(order.out, overwrite=order.overwrite))
    return reports


def _request(
    order: Order,
    image: str,
    labels: ImageLabels,
    region: Region | None,
    card: ModelCard,
) -> Request:
    from diffseg.domain import Request
    from diffseg.segmenters.checks import check_request
    from diffseg.volume import Volume, check_readable

    opened = Volume.read(image, frame=order.frame, series=order.series)
    if order.roi is not None and order.roi.count(",") == 1 and opened.shape[0] > 1:
        raise UserError(
            f"region {order.roi!r} has two ranges, and {image} has {opened.shape[0]} "
            "planes; give z0:z1,y0:y1,x0:x1"
        )
    request = Request(
        volume=check_readable(opened, keep=True), region=region, labels=labels,
        text=order.text, members=order.members, steps=order.steps, seed=order.seed,
        keep_members=order.keep_members,
        slice_labels=said_of(order.slices, opened, card.labels.names),
    )  # fmt: skip
    check_request(card, request)
    if len(order.images) == 1:
        return replace(request, **order.kept.fields(request.volume, card.labels))
    # Of several images none is kept: a copy leaves the voxels behind, and they are
    # read again when their turn comes.
    return replace(request, volume=copy(request.volume))


def _check_numbers(order: Order) -> None:
    """Refuse impossible numbers before any image is read."""
    for name, least in (("members", 1), ("steps", 1), ("seed", 0)):
        value = getattr(order, name)
        if value is not None and value < least:
            raise UserError(f"--{name} is {value}; give {least} or more")


def _check_stems(images: Sequence[str], stems: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for image, stem in zip(images, stems, strict=True):
        if stem in first:
            raise UserError(
                f"{first[stem]} and {image} would both write {stem}_mask; "
                "propose for them one by one, into two folders"
            )
        first[stem] = image


def _kept(order: Order, card: ModelCard) -> int:
    return (order.members or card.sampling.members) if order.keep_members else 0


def _in_words(
    stems: Sequence[str], reports: Sequence[Report], out: Path
) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for stem, report in zip(stems, reports, strict=True):
        model = report["model"]
        parts += [
            Text(stem, style="bold"),
            f"{model['id']} {model['version']}, "
            f"{counted(report['members'], 'member')}, "
            f"{counted(report['steps'], 'step')}, seed {report['seed']}, "
            f"{report['device']}{calibration_words(model)}",
            structures_table(report["structures"]),
            *(f"warning: {warning}" for warning in report["warnings"]),
            "written: " + ", ".join(one["name"] for one in report["files"]),
            "",
        ]
    return Group(*parts, f"results are in {out}")


def structures_table(structures: Sequence[Report]) -> RenderableType:
    """Table of a report's structures: volume, its spread, agreement of members."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("Structure")
    columns = ["Volume (ml)", "Spread 5-95 %", "Expected Dice", "Voxels"]
    predicted = any(one.get("predicted_dice") is not None for one in structures)
    if predicted:  # by a calibrated model, of what it is worth
        columns.append("Predicted Dice (90 %)")
    for column in columns:
        table.add_column(column, justify="right")
    for one in structures:
        low, high = one["volume_ml_p05"], one["volume_ml_p95"]
        table.add_row(
            one["name"],
            number(one["volume_ml"]),
            f"{number(low)} to {number(high)}" if low is not None else "-",
            number(one["expected_dice"], 3),
            str(one["voxels"]),
            *([_dice_words(one)] if predicted else []),
        )
    return table


def calibration_words(model: Report) -> str:
    """What a report's model says of its calibration, after a comma; "" of none."""
    known = model.get("calibration")
    return f", {known.get('words', 'calibrated')}" if known else ""


def _dice_words(one: Report) -> str:
    if one["predicted_dice"] is None:
        return "-"
    low, high = one["predicted_dice_p05"], one["predicted_dice_p95"]
    return f"{one['predicted_dice']:.3f} ({low:.3f} to {high:.3f})"


def number(value: float | None, digits: int = 2) -> str:
    """`value` for a table; a dash where it is unknown."""
    return "-" if value is None else f"{value:.{digits}f}"


def counted(number: int, noun: str) -> str:
    """`number` with its noun, in the plural where there are several."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
