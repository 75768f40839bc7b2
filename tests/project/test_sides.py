"""What is known of the patient's sides is kept with a case."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffseg.domain import ImageLabels, Label, LabelTable
from diffseg.project.facts import CaseFacts, read_facts, write_facts
from diffseg.volume import Affine, Grid


@pytest.mark.parametrize("known", [True, False])
def test_sides_are_kept(tmp_path: Path, known: bool) -> None:
    grid = Grid((2, 3, 4), Affine.identity(), has_sides=known)
    table = LabelTable(labels=(Label(name="one", value=1),))
    write_facts(tmp_path, CaseFacts("case", (), grid, table, ImageLabels()))
    assert read_facts(tmp_path).grid == grid
