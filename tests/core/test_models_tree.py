"""Versions form a tree, and an id means the one that was chosen."""

from __future__ import annotations

import json

import pytest

from diffseg.cli.app import main
from diffseg.domain import ModelCard
from diffseg.errors import UserError
from diffseg.models import (
    add_model,
    current_versions,
    find_model,
    list_models,
    make_current,
    reference_of,
    remove_model,
    roll_back,
    tree_of,
)
from diffseg.models.calibrated import store_calibration
from diffseg.models.folder import sha256_of
from diffseg.models.lineage import tuned_version
from diffseg.models.registry import add_version

CARD = {
    "id": "toy", "version": "1.0.0", "title": "Toy", "method": "ensemdiff",
    "network": {"name": "compact_unet"},
    "labels": {"labels": [{"name": "a", "value": 1, "color": "#112233"}]},
    "preparation": {}, "modality": "MR", "licence": "CC0", "sha256": "",
    "data": "none", "intended_use": "tests", "limits": ["all"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))


def folder(tmp_path, version="1.0.0", **more):
    made = tmp_path / f"m{version}"
    made.mkdir()
    (made / "model.safetensors").write_bytes(version.encode())
    told = {**CARD, "version": version, **more}
    told["sha256"] = sha256_of(made / "model.safetensors")
    (made / "card.json").write_text(ModelCard(**told).model_dump_json())
    return made


@pytest.fixture
def root(tmp_path):
    return add_model(folder(tmp_path), "toy")


def tuned(parent, version):
    card = parent.card.model_copy(
        update={"version": version, "parent": reference_of(parent.card)}
    )
    return add_version(parent, card)


@pytest.mark.parametrize(
    ("version", "known", "wanted"),
    [
        ("1.0.0", [], "1.0.0+ft1"),
        ("1.0.0+cal2", ["1.0.0", "1.0.0+cal2"], "1.0.0+ft1"),
        ("1.0.0+ft1", ["1.0.0+ft1", "1.0.0+ft4", "1.1.0+ft9"], "1.0.0+ft5"),
        ("1.0.0+ft1+cal1", ["1.0.0+ft1"], "1.0.0+ft2"),
        ("2024", ["2024"], "2024+ft1"),
    ],
)
def test_versions_are_numbered_in_the_order_of_making(version, known, wanted):
    assert tuned_version(version, known) == wanted


def test_a_tuned_version_is_newer_than_its_base_and_its_calibrations(tmp_path, root):
    for version in ("1.0.0+ft2", "1.0.0+cal3", "1.0.0+ft10", "1.0.1"):
        add_model(folder(tmp_path, version), "toy")
    mine = [one.card.version for one in list_models() if one.card.id == "toy"]
    assert mine == ["1.0.0", "1.0.0+cal3", "1.0.0+ft2", "1.0.0+ft10", "1.0.1"]


def test_children_hang_below_their_parents(tmp_path, root):
    first = tuned(root, "1.0.0+ft1")
    tuned(root, "1.0.0+ft2")
    tuned(first, "1.0.0+ft3")
    add_model(folder(tmp_path, "0.9"), "toy")
    found = [
        (one.model.card.version, one.depth)
        for one in tree_of(list_models())
        if one.model.card.id == "toy"
    ]
    assert found == [
        ("0.9", 0), ("1.0.0", 0), ("1.0.0+ft1", 1), ("1.0.0+ft3", 2), ("1.0.0+ft2", 1),
    ]  # fmt: skip


def test_rolling_back_goes_up_the_tree_and_removes_nothing(root):
    first = tuned(root, "1.0.0+ft1")
    tuned(first, "1.0.0+ft2")
    assert find_model("toy").card.version == "1.0.0+ft2"
    for wanted in ("1.0.0+ft1", "1.0.0"):
        assert roll_back("toy")[1].card.version == wanted
        assert find_model("toy").card.version == wanted
    assert find_model("toy@1.0.0+ft2").card.version == "1.0.0+ft2"
    with pytest.raises(UserError, match="came from no other version"):
        roll_back("toy")
    assert roll_back("toy@1.0.0+ft2")[1].card.version == "1.0.0+ft2"  # and forward
    assert current_versions(list(list_models()))["toy"] == "1.0.0+ft2"


def test_what_is_added_after_going_back_is_what_is_meant(tmp_path, root):
    make_current(root)
    add_model(folder(tmp_path, "1.2.0"), "toy")
    assert find_model("toy").card.version == "1.2.0"
    kept = store_calibration(find_model("toy@1.0.0"), {"kind": "none"})
    assert find_model("toy").name == kept.name == "toy@1.0.0+cal1"
    assert roll_back("toy")[1].card.version == "1.0.0"


def test_a_removed_version_is_no_longer_meant(root):
    child = tuned(root, "1.0.0+ft1")
    make_current(child)
    remove_model(child.name)
    assert find_model("toy").card.version == "1.0.0"


def test_a_pointer_that_leads_nowhere_is_told(root):
    (root.path.parent / "current").write_text("7.0\n")
    with pytest.raises(UserError, match=r"version 7\.0 of model toy.*rollback toy@"):
        find_model("toy")
    assert roll_back("toy@1.0.0")[1].name == "toy@1.0.0"
    assert find_model("toy").name == "toy@1.0.0"


def test_a_parent_that_is_gone_is_told(root):
    child = tuned(root, "1.0.0+ft1")
    remove_model(root.name)
    with pytest.raises(UserError, match=r"toy@1\.0\.0, is not here"):
        roll_back("toy")
    assert find_model("toy").name == child.name


def test_the_command_shows_the_tree_and_the_way_back(root, capsys):
    tuned(root, "1.0.0+ft1")
    assert main(["models", "list"]) == 0
    shown = capsys.readouterr().out
    assert "  toy@1.0.0+ft1 *" in shown
    assert main(["models", "rollback", "toy", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["before"], told["version"]) == ("1.0.0+ft1", "1.0.0")
    assert main(["models", "list", "--json"]) == 0
    mine = {
        one["version"]: one
        for one in json.loads(capsys.readouterr().out)["models"]
        if one["id"] == "toy"
    }
    assert [mine[v]["current"] for v in ("1.0.0", "1.0.0+ft1")] == [True, False]
    assert mine["1.0.0+ft1"]["parent"] == reference_of(root.card)
    assert main(["models", "rollback", "none-such"]) == 2
    assert "not known" in capsys.readouterr().err
