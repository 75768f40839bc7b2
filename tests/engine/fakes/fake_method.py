"""A method that does what the words of a request say, to see what the engine does."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from diffseg.domain import Preview, Proposal, Provenance, Region
from diffseg.errors import DiffsegError, UserError
from diffseg.progress import Progress


def iter_probe(segmenter, request):
    """Stands for the probe of the segmenters."""
    if request.text in ERRORS:
        raise ERRORS[request.text]
    if request.text == "long":  # than the engine's patience, if it is not left
        for _ in range(200):
            time.sleep(0.1)
            yield None
    yield None
    return SimpleNamespace(
        seconds=np.float64(2.5),
        memory_bytes=10,
        members=request.members or 8,
        steps=3,
        warnings=[segmenter.card.id],
    )


sys.modules["diffseg.segmenters.probing"] = SimpleNamespace(iter_probe=iter_probe)

ERRORS = {
    "memory": MemoryError(),
    "gpu": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    "user": UserError("case.nii is no image; give another"),
    "ours": DiffsegError("the model drew nothing"),
    "cuda": RuntimeError("CUDA error: an illegal memory access was encountered"),
    "bug": ValueError("cannot read /patients/Doe.nii"),
    "exit": SystemExit(3),
}


class Fake:
    def __init__(self, card, device):
        self.card = card
        self.device = device

    @classmethod
    def from_model(cls, folder, device):
        with Path(os.environ["FAKE_LOG"]).open("a") as log:
            log.write(f"load {folder.card.id} {os.getpid()}\n")
        if folder.card.id == "broken":
            raise UserError("weights of broken are not there")
        return cls(folder.card, device)

    def iter_propose(self, request):
        word, _, rest = (request.text or "").partition(":")
        log = Path(os.environ["FAKE_LOG"])
        with log.open("a") as file:
            file.write(f"begin {word} {os.getpid()}\n")
        yield Progress("sample", np.int64(0), 2, "first")
        if word in ERRORS:
            raise ERRORS[word]
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "stubborn":
            time.sleep(3600)
        if word == "slow":
            try:
                while True:
                    time.sleep(0.02)
                    yield Progress("sample", 1, 2)
            finally:
                Path(rest).touch()
        if word == "previews":
            yield from previews(request)
        yield Progress("sample", 2, 2)
        return proposal(self, request, word)


def preview_of(plane, shape):
    mask = np.full((1, *shape[1:]), plane, np.uint8)
    region = Region((plane, plane + 1), (0, shape[1]), (0, shape[2]))
    return Preview(
        "sample", plane, shape[0], region=region, mask=mask, uncertainty=255 - mask
    )


def previews(request):
    for plane in range(request.volume.shape[0]):
        yield preview_of(plane, request.volume.shape)


def proposal(fake, request, word):
    voxels = request.volume.data[0]
    voxels += 0  # what a method may do to its input
    if request.initial_mask is not None:
        voxels = voxels * request.initial_mask
    if request.strokes is not None:
        told = request.strokes.dense().astype(
            np.int16
        )  # 255 where something was erased
        voxels = np.where(told == 0, voxels, np.where(told == 255, -1, told))
    table = fake.card.labels
    how = []
    if request.noise_level is not None:
        way = request.resampling
        how = [f"level {request.noise_level} {way.way} {way.gain}"]
    seen = [
        name for name in ("PySide6", "PyQt6", "napari", "qtpy") if name in sys.modules
    ]
    model = {"size": torch.Size()} if word == "tensor" else {"id": fake.card.id}
    return Proposal(
        mask=(voxels > 0).astype(np.uint8),
        probability=voxels[None].astype(np.float32),
        uncertainty=np.zeros(voxels.shape, np.float32),
        labels=table,
        grid=request.volume.grid,
        source=request.volume.source,
        provenance=Provenance(
            model, request.seed, 1, 1, fake.device, torch.get_num_threads(), {}
        ),
        warnings=(*seen, *how, f"pid {os.getpid()}", os.getcwd()),
    )
