"""The model that ships gives the same in the worker's process as in this one."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from diffseg.domain import ImageLabels, Request
from diffseg.volume import Volume

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
from threading import Event
import numpy as np
from diffseg.domain import ImageLabels, Request
from diffseg.engine import Engine, Finished, Job, Planned
from diffseg.volume import Volume
heard, over = [], Event()
def listener(event):
    heard.append(event)
    if isinstance(event, Finished):
        over.set()
engine = Engine(threads=1)
volume = Volume.from_array(np.load("voxels.npy"), np.eye(4), name="crop")
request = Request(
    volume, members=2, seed=5, labels=ImageLabels.parse("anterior"), keep_members=True
)
engine.propose(Job("hippocampus-mri", request, "cpu"), listener)
assert over.wait(100), heard
made = heard[-1].proposal
over.clear()
def planned(event):
    heard.append(event)
    if isinstance(event, Planned):
        over.set()
engine.plan(Job("hippocampus-mri", request, "cpu"), planned)
assert over.wait(100), heard[-1]
assert heard[-1].plan.members == 2 and heard[-1].plan.seconds > 0
np.savez(
    "made.npz", mask=made.mask, probability=made.probability,
    uncertainty=made.uncertainty, members=made.members,
)
made.save("out")
engine.close()
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"torch", "PySide6", "PyQt6", "qtpy", "napari"}, loaded
"""


@pytest.fixture
def one_thread():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_worker_proposes_as_this_process_does(one_thread, tmp_path):
    pytest.importorskip("nilearn", reason="the template comes with nilearn")
    from diffseg import load_segmenter
    from diffseg.volume.template import mni152_path

    # A piece of the template around the right hippocampus.
    template = Volume.read(mni152_path())
    i, j, k = np.round(template.grid.affine.inverse() @ np.array([27.0, -22, -16]))
    z, y, x = (slice(int(c) - h, int(c) + h) for c, h in ((k, 12), (j, 20), (i, 12)))
    voxels = np.ascontiguousarray(template.data[0, z, y, x])
    np.save(tmp_path / "voxels.npy", voxels)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "DIFFSEG_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    made = np.load(tmp_path / "made.npz")
    volume = Volume.from_array(voxels, np.eye(4), name="crop")
    labels = ImageLabels.parse("anterior")
    request = Request(volume, members=2, seed=5, labels=labels, keep_members=True)
    here = load_segmenter("hippocampus-mri", "cpu").propose(request)
    assert here.mask.any()
    for name in ("mask", "probability", "uncertainty", "members"):
        assert made[name].tobytes() == getattr(here, name).tobytes()
    assert (tmp_path / "out" / "crop_report.json").exists()
