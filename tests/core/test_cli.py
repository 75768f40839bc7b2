"""The command: how it is assembled, what it prints, and its exit statuses."""

import json
import logging
import os
import subprocess
import sys
import warnings
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import typer

from diffseg.cli import app, emit, follow, main
from diffseg.cli.output import jsonable
from diffseg.domain import Label, LabelTable, ModelCard, Preparation, Sampling
from diffseg.errors import LOG_BYTES, Cancelled, DiffsegError, UserError
from diffseg.progress import Progress

CLOSED = []


def good(json: bool = False) -> None:
    """Say something good.

    Example: diffseg good
    """
    print("a library chatters")
    print("and complains", file=sys.stderr)
    warnings.warn("a library warns", stacklevel=1)
    logging.getLogger("some.package").warning("a library logs")
    emit({"answer": np.float32(1.5), "none": float("nan")}, json, lambda: "fine")


def failing(kind: str) -> None:
    """Fail in the way that is asked for."""
    emit({"half": "done"}, True)
    raise {
        "user": UserError("wrong\nin two lines"),
        "ours": DiffsegError("lost a worker"),
        "memory": MemoryError(),
        "gpu": type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"),
        "cancelled": Cancelled("stopped"),
        "interrupt": KeyboardInterrupt(),
        "bug": ValueError("/data/doe_john.nii.gz is odd"),
    }[kind]


def working() -> None:
    """Work until somebody stops it."""

    def work():
        try:
            yield Progress("sample", 1, 2)
            raise KeyboardInterrupt
        finally:
            CLOSED.append(True)

    follow(work())


group = typer.Typer(help="Several things.")


@group.command("one")
def one() -> None:
    """Do one thing."""
    emit({}, False, "one thing")


@group.command("two")
def two() -> None:
    """Do another thing."""


@pytest.fixture(autouse=True)
def log_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "logs"


@pytest.fixture
def registered(monkeypatch):
    """Only this file's commands, and one whose package is broken."""
    loaded = []

    class Entry(EntryPoint):
        def load(self):
            loaded.append(self.name)
            if self.name == "broken":
                raise ImportError("no module of that name")
            return globals()[self.value]

    names = ("good", "failing", "working", "group", "broken")
    entries = {n: Entry(n, n, app.GROUP) for n in sorted(names)}
    monkeypatch.setattr(app, "commands", lambda: entries)
    return loaded


def test_only_the_command_named_is_loaded(registered, capsys):
    assert main(["good", "--json"]) == 0
    assert registered == ["good"]
    out, err = capsys.readouterr()
    assert json.loads(out) == {"answer": 1.5, "none": None}
    assert err == ""


def test_chatter_of_libraries_reaches_nobody(registered, capsys):
    assert main(["good"]) == 0
    assert capsys.readouterr() == ("fine\n", "")


def test_help_lists_all_and_survives_a_broken_one(registered, capsys):
    assert main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert "Say something good." in out
    assert "Several things." in out
    assert "Cannot be loaded: ImportError" in out
    assert err == ""


def test_a_group_has_commands_of_its_own(registered, capsys):
    assert main(["group", "one"]) == 0
    assert capsys.readouterr() == ("one thing\n", "")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "no command is given"),
        (["nonsense"], "there is no command 'nonsense'"),
        (["good", "--nonsense"], "see diffseg good --help"),
        (["failing"], "see diffseg failing --help"),
        (["group"], "see diffseg group --help"),
        (["group", "nonsense"], "No such command 'nonsense'"),
        (["good", "left", "over"], "see diffseg good --help"),
    ],
)
def test_a_usage_error_is_one_line_and_status_2(registered, capsys, argv, said):
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("user", 2, "diffseg failing: wrong in two lines"),
        ("ours", 1, "lost a worker"),
        ("memory", 1, "smaller --roi"),
        ("gpu", 1, "smaller --roi"),
        ("cancelled", 130, "cancelled"),
        ("interrupt", 130, "cancelled"),
        ("bug", 1, "our fault"),
    ],
)
def test_a_failure_is_one_line(registered, capsys, kind, status, said):
    assert main(["failing", kind]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_the_log_keeps_the_traceback_and_no_file_name(registered, capsys, log_folder):
    assert main(["failing", "bug"]) == 1
    log = (log_folder / "diffseg.log").read_text()
    assert "in failing" in log
    assert "ValueError" in log
    assert "doe_john" not in log
    assert str(log_folder / "diffseg.log") in capsys.readouterr().err


def test_the_log_does_not_grow_without_end(registered, log_folder):
    log_folder.mkdir(parents=True)
    (log_folder / "diffseg.log").write_bytes(b"x" * (LOG_BYTES + 1))
    main(["failing", "bug"])
    assert (log_folder / "diffseg.log").stat().st_size < 10_000
    assert (log_folder / "diffseg.log.1").stat().st_size == LOG_BYTES + 1


def test_a_log_that_cannot_be_written_is_told_in_the_same_line(
    registered, capsys, monkeypatch, tmp_path
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "file"))
    assert main(["failing", "bug"]) == 1
    err = capsys.readouterr().err
    assert "could not be written" in err
    assert err.count("\n") == 1


def test_stopping_the_work_closes_its_generator(registered, capsys):
    CLOSED.clear()
    assert main(["working"]) == 130
    assert CLOSED == [True]


def test_progress_is_shown_on_a_terminal_only(monkeypatch, capsys):
    def work():
        yield Progress("sample", 1, 2, "member 1")
        return 7

    assert follow(work()) == 7
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert follow(work()) == 7
    out, err = capsys.readouterr()
    assert out == ""
    assert "sample" in err


def test_json_has_no_nan_and_no_arrays():
    value = {"a": np.arange(2), "b": [float("inf"), np.float64("nan")], 3: (None, True)}
    assert jsonable(value) == {"a": [0, 1], "b": [None, None], "3": [None, True]}


def test_the_same_in_a_process_of_its_own(tmp_path):
    env = {**os.environ, "DIFFSEG_HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", "import sys, diffseg.cli; sys.exit(diffseg.cli.main())"],
        env=env,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.count("\n") == 1
    assert "propose" in run.stderr


def test_native_chatter_is_held_back_too(tmp_path):
    """What C code writes on descriptor 2 would spoil the one line of a failure."""
    script = (
        "import os, sys\n"
        "from diffseg.cli.output import held_streams\n"
        "with held_streams() as streams:\n"
        "    os.write(2, b'native warning')\n"
        "    streams.err.write('progress')\n"
        "os.write(2, b' and after')\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "progress and after")


def test_info_loads_neither_torch_nor_other_commands(tmp_path):
    script = (
        "import sys, diffseg.cli\n"
        "status = diffseg.cli.main(['info', 'nowhere.nii.gz'])\n"
        "assert status == 2, status\n"
        "assert 'torch' not in sys.modules\n"
        "assert 'diffseg.cli.propose' not in sys.modules\n"
    )
    env = {**os.environ, "DIFFSEG_HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert "nowhere.nii.gz" in run.stderr


@pytest.mark.parametrize("name", sorted(app.commands()))
def test_every_command_has_help_with_an_example(name, capsys):
    assert main([name, "--help"]) == 0
    out, err = capsys.readouterr()
    assert f"Example: diffseg {name}" in " ".join(out.split())
    assert err == ""


@pytest.mark.parametrize("name", ["list", "show", "add", "verify", "remove"])
def test_every_command_of_models_has_an_example(name, capsys):
    assert main(["models", name, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"Example: diffseg models {name}" in said


@pytest.fixture
def tiny(tmp_path):
    """Folder of a tiny model of random weights."""
    from diffseg.models import save_model
    from diffseg.networks import build_network

    config = {"classes": 2, "channels": [4, 8], "member_channels": [4, 8]}
    card = ModelCard(
        id="tiny", version="1.0", title="Random weights", method="ensemdiff",
        network={"name": "compact_unet", **config},
        labels=LabelTable(labels=(Label(name="blob", value=1),)),
        preparation=Preparation(), sampling=Sampling(members=2, steps=1),
        modality="T1 MRI", licence="CC0-1.0", sha256="0" * 64, data="none",
        intended_use="tests", limits=("random weights",),
    )  # fmt: skip
    weights = build_network("compact_unet", **config).state_dict()
    return save_model(tmp_path / "tiny", card, weights).path


def said_as_json(capsys, *argv):
    assert main([*argv, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_a_model_is_added_listed_shown_verified_and_removed(tiny, capsys):
    before = said_as_json(capsys, "models", "list")
    added = said_as_json(capsys, "models", "add", str(tiny), "--id", "mine")
    assert (added["id"], added["version"], added["origin"]) == ("mine", "1.0", "user")
    known = said_as_json(capsys, "models", "list")["models"]
    assert len(known) == len(before["models"]) + 1
    assert {**added, "current": True} in known
    shown = said_as_json(capsys, "models", "show", "mine")
    assert shown["licence"] == "CC0-1.0"
    assert said_as_json(capsys, "models", "verify", "mine@1.0")["verified"] is True
    assert main(["models", "list"]) == 0
    assert "mine@1.0" in capsys.readouterr().out
    assert main(["models", "show", "mine"]) == 0
    assert "Not a medical device" in capsys.readouterr().out
    assert main(["models", "remove", "mine"]) == 2
    assert "@VERSION" in capsys.readouterr().err
    said_as_json(capsys, "models", "remove", "mine@1.0")
    assert said_as_json(capsys, "models", "list") == before


def test_the_doctor_says_what_there_is_and_why_not_a_gpu(capsys):
    import torch

    about = said_as_json(capsys, "doctor")
    assert torch.__version__.startswith(about["versions"]["torch"])
    assert about["device"] in ("cpu", "cuda", "mps")
    assert (about["gpu"] is None) == bool(about["why_no_gpu"])
    assert about["selftest"] is None
    assert main(["doctor"]) == 0
    assert "threads" in capsys.readouterr().out


def test_the_doctor_tells_of_broken_weights(tiny, capsys, log_folder):
    models = log_folder.parent / "models" / "mine" / "1.0"
    models.parent.mkdir(parents=True)
    tiny.rename(models)
    (models / "model.safetensors").write_bytes(b"no weights")
    about = said_as_json(capsys, "doctor")
    (mine,) = [one for one in about["models"] if one["origin"] == "user"]
    assert mine["verified"] is False
    assert "checksum" in mine["problem"]


def test_the_doctor_proposes_as_a_self_test(tiny, capsys, monkeypatch):
    from diffseg import models

    assert main(["models", "add", str(tiny), "--id", "mine"]) == 0
    capsys.readouterr()
    mine = models.find_model("mine")
    monkeypatch.setattr(models, "list_models", lambda: (mine,))
    test = said_as_json(capsys, "doctor", "--selftest")["selftest"]
    assert test["model"] == "mine@1.0"
    assert test["seconds"]["propose"] > 0


def test_the_self_test_without_a_model_names_the_remedy(capsys, monkeypatch):
    from diffseg import models

    monkeypatch.setattr(models, "list_models", lambda: ())
    assert main(["doctor", "--selftest"]) == 2
    assert "diffseg models add" in capsys.readouterr().err


def test_a_device_asked_for_by_the_environment(capsys, monkeypatch):
    monkeypatch.setenv("DIFFSEG_DEVICE", "abacus")
    about = said_as_json(capsys, "doctor")
    assert about["device"] is None
    assert "abacus" in about["device_problem"]
