"""`make` on machines that lack something, played with stand-ins for the tools."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ["awk", "bash", "cat", "cp", "dirname", "env", "id", "make", "mkdir", "rm"]
TOOLS += ["sed", "sh", "touch", "uname"]
VERBS = ["demo", "test", "lint", "types", "contracts", "bench", "clean"]
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {' '.join(MISSING)}")

# Plays the system's Python, .venv's and pip; the environment says what breaks.
PYTHON = """#!/bin/sh
case "$*" in
  *version_info*) exit ${OLD:-0} ;;
  *ensurepip*) test -z "$NO_VENV" || test -e apt.log ;;
  --version) echo "Python 3.12.0" ;;
  *ctypes*) test -e apt.log || printf %s "$LACKING" ;;
  *napari*) exit ${UNLOADABLE:-0} ;;
  "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
  "-m pip"*)
    echo "$*" >> pip.log; echo noise
    test -z "$HALF" || test -e half.log || {
      mkdir -p $PACKAGES/timm-1.0.dist-info $PACKAGES/torch-2.0.dist-info
      touch half.log $PACKAGES/torch-2.0.dist-info/INSTALLER; exit 1; }
    exit ${BROKEN:-0} ;;
esac
"""


LINUX = "#!/bin/sh\necho Linux\n"
# Plays the file system: kilobytes that are free, in the fourth column.
DF = '#!/bin/sh\necho Filesystem\necho "disk 1 1 ${FREE_KB:-99999999} 1% /"\n'


@dataclass(frozen=True)
class Machine:
    """A checkout of the Makefile on a machine with the stand-ins and no more."""

    checkout: Path
    bin: Path

    def give(self, name: str, script: str) -> None:
        """Put a command on the machine."""
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout."""
        return subprocess.run(
            command,
            cwd=self.checkout,
            env={"PATH": str(self.bin), "HOME": str(self.bin), **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def install(self, **env: str) -> subprocess.CompletedProcess[str]:
        """Ask for the installation, as every verb does."""
        return self.run("make", ".venv/.installed", **env)

    @property
    def installed(self) -> bool:
        """Whether the stamp is there."""
        return (self.checkout / ".venv" / ".installed").exists()

    def lines(self, name: str) -> list[str]:
        """What a stand-in wrote down."""
        file = self.checkout / name
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    checkout, tools = tmp_path / "checkout", tmp_path / "bin"
    tools.mkdir()
    shutil.copytree(ROOT / ".ci", checkout / ".ci")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copyfile(ROOT / name, checkout / name)
    for tool in TOOLS:
        (tools / tool).symlink_to(Path(shutil.which(tool) or tool))
    made = Machine(checkout, tools)
    made.give("python3", PYTHON)
    made.give("df", DF)
    return made


def complaints(run: subprocess.CompletedProcess[str]) -> list[str]:
    """What was said on standard error, but for make's own word."""
    assert run.returncode != 0, run.stdout
    return [line for line in run.stderr.splitlines() if not line.startswith("make")]


def test_a_package_that_was_left_half_installed_is_taken_anew(machine: Machine) -> None:
    packages = ".venv/lib/python3.12/site-packages"
    run = machine.install(HALF="1", PACKAGES=packages)
    assert run.returncode == 0, run.stderr
    assert "install: timm-1.0 was left half installed; taking it anew" in run.stdout
    assert len(machine.lines("pip.log")) == 2
    assert [path.name for path in (machine.checkout / packages).iterdir()] == [
        "torch-2.0.dist-info"
    ]


def test_little_space_is_told_beforehand(machine: Machine) -> None:
    run = machine.install(FREE_KB=str(9 * 1024**2))
    assert run.returncode == 0, run.stderr
    assert "install: 9 GB are free here; torch and what it brings take 8" in run.stdout


def test_installs_once(machine: Machine) -> None:
    first = machine.install()
    assert first.returncode == 0, first.stderr
    assert machine.installed
    assert machine.install().returncode == 0
    assert len(machine.lines("pip.log")) == 1
    assert machine.lines("pip.log")[0].endswith("--editable .[test]")


def test_installs_again_when_the_dependencies_change(machine: Machine) -> None:
    machine.install()
    stamp = machine.checkout / ".venv" / ".installed"
    os.utime(stamp, (0, 0))
    assert machine.install().returncode == 0
    assert len(machine.lines("pip.log")) == 2


def test_a_broken_download_is_not_an_installation(machine: Machine) -> None:
    (complaint,) = complaints(machine.install(BROKEN="1"))
    assert "run make again" in complaint
    assert len(machine.lines("pip.log")) == 3
    assert not machine.installed
    assert machine.install().returncode == 0
    assert machine.installed


def test_a_half_made_environment_is_made_again(machine: Machine) -> None:
    leftover = machine.checkout / ".venv" / "bin" / "activate"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    assert machine.install().returncode == 0
    assert not leftover.exists()
    assert machine.installed


def test_an_old_python_is_told_in_one_line(machine: Machine) -> None:
    (complaint,) = complaints(machine.install(OLD="1"))
    assert "Python 3.11 or newer is missing" in complaint
    assert not (machine.checkout / ".venv").exists()


def test_a_missing_venv_module_is_told_in_one_line(machine: Machine) -> None:
    (complaint,) = complaints(machine.install(NO_VENV="1"))
    assert "apt-get install python3-venv" in complaint
    assert not (machine.checkout / ".venv").exists()


def test_on_debian_root_gets_the_venv_module(machine: Machine) -> None:
    (machine.bin / "id").unlink()
    machine.give("id", "#!/bin/sh\necho 0\n")
    machine.give("apt-get", '#!/bin/sh\necho "$*" >> apt.log\n')
    run = machine.install(NO_VENV="1")
    assert run.returncode == 0, run.stderr
    assert machine.lines("apt.log")[-1].endswith("python3-venv")
    assert machine.installed


def test_on_debian_root_gets_what_a_window_needs(machine: Machine) -> None:
    (machine.bin / "id").unlink()
    machine.give("id", "#!/bin/sh\necho 0\n")
    machine.give("uname", LINUX)
    machine.give("apt-get", '#!/bin/sh\necho "$*" >> apt.log\n')
    run = machine.install(LACKING="libegl1\nxvfb\n")
    assert run.returncode == 0, run.stderr
    assert "taking libegl1 xvfb from Debian's packages" in run.stdout
    assert machine.lines("apt.log")[-1].endswith("libegl1 xvfb")


def test_what_a_window_needs_is_told_in_one_line(machine: Machine) -> None:
    machine.give("uname", LINUX)
    run = machine.install(LACKING="libegl1\nxvfb\n")
    assert run.returncode == 0, run.stderr
    (line,) = [line for line in run.stdout.splitlines() if "window" in line]
    assert line.endswith("on Debian, as root: apt-get install libegl1 xvfb")
    assert machine.installed


def test_nothing_is_said_where_nothing_is_missing(machine: Machine) -> None:
    machine.give("uname", LINUX)
    assert "apt-get" not in machine.install().stdout


def test_an_installation_that_does_not_load_is_none(machine: Machine) -> None:
    (complaint,) = complaints(machine.install(UNLOADABLE="1"))
    assert "does not load" in complaint
    assert not machine.installed


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_the_verb(machine: Machine, verb: str) -> None:
    words = machine.run("make", "help").stdout
    assert f"  make {verb} " in words
    assert machine.run("make", "-n", verb).returncode == 0


@pytest.mark.parametrize(
    ("env", "headless"),
    [
        ({"HEADLESS": "1", "DISPLAY": ":0"}, True),
        ({"DISPLAY": ":0"}, False),
        ({}, True),
    ],
    ids=["asked for", "display", "no display"],
)
def test_demo_opens_no_window_where_there_is_none(
    machine: Machine, env: dict[str, str], headless: bool
) -> None:
    machine.give("uname", LINUX)
    assert ("--headless" in machine.run("make", "-n", "demo", **env).stdout) is headless


def test_ci_runs_the_tests_unattended(machine: Machine) -> None:
    (machine.bin / "make").unlink()
    machine.give("make", '#!/bin/sh\necho "make $* CI=$CI"; cat; exit 3\n')
    run = machine.run("bash", ".ci/run")
    assert (run.returncode, run.stdout) == (3, "make test CI=true\n")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
