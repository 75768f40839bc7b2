"""Features of slices by way of small maps, and the plain way: seconds and memory.

The plain way brings every map to full size, joins them and decodes every pixel, of all
slices at once. Each way runs in a process of its own, which tells its highest memory.

    python docs/measuring/weak_speed.py --side 256 --slices 4
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from torch.nn import functional

from diffseg.diffusion import schedule_of
from diffseg.domain.slice_labels import PRESENT
from diffseg.networks import build_network
from diffseg.segmenters.weak.embedding import map_source
from diffseg.segmenters.weak.features import mean_maps
from diffseg_training.recipe import load_recipe


def main() -> None:
    """Measure both ways and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="lgg-cldf")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--slices", type=int, default=4)
    parser.add_argument("--timesteps", type=int, default=4)
    parser.add_argument("--way", choices=("stream", "plain", "nothing"))
    options = parser.parse_args()
    if options.way is not None:
        print(json.dumps(measured(options)))
        return
    told = {way: _apart(way) for way in ("nothing", "stream", "plain")}
    idle = told["nothing"]["gib"]
    for way in ("stream", "plain"):
        seconds, gib = told[way]["seconds"], told[way]["gib"] - idle
        print(f"{way:7} {seconds:8.2f} s CPU {gib:8.2f} GiB above an idle process")
    memory = (told["plain"]["gib"] - idle) / (told["stream"]["gib"] - idle)
    speed = told["plain"]["seconds"] / told["stream"]["seconds"]
    print(f"plain takes {memory:.1f} times the memory and {speed:.1f} times the time")


def _apart(way: str) -> dict[str, float]:
    """What a process of its own tells of one way."""
    command = [sys.executable, *sys.argv, "--way", way]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


@torch.inference_mode()
def measured(options: argparse.Namespace) -> dict[str, float]:
    """CPU seconds and highest memory, GiB, of this process."""
    recipe = load_recipe(options.recipe)
    config = {k: v for k, v in recipe.network.items() if k != "name"}
    channels = len(recipe.preparation.channels)
    network = build_network("cldf", **{"image_channels": channels, **config}).eval()
    source = map_source(network, schedule_of(recipe.sampling))
    size = (options.side, options.side)
    images = torch.randn(options.slices, channels, *size)
    levels = [50 + 50 * i for i in range(options.timesteps)]
    began = time.process_time()
    if options.way == "stream":
        for image in images.split(1):
            told = torch.full((1, network.classes), PRESENT)
            maps = mean_maps(source, image, told, levels, lambda _, x=image: x)
            network.decoder.from_maps(maps, size)
    elif options.way == "plain":
        plain(network, source, images, levels, size)
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds, "gib": peak}


def plain(network, source, images, levels, size):  # type: ignore[no-untyped-def]
    """All slices at once, every map at full size, averaged and decoded there."""
    told = torch.full((len(images), network.classes), PRESENT)
    total = 0
    for level in levels:
        maps = source(images, told, level, images)
        whole = [functional.interpolate(m, size, mode="bilinear") for m in maps]
        total = total + torch.cat(whole, dim=1)
    features = (total / len(levels)).movedim(1, -1).flatten(0, 2)
    return network.decoder(features)


if __name__ == "__main__":
    main()
