"""Which model, and where it runs."""

from __future__ import annotations

from typing import Any

import pytest

from diffseg.engine.events import Machine


def test_the_default_model_is_chosen_and_warmed(window: Any, card: Any) -> None:
    choices, current = window.views.model.last("set_models")
    assert [choice.name for choice in choices] == ["hippocampus-mri@1", "tumour@1"]
    assert current == "hippocampus-mri@1"
    assert window.views.model.last("show_card") == (card,)
    assert window.runner.all("warm") == [("hippocampus-mri@1",)]


def test_another_model(window: Any, other_card: Any) -> None:
    window.views.model.model_chosen.emit("tumour@1")
    assert window.session.model is other_card
    assert window.views.model.last("show_card") == (other_card,)
    assert window.runner.last("warm") == ("tumour@1",)


def test_a_model_that_is_gone_is_told(window: Any, card: Any) -> None:
    window.views.model.model_chosen.emit("gone")
    assert window.troubles[-1] == "model 'gone' is not known"
    assert window.session.model is card
    assert window.views.model.last("set_models")[1] == "hippocampus-mri@1"


def test_no_model_at_all(no_models: Any) -> None:
    assert no_models.session.model is None
    assert "no model is installed" in no_models.troubles[-1]
    assert no_models.views.propose.last("set_ready")[0] is False
    assert no_models.runner.all("warm") == [("",)]


def test_where_models_run(window: Any) -> None:
    assert window.views.model.last("show_machine") == (None, "starting")
    machine = Machine("cpu", "2 CPU cores", 1, 10**9, "no CUDA in this torch")
    window.runner.machine_found.emit(machine)
    assert window.session.machine is machine
    assert window.views.model.last("show_machine") == (machine, "ready")
    window.runner.state_changed.emit("the worker died; it is started again")
    state = window.views.model.last("show_machine")[1]
    assert state == "the worker died; it is started again"


def test_the_device_is_chosen(window: Any) -> None:
    window.views.model.device_chosen.emit("cuda")
    assert window.session.device == "cuda"
    window.views.model.device_chosen.emit("abacus")
    assert window.session.device == "cuda"
    assert "abacus" in window.troubles[-1]


def test_the_environment_names_a_device(
    make_window: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFSEG_DEVICE", "cpu")
    assert make_window().session.device == "cpu"
