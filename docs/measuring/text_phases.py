"""Time and memory of DiCLIP's phases: cache, adapter and head; a proposal by each.

    python docs/measuring/text_phases.py measure --set ph2 --out ladder
    python docs/measuring/text_phases.py show --out ladder

`--out` is where `text_ladder.py run` left its models. Each phase runs in a process of
its own with an empty store of features, and tells its seconds and its highest memory
above a process that holds the libraries alone. Offline: a cache of 50 labelled images,
one of 50 that the text-to-image model draws, 300 steps of adapter and head with all
features looked at for the first time. Online: an image and a word, the first time, and
another word; by maps, and by the head, after a proposal of another image.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from text_heads import trained_head
from text_ladder import Out, showing
from text_steps import model_of, recached
from weak_folds import once

from diffseg.domain import Request
from diffseg.segmenters.text.feature_store import FeatureStore
from diffseg.volume import Volume
from diffseg_training.dataset import load_dataset, read_image
from diffseg_training.settings.diclip import Caching

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
STEPS = 300
PHASES = {
    "nothing": "libraries and the list of images, idle",
    "labelled": "offline: cache of labelled images",
    "generated": "offline: cache of drawn images",
    "training": f"offline: {STEPS} steps of adapter and head",
    "maps": "online: a proposal by maps",
    "head": "online: a proposal by the head",
}
Set = Annotated[str, typer.Option("--set", help="A set that was run.")]


@app.command()
def measure(set_: Set, out: Out) -> None:
    """Measure every phase, each apart."""
    home = out / set_
    for phase in PHASES:
        once(home / f"phase-{phase}.json", partial(_apart, home, phase))
    show(out)


@app.command()
def phase(name: str, home: Path) -> None:
    """Run one phase here and now, and print what it took; `measure` calls this."""
    seconds = _phases()[name](home)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "gib": peak}))


@app.command()
def show(out: Out) -> None:
    """Print seconds, of the second prompt, too, and memory above an idle process."""
    homes = sorted({path.parent for path in out.glob("*/phase-nothing.json")})
    print(f"| phase | {' | '.join(home.name for home in homes)} |")
    print("|---" * (1 + len(homes)) + "|")
    for name, title in PHASES.items():
        cells = [_cell(home, name) for home in homes]
        print(f"| {title} | {' | '.join(cells)} |")


def _cell(home: Path, name: str) -> str:
    path = home / f"phase-{name}.json"
    if not path.is_file():
        return ""
    found = json.loads(path.read_text())
    if name == "nothing":
        return f"{found['gib']:.2f} GiB"
    idle = json.loads((home / "phase-nothing.json").read_text())["gib"]
    told = ", then ".join(f"{one:.2f} s" for one in found["seconds"])
    return f"{told}; {max(found['gib'] - idle, 0):.2f} GiB"


def _apart(home: Path, name: str) -> dict[str, Any]:
    """What a process of its own tells of one phase."""
    command = [sys.executable, __file__, "phase", name, str(home)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _phases() -> Mapping[str, Callable[[Path], list[float]]]:
    return {
        "nothing": _nothing,
        "labelled": partial(_cache, how=Caching(images=50)),
        "generated": partial(_cache, how=Caching(generated=50)),
        "training": _training,
        "maps": partial(_proposals, step="negative"),
        "head": partial(_proposals, step="head"),
    }


def _nothing(home: Path) -> list[float]:
    load_dataset(home / "manifest.csv")
    return []


def _cache(home: Path, how: Caching) -> list[float]:
    model = model_of(home / "run", "negative")
    dataset = load_dataset(home / "manifest.csv")
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        recached(replace(model, store=_store(folder)), dataset, how)
        return [time.perf_counter() - began]


def _training(home: Path) -> list[float]:
    dataset = load_dataset(home / "manifest.csv")
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        trained_head(home, Path(folder), dataset, "transformer", STEPS, drawn=False)
        return [time.perf_counter() - began]


def _proposals(home: Path, step: str) -> list[float]:
    """Seconds of a first and a second prompt on one image."""
    model = model_of(home / "run", step)
    dataset = load_dataset(home / "manifest.csv")
    volume = read_image(showing(dataset, "val", 1)[0])
    (words,) = model.network.config.words.classes.values()
    # Another image, so that all libraries are warm; then the two words.
    other = Volume.from_array(255 - np.asarray(volume.data))
    asked = [(other, words[0]), (volume, words[0]), (volume, words[1])]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        warm = replace(model, store=_store(folder))
        for image, text in asked:
            began = time.perf_counter()
            warm.propose(Request(image, text=text, members=1))
            seconds.append(time.perf_counter() - began)
    return seconds[1:]


def _store(folder: str) -> FeatureStore:
    return FeatureStore(Path(folder), 10**9)


if __name__ == "__main__":
    app()
