"""Put the small CLIP and the small text-to-image model among what ships.

    python docs/measuring/make_small_pair.py --clip runs/small-clip/folder
        --diffusion runs/small-text-diffusion/folder

Weights are stored as 16-bit floats, which halves them; everything else is copied.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from make_models import MODELS
from safetensors.torch import load_file, save_file

MOST_BYTES = 16_000_000
PARTS = MODELS.parent / "parts"


def main(
    clip: Annotated[Path, typer.Option(help="What small-clip wrote.")],
    diffusion: Annotated[Path, typer.Option(help="What small-text-diffusion wrote.")],
) -> None:
    """Copy both, in the place of what shipped before."""
    for name, source in (("small-clip", clip), ("small-text-diffusion", diffusion)):
        files = [path for path in sorted(source.rglob("*")) if path.is_file()]
        if not files:
            sys.exit(f"error: {source} is no folder of a finished run")
        target = PARTS / name
        shutil.rmtree(target, ignore_errors=True)
        for path in files:
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".safetensors":
                halved(path, place)
            else:
                shutil.copyfile(path, place)
            if (size := place.stat().st_size) > MOST_BYTES:
                sys.exit(f"error: {place} has {size} bytes; {MOST_BYTES} may ship")
        total = sum(one.stat().st_size for one in target.rglob("*") if one.is_file())
        print(f"{name}: {len(files)} files, {total / 1e6:.1f} MB")


def halved(source: Path, target: Path) -> None:
    """Copy weights, floats as 16-bit ones."""
    weights = load_file(source)
    small = {
        key: (one.half() if one.is_floating_point() else one).contiguous()
        for key, one in weights.items()
    }
    save_file(small, target, metadata={"format": "pt"})


if __name__ == "__main__":
    typer.run(main)
