"""The rows of ``diffseg bench``, one by one; their ratios are printed, never judged.

Not collected by a plain ``pytest``; ask for the file:
``python -m pytest -m bench -s tests/benchmarks/bench_main_job.py``.
"""

from __future__ import annotations

import os

import pytest

from diffseg.cli.benchmarks import Row
from diffseg.cli.benchmarks.commands import (
    measure_import,
    measure_wait,
    measure_whole_brain,
)
from diffseg.cli.benchmarks.proposals import (
    checked,
    measure_gpu_memory,
    measure_proposal,
)
from diffseg.cli.benchmarks.published import measure_published
from diffseg.cli.benchmarks.rows import amount, limit_of, times, verdict
from diffseg.models import ModelFolder, find_model
from diffseg.segmenters import load_segmenter, resolve_device
from diffseg.segmenters.ensemdiff import EnsemDiff

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def folder() -> ModelFolder:
    return find_model(os.environ.get("DIFFSEG_BENCH_MODEL", "hippocampus-mri"))


@pytest.fixture(scope="module")
def device() -> str:
    return resolve_device("auto")


@pytest.fixture(scope="module")
def segmenter(folder: ModelFolder, device: str) -> EnsemDiff:
    return checked(load_segmenter(folder.path, device))


def told(row: Row) -> None:
    """Print a row; it must hold a number, or say why it does not."""
    ours, reference = amount(row.ours, row.unit), amount(row.reference, row.unit)
    print(f"\n{row.what}: {ours}, reference {reference}, ratio {times(row.ratio)}")
    print(f"limit {limit_of(row)} {verdict(row)}\n{row.settings}")
    if row.skipped is not None:
        pytest.skip(row.skipped)
    assert row.ours is not None
    assert row.fault is None


def test_proposal(segmenter: EnsemDiff) -> None:
    told(measure_proposal(segmenter))


def test_wait(folder: ModelFolder, device: str) -> None:
    told(measure_wait(folder, device))


def test_published(device: str) -> None:
    told(measure_published(device))


def test_import() -> None:
    told(measure_import())


def test_whole_brain(folder: ModelFolder, device: str) -> None:
    time, memory = measure_whole_brain(folder, device)
    told(time)
    told(memory)


def test_gpu_memory(segmenter: EnsemDiff) -> None:
    told(measure_gpu_memory(segmenter))
