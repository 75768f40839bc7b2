"""How the files of docs/results are written."""

from __future__ import annotations

import json

import pytest
from beside import measuring


@pytest.fixture(scope="module")
def results():
    return measuring("make_results")


def test_a_file_has_a_line_for_each_case_and_reads_as_it_was(results):
    found = {
        "train": {"validations": {50: 0.25, 100: 0.5}, "none": []},
        "val": {"cases": [{"case": "a", "dice": {"x": 1.0}}, {"case": 'b"'}]},
        "empty": {},
    }
    text = results.folded(found)
    assert json.loads(text) == json.loads(json.dumps(found))
    assert sum('"case"' in line for line in text.splitlines()) == 2


def test_numbers_are_short_and_no_path_of_a_machine_is_kept(results):
    found = {"loss": 0.123456789, "data": "/some/where/ph2", "curve": [1, 2]}
    assert results.rounded(found) == {"loss": 0.12346, "data": "ph2"}


def test_cells_come_after_those_that_they_need_and_have_names_of_their_own(results):
    seen: set[str] = set()
    for cell in results.cells():
        assert set(cell.needs) <= seen, cell.name
        assert cell.name not in seen
        seen.add(cell.name)


def test_what_was_measured_is_what_its_cell_says(results):
    seen = 0
    for cell in results.cells():
        file = results.MEASURED / f"{cell.name}.json"
        if not file.exists():
            continue
        found = json.loads(file.read_text(encoding="utf-8"))
        assert found["recipe"] == cell.recipe, cell.name
        assert found["settings"] == list(cell.settings), cell.name
        assert found["evaluation"] == list(cell.evaluation), cell.name
        if "train" in found:
            assert found["train"]["steps"] == cell.steps, cell.name
        seen += 1
    assert seen


def test_cells_of_one_table_and_data_set_take_equal_steps(results):
    taken: dict[tuple[str, str], set[int]] = {}
    for cell in results.cells():
        if cell.kind == "model":
            data = cell.data.partition("-")[0]
            taken.setdefault((cell.table, data), set()).add(cell.steps)
    assert all(len(steps) == 1 for steps in taken.values()), taken
