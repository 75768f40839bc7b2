"""Weights as others publish them: read as tensors, and never run."""

from __future__ import annotations

import os
import pickle
import sys
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diffseg.errors import UserError
from diffseg.models.public_state import public_state

WEIGHTS = {"a": torch.arange(3.0)}


class _RunsSomething:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.file),)


def lightning(monkeypatch: pytest.MonkeyPatch) -> type:
    """A class that pickles as if Lightning's."""
    names = ["pytorch_lightning", "pytorch_lightning.callbacks"]
    module = types.ModuleType(names[1])
    kept = type("ModelCheckpoint", (), {"__module__": names[1]})
    module.__dict__["ModelCheckpoint"] = kept
    monkeypatch.setitem(sys.modules, names[0], types.ModuleType(names[0]))
    monkeypatch.setitem(sys.modules, names[1], module)
    return kept


def test_a_checkpoint_with_lightning_s_bookkeeping_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = lightning(monkeypatch)
    content = {
        "state_dict": WEIGHTS | {"n": torch.tensor(1)},
        "callbacks": {kept: {"best": torch.tensor(2.0)}},
        "other": kept(),
    }
    torch.save(content, tmp_path / "model.ckpt")
    monkeypatch.undo()  # Lightning is not here where it is read
    state = public_state(tmp_path / "model.ckpt")
    assert state.keys() == {"a", "n"}
    assert torch.equal(state["a"], WEIGHTS["a"])


@pytest.mark.parametrize("zipped", [True, False])
def test_other_forms_are_read(tmp_path: Path, zipped: bool) -> None:
    torch.save(WEIGHTS, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    assert torch.equal(public_state(tmp_path / "m.pt")["a"], WEIGHTS["a"])
    save_file(WEIGHTS, tmp_path / "m.safetensors")
    state = public_state(str(tmp_path / "m.safetensors"))
    assert torch.equal(state["a"], WEIGHTS["a"])


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_would_run_something_is_refused(
    tmp_path: Path, zipped: bool
) -> None:
    made = tmp_path / "made"
    torch.save(
        {"state_dict": WEIGHTS, "x": _RunsSomething(made)},
        tmp_path / "m.ckpt",
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(UserError, match="needs unpickling"):
        public_state(tmp_path / "m.ckpt")
    assert not made.exists()


def test_what_is_no_checkpoint_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path))
    (tmp_path / "a.ckpt").write_bytes(b"hello")
    (tmp_path / "b.ckpt").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "c.safetensors").write_bytes(b"hello")
    torch.save({"epoch": 3}, tmp_path / "d.ckpt")
    for name, message in {
        "a.ckpt": "a.ckpt",
        "b.ckpt": "b.ckpt",
        "c.safetensors": "not safetensors",
        "d.ckpt": "no state_dict with tensors",
        "e.ckpt": "are not there",
    }.items():
        with pytest.raises(UserError, match=message):
            public_state(tmp_path / name)
    with pytest.raises(UserError, match="diffseg models pull kl-f8"):
        public_state("kl-f8")
