"""What the window's benchmark computes; nothing depends on how long it took."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from diffseg.errors import DiffsegError
from napari_diffseg.plugin import benchmark
from napari_diffseg.plugin.heartbeat import Heart, lateness

FOUND: dict[str, Any] = {
    "dock_s": 1.0, "warm_s": 2.0, "cold_s": 6.0, "p99_s": 0.01, "max_s": 0.1,
    "painted_p99_s": 0.02, "painted_max_s": 0.3, "beats": 900, "brain_s": 9.0,
    "dab_s": 0.001, "dab_median_s": 0.0005, "stroke_end_s": 0.002, "cancel_s": 0.1,
    "again_s": 1.0, "model": "m@1", "open_s": 2.0, "undo_s": 0.001, "kept_p99_s": 0.001,
    "kept_max_s": 0.02, "large_bytes": 900, "large_raw": 200,
}  # fmt: skip


def test_lateness_leaves_painting_out() -> None:
    told = lateness([(0.010, 0.0), (0.110, 0.060), (0.030, 0.030)])
    assert told.painted_max_s == pytest.approx(0.100)
    assert told.max_s == pytest.approx(0.040)
    assert told.beats == 3
    assert told.p99_s <= told.max_s


def test_every_limit_has_its_row() -> None:
    rows = list(benchmark._told(FOUND, benchmark.Scales(0), ":9"))
    limits = {row.what.removeprefix("window: "): row.limit for row in rows}
    assert limits == {
        "panels open, after napari": 1.5,
        "first slice, worker warm": 5.0,
        "first slice, worker cold": 5.0,
        "late by, 99th percentile": 0.05,
        "late by, at most": 0.25,
        "512x512x300 opens": 3.0,
        "a dab of the brush, 512x512x300": 0.016,
        "an undo, 512x512x300": 0.05,
        "late by while strokes are kept": 0.05,
        "cancelled": 0.5,
        "the next run works": 6.0,
        "memory of 512x512x300, over its voxels": 4.0,
        "memory of all processes": 3.0,
    }
    broken = [row.what for row in rows if row.within is False]
    assert broken == [
        "window: first slice, worker cold",
        "window: memory of 512x512x300, over its voxels",
    ]
    assert rows[-1].skipped is not None  # nothing was weighed
    assert "20 ms, at most 300 ms" in rows[3].settings


@pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="needs /proc, as Linux has it"
)
def test_a_family_is_weighed() -> None:
    hold = "held = bytearray(b'x' * 2**26); print(len(held), flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=pipe, stdout=pipe
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        alone, count = benchmark.weigh(child.pid)
        both, more = benchmark.weigh(os.getpid())
        child.communicate(b"\n")
    assert count == 1
    assert more >= 2
    assert alone is not None
    assert both is not None
    assert 2**26 < alone < both


def test_a_window_that_cannot_be_measured_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = "import sys; print('noise', file=sys.stderr); sys.exit('no dock')"
    monkeypatch.setattr(benchmark, "_CHILD", (sys.executable, "-c", script))
    with pytest.raises(DiffsegError, match=r"could not be measured: no dock$"):
        benchmark._measured("", "auto")


@pytest.mark.gui
def test_a_heart_hears_what_keeps_the_window(qtbot: Any) -> None:
    from qtpy.QtCore import QTimer

    heart = Heart()
    heart.start()
    QTimer.singleShot(30, lambda: time.sleep(0.2))
    qtbot.wait(400)
    told = heart.stop()
    assert told.max_s > 0.15
    assert told.beats > 2
