"""``diffseg fingerprint``: how noise destroys the masks of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffseg.cli.output import emit, follow

if TYPE_CHECKING:
    from diffseg_training.fingerprint import Fingerprint


def fingerprint(
    data: Annotated[
        Path, typer.Option(metavar="DATASET", help="A manifest.csv or its folder.")
    ],
    split: Annotated[str, typer.Option(help="train, val, test or all.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where fingerprint.json and .png go.")
    ],
    minutes: Annotated[
        float | None, typer.Option(help="Minutes of learning the masks; else 5.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="ID|DIR", help="Show its error with the image beside."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Pixels of a slice's sides; 64, or the model's.")
    ] = None,
    draws: Annotated[int, typer.Option(help="Noise draws of every slice.")] = 1,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override, as optimiser.batch=4; repeatable."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    json: Annotated[
        bool, typer.Option("--json", help="Print fingerprint.json.")
    ] = False,
) -> None:
    """Measure at which noise levels the masks of a data set are lost.

    A small network learns masks without images, those of four fifths of the split's
    patients; the others' are measured. Writes fingerprint.json, whose weights a recipe
    takes as objective.fingerprint, and fingerprint.png.

    Example: diffseg fingerprint --data DATASET --split train --out fingerprint
    """
    from diffseg.errors import UserError
    from diffseg_training.fingerprint_run import Wanted, iter_fingerprint

    if draws < 1:
        raise UserError(f"draws is {draws}; give 1 or more")
    wanted = Wanted(
        data=str(data),
        split=split,
        out=out,
        minutes=minutes,
        model=model,
        size=size,
        draws=draws,
        overrides=tuple(set_ or ()),
        device=device,
    )
    result = follow(iter_fingerprint(wanted))
    emit(result.model_dump(), json, lambda: _text(result, out))


def _text(result: Fingerprint, out: Path) -> str:
    advice = result.recommended
    if advice.converged_log_snr is None:
        end = "something is left of the masks at every noise level measured"
    elif advice.mask_scale == 1:
        end = f"nothing is left from log SNR {advice.converged_log_snr:.1f} on"
    else:
        end = (
            f"something is left at the last timestep: scale masks by "
            f"{advice.mask_scale:.2f}, or end with a beta of {advice.beta_end:.3f}"
        )
    return (
        f"error of the best guess without image and mask: {result.prior_error:.4f}\n"
        f"steps: {advice.steps}\n"
        f"refine a mask at log SNR {advice.refine_log_snr:.1f}, timestep "
        f"{advice.refine_timestep}: {advice.refine_rule}\n"
        f"{end}\n"
        + "".join(f"warning: {text}\n" for text in result.warnings)
        + f"{out / 'fingerprint.json'}"
    )
