from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diffseg.domain import Label, LabelTable, ModelCard, Preparation
from diffseg.errors import DiffsegError, UserError
from diffseg.models import (
    ModelFolder,
    add_model,
    catalogue,
    find_model,
    list_models,
    load_weights,
    read_folder,
    remove_model,
    save_model,
    user_models,
    verify_model,
)
from diffseg.segmenters import load_segmenter, resolve_device


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DIFFSEG_DEVICE", raising=False)


def _card(version: str = "1.0", **changes: object) -> ModelCard:
    card = ModelCard(
        id="toy",
        version=version,
        title="A toy",
        method="ensemdiff",
        network={"name": "compact_unet"},
        labels=LabelTable(labels=(Label(name="thing", value=1),)),
        preparation=Preparation(),
        modality="MR",
        licence="CC0",
        sha256="",
        data="none",
        intended_use="tests",
        limits=("all",),
    )
    return card.model_copy(update=changes)


def _weights() -> dict[str, torch.Tensor]:
    first = torch.linspace(-2, 2, 12).reshape(3, 4)
    return {"a": first, "a_seen_again": first.t(), "steps": torch.tensor([3])}


@pytest.fixture
def toy(tmp_path: Path) -> ModelFolder:
    return save_model(tmp_path / "toy", _card(), _weights())


def test_weights_come_back_as_float32_and_within_half_precision(
    toy: ModelFolder,
) -> None:
    back = load_weights(toy)
    assert back["a"].dtype == torch.float32
    torch.testing.assert_close(back["a"], _weights()["a"], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(back["a_seen_again"], back["a"].t())
    assert back["steps"].dtype == torch.int64


def test_full_precision_is_exact(tmp_path: Path) -> None:
    model = save_model(tmp_path / "full", _card(), _weights(), half=False)
    assert torch.equal(load_weights(model)["a"], _weights()["a"])


def test_same_weights_give_the_same_checksum(tmp_path: Path, toy: ModelFolder) -> None:
    again = save_model(tmp_path / "again", _card(sha256="f" * 64), _weights())
    assert again.card.sha256 == toy.card.sha256
    assert len(toy.card.sha256) == 64


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_weights_that_half_cannot_hold_are_refused(
    tmp_path: Path, value: float
) -> None:
    with pytest.raises(DiffsegError, match="'w' is not finite"):
        save_model(tmp_path / "bad", _card(), {"w": torch.tensor([value])})
    assert not list((tmp_path / "bad").iterdir())


def test_other_files_of_the_folder_stay(tmp_path: Path, toy: ModelFolder) -> None:
    (toy.path / "loss.csv").write_text("1")
    save_model(toy.path, _card("2.0"), {"a": torch.ones(2)})
    assert {path.name for path in toy.path.iterdir()} == {
        "card.json",
        "model.safetensors",
        "loss.csv",
    }
    assert read_folder(toy.path).card.version == "2.0"


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_other_weights_than_the_cards_are_refused(
    toy: ModelFolder, damage: str
) -> None:
    content = bytearray(toy.weights.read_bytes())
    if damage == "remove":
        toy.weights.unlink()
    else:
        content[-1] ^= 1
        toy.weights.write_bytes(content if damage == "flip" else content[:-1])
    with pytest.raises(UserError, match="pull or add") as caught:
        load_weights(toy)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"model\.safetensors"):
        verify_model(toy)


def test_pickled_weights_are_refused_though_the_checksum_is_right(
    tmp_path: Path, toy: ModelFolder
) -> None:
    import hashlib

    torch.save(_weights(), toy.weights)
    sha256 = hashlib.sha256(toy.weights.read_bytes()).hexdigest()
    card = toy.card.model_copy(update={"sha256": sha256})
    with pytest.raises(UserError, match="not safetensors"):
        load_weights(ModelFolder(card, toy.path, "user"))


def test_find_by_folder_id_and_version(toy: ModelFolder) -> None:
    assert find_model(toy.path).card == toy.card
    assert find_model(str(toy.path)).card == toy.card
    added = add_model(toy.path, "mine")
    assert added.card.id == "mine"
    assert added.path == user_models() / "mine" / "1.0"
    assert find_model("mine") == find_model("mine@1.0") == added
    torch.testing.assert_close(load_weights(added)["a"], load_weights(toy)["a"])


def test_the_newest_version_is_found_and_numbers_count_as_numbers(
    tmp_path: Path,
) -> None:
    for version in ("1.9", "1.10", "1.2"):
        add_model(
            save_model(tmp_path / version, _card(version), _weights()).path, "mine"
        )
    assert find_model("mine").card.version == "1.10"
    assert find_model("mine@1.9").card.version == "1.9"
    mine = [m.card.version for m in list_models() if m.card.id == "mine"]
    assert mine == ["1.2", "1.9", "1.10"]


def test_unknown_models_list_the_known(toy: ModelFolder) -> None:
    add_model(toy.path, "mine")
    with pytest.raises(UserError, match=r"'yours' is not known.*mine@1\.0"):
        find_model("yours")
    with pytest.raises(UserError, match=r"'mine@2' is not known.*mine@1\.0"):
        find_model("mine@2")
    with pytest.raises(UserError, match="does not exist"):
        find_model(toy.path / "nothing")


def test_a_folder_called_like_a_model_does_not_hide_it(
    toy: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model(toy.path, "mine")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert find_model("mine").origin == "user"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid"),
        ("[]", "not valid"),
        ('{"id": "x"}', r"Field required \(and \d+ more\)"),
        (None, "cannot be read"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_broken_cards_are_told_in_one_line(
    tmp_path: Path, content: str | bytes | None, message: str
) -> None:
    if content is not None:
        raw = content.encode() if isinstance(content, str) else content
        (tmp_path / "card.json").write_bytes(raw)
    with pytest.raises(UserError, match=message) as caught:
        find_model(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "card.json") in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"), [("weights", "../secret"), ("version", "../1"), ("version", "")]
)
def test_a_card_cannot_point_outside_its_folder(
    toy: ModelFolder, field: str, value: str
) -> None:
    card = json.loads((toy.path / "card.json").read_text())
    (toy.path / "card.json").write_text(json.dumps({**card, field: value}))
    with pytest.raises(UserError, match=field):
        add_model(toy.path, "mine")


def test_a_broken_model_does_not_hide_the_others(toy: ModelFolder) -> None:
    add_model(toy.path, "mine")
    broken = user_models() / "broken" / "1.0"
    broken.mkdir(parents=True)
    (broken / "card.json").write_text("{")
    assert "mine" in [model.card.id for model in list_models()]
    assert [model.path for model in catalogue().broken] == [broken]
    with pytest.raises(UserError, match=r"card\.json is not valid"):
        find_model("broken")


def test_adding_twice_is_refused_and_removing_makes_room(toy: ModelFolder) -> None:
    added = add_model(toy.path, "mine")
    with pytest.raises(UserError, match=r"mine@1\.0 is there already"):
        add_model(toy.path, "mine")
    with pytest.raises(UserError, match="ID@VERSION"):
        remove_model("mine")
    with pytest.raises(UserError, match="not known"):
        remove_model("mine@7")
    remove_model("mine@1.0")
    assert not added.path.exists()
    assert add_model(toy.path, "mine").path.exists()


@pytest.mark.parametrize("id_", ["", "Mine", "../mine", "a b"])
def test_ids_that_are_no_names_are_refused(toy: ModelFolder, id_: str) -> None:
    with pytest.raises(UserError, match="model id"):
        add_model(toy.path, id_)


def test_a_model_is_added_whole_or_not_at_all(toy: ModelFolder) -> None:
    toy.weights.write_bytes(b"other")
    with pytest.raises(UserError, match="checksum"):
        add_model(toy.path, "mine")
    assert not user_models().exists()


def test_shipped_models_cannot_be_removed() -> None:
    shipped = [model for model in list_models() if model.origin == "shipped"]
    if not shipped:
        pytest.skip("no model ships with this checkout")
    with pytest.raises(UserError, match="came with the product"):
        remove_model(shipped[0].name)
    verify_model(shipped[0])


def test_an_unwritable_home_is_told(
    toy: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="DIFFSEG_HOME"):
        add_model(toy.path, "mine")


def test_an_unknown_method_is_told(tmp_path: Path) -> None:
    model = save_model(tmp_path / "m", _card(method="dowsing"), _weights())
    with pytest.raises(UserError, match=r"'dowsing'.*not installed.*ensemdiff"):
        load_segmenter(model.path, device="cpu")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in ("cpu", "cuda", "mps")
    with pytest.raises(UserError, match="'tpu': give one of"):
        resolve_device("tpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="cuda is not there: "):
        resolve_device("cuda")
    monkeypatch.setenv("DIFFSEG_DEVICE", "cpu")
    assert resolve_device("auto") == "cpu"
    monkeypatch.setenv("DIFFSEG_DEVICE", "toaster")
    with pytest.raises(UserError, match="from DIFFSEG_DEVICE"):
        resolve_device("auto")


def test_listing_and_the_segmenters_floor_load_without_torch() -> None:
    code = (
        "import sys, diffseg.segmenters, diffseg.models as m; m.list_models();"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
