"""Seconds of a first and a second prompt on one image, and of the plain way.

The plain way keeps nothing: each prompt runs both backbones, and the text-to-image
model runs to its last attention while that of all its layers is stored. Each way runs
in a process of its own, which tells its highest memory, after a prompt on another
image.

    python docs/measuring/text_speed.py --model words --image photo.png lesion hair
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from torch import Tensor

from diffseg.domain import Request
from diffseg.networks.attention_maps import (
    AttentionLayer,
    AttentionRead,
    attention_layers,
    read_attention,
)
from diffseg.segmenters import load_segmenter
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text import enhancement
from diffseg.segmenters.text.feature_store import FeatureStore
from diffseg.volume import Volume


def main() -> None:
    """Measure both ways and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompts", nargs=2)
    parser.add_argument("--model", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--way", choices=("kept", "plain", "nothing"))
    options = parser.parse_args()
    if options.way is not None:
        print(json.dumps(measured(options)))
        return
    told = {way: _apart(way) for way in ("nothing", "kept", "plain")}
    (first, second), plain = told["kept"]["seconds"], told["plain"]["seconds"]
    print(f"kept: first prompt {first:.3f} s, second {second:.3f} s")
    print(f"plain: first prompt {plain[0]:.3f} s, second {plain[1]:.3f} s")
    idle = told["nothing"]["gib"]
    for way in ("kept", "plain"):
        print(f"{way}: {told[way]['gib'] - idle:.3f} GiB above an idle process")
    print(f"a second prompt takes {second / first:.4f} of the first")
    print(f"and {second / plain[1]:.4f} of the plain way's second")
    print(f"the first takes {first / plain[0]:.2f} of the plain way's first")


def _apart(way: str) -> dict[str, Any]:
    """What a process of its own tells of one way."""
    command = [sys.executable, *sys.argv, "--way", way]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of both prompts, and the highest memory, GiB, of this process."""
    model = load_segmenter(options.model, options.device)
    assert isinstance(model, Diclip)
    volume = Volume.read(options.image)
    with tempfile.TemporaryDirectory() as folder:
        limit = 0 if options.way == "plain" else 10**9
        model = replace(model, store=FeatureStore(Path(folder), limit))
        way = mock.patch.object(enhancement, "read_attention", all_attention)
        seconds: list[float] = []
        if options.way == "plain":
            way.start()
        if options.way != "nothing":
            # Another image and another word, so that both find all libraries warm.
            other = Volume.from_array(255 - np.asarray(volume.data))
            _asked(model, other, options.prompts[0], options.members)
            seconds = [
                _asked(model, volume, prompt, options.members)
                for prompt in options.prompts
            ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds, "gib": peak}


def _asked(model: Diclip, volume: Volume, prompt: str, members: int) -> float:
    began = time.perf_counter()
    model.propose(Request(volume, text=prompt, members=members))
    return time.perf_counter() - began


def all_attention(
    unet: Any,
    latents: Tensor,
    t: Tensor,
    context: Tensor,
    layers: Sequence[AttentionLayer],
) -> list[AttentionRead]:
    """Read some layers as the plain way does, which stores the attention of all."""
    every = [*attention_layers(unet), *attention_layers(unet, cross=True)]
    read = read_attention(unet, latents, t, context, every)
    stored = [one.probabilities() for one in read]
    assert len(stored) == len(every)
    return [read[every.index(layer)] for layer in layers]


if __name__ == "__main__":
    main()
