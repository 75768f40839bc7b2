"""A large volume in the window: opened, painted in, taken back, kept, weighed."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffseg.cli.benchmarks.processes import held_bytes

if TYPE_CHECKING:
    from napari_diffseg.layers.mask_layer import MaskLayer
    from napari_diffseg.plugin.measuring import Robot

BIG = (300, 512, 512)
DABS = 200
BRUSH = 40  # voxels across
STROKES = 6
BETWEEN_DABS_S = 0.016
UNDOS = 20


def large_volume(robot: Robot, scratch: Path) -> dict[str, Any]:
    """Open a volume of 512x512x300 int16 voxels, and work in its mask.

    Returns
    -------
    dict
        Seconds; `large_bytes`: what the window's process gained from before the
        opening until all was painted, None where it is not told; `large_raw`: bytes
        of the voxels in the file.
    """
    path, raw = _written(scratch)
    before = held_bytes(os.getpid())
    began = time.perf_counter()
    layer = _mask_of(robot, robot.open(path))
    found: dict[str, Any] = {"open_s": time.perf_counter() - began}
    layer.brush_size = BRUSH
    layer.n_edit_dimensions = 2
    robot.rest()
    found |= _stroke(layer)
    found |= _undone(layer)
    found |= _while_kept(robot, layer)
    after = held_bytes(os.getpid())
    gained = None if before is None or after is None else after - before
    return {**found, "large_bytes": gained, "large_raw": raw}


def _written(scratch: Path) -> tuple[Path, int]:
    """The volume's file, and the bytes of its voxels; noise, as on no scan."""
    import nibabel as nib

    noise = np.random.default_rng(0).integers(-1000, 2000, BIG, np.int16)
    path = scratch / "big.nii"
    nib.save(nib.Nifti1Image(noise.T, np.eye(4)), path)
    return path, noise.nbytes


def _mask_of(robot: Robot, case: Any) -> MaskLayer:
    from napari_diffseg.layers.mask_layer import MaskLayer

    return next(
        one
        for one in robot.viewer.layers
        if isinstance(one, MaskLayer)
        and np.shares_memory(one.data, case.annotation.values)
    )


def _place(dab: int, plane: int) -> tuple[int, int, int]:
    along = 60 + dab * 390 // DABS
    return plane, along, along


def _stroke(layer: MaskLayer) -> dict[str, float]:
    """Dabs of a brush in one slice, as a stroke makes them."""
    taken = []
    began = 0.0
    with layer.block_history():
        for dab in range(DABS + 1):
            began = time.perf_counter()
            layer.paint(_place(dab, BIG[0] // 2), 1)
            taken.append(time.perf_counter() - began)
        began = time.perf_counter()
    ended = time.perf_counter() - began
    return {
        "dab_s": float(np.percentile(taken[1:], 99)),
        "dab_median_s": float(np.median(taken[1:])),
        "stroke_end_s": ended,
    }


def _undone(layer: MaskLayer) -> dict[str, float]:
    """That stroke taken back and made again; the longest of each."""
    taken = []
    for _ in range(UNDOS):
        for step in (layer.undo, layer.redo):
            began = time.perf_counter()
            step()
            taken.append(time.perf_counter() - began)
    return {"undo_s": max(taken)}


def _while_kept(robot: Robot, layer: MaskLayer) -> dict[str, float]:
    """How late the window is while strokes are drawn and kept beside."""
    from qtpy.QtTest import QTest

    from napari_diffseg.plugin.heartbeat import Heart

    heart = Heart()
    heart.start()
    for stroke in range(STROKES):
        with layer.block_history():
            for dab in range(0, DABS, 4):
                layer.paint(_place(dab, 20 + 40 * stroke), 1)
                QTest.qWait(round(BETWEEN_DABS_S * 1000))
    robot.rest()  # the last stroke is kept within a second
    robot.rest()
    told = asdict(heart.stop())
    return {"kept_p99_s": told["p99_s"], "kept_max_s": told["max_s"]}
