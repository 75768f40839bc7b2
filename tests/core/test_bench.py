"""What `diffseg bench` says and counts. Nothing here depends on how long it took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from rich.console import Console
from torch import nn
from typer.testing import CliRunner

from diffseg.cli.app import main
from diffseg.cli.bench import Part, bench, iter_bench, iter_window
from diffseg.cli.benchmarks import Row, commands, proposals, published, table
from diffseg.cli.benchmarks.arithmetic import flops_of, needed_flops
from diffseg.cli.benchmarks.processes import (
    family,
    heavy_packages,
    peak_bytes,
    run_command,
)
from diffseg.cli.benchmarks.rows import amount, times
from diffseg.cli.benchmarks.timing import seconds_of
from diffseg.domain import Label, LabelTable, ModelCard, Preparation, Sampling
from diffseg.errors import DiffsegError, UserError
from diffseg.models import ModelFolder, find_model, save_model
from diffseg.networks import build_network
from diffseg.networks.compact_unet import CompactUNet
from diffseg.progress import Progress, run
from diffseg.segmenters import load_segmenter
from diffseg.segmenters.drawing import draw_members

SMALL = {"channels": (8, 12), "member_channels": (4, 6), "embedding": 16}
LINUX = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs /proc, as Linux has it"
)


def card_of(
    dims: int = 3, method: str = "ensemdiff", **preparation: object
) -> ModelCard:
    context = 1 if dims == 2 else 0
    network = {"name": "compact_unet", "dims": dims, "classes": 3, **SMALL}
    network["image_channels"] = 1 + 2 * context
    return ModelCard(
        id="tiny", version="1", title="Tiny", method=method, network=network,
        labels=LabelTable(labels=(Label(name="a", value=1), Label(name="b", value=2))),
        preparation=Preparation(
            dims=dims, context=context, flips=((), (2,)), **preparation
        ),
        sampling=Sampling(members=2),
        modality="MR", licence="none", sha256="", data="noise", intended_use="tests",
        limits=(),
    )  # fmt: skip


def network_of(card: ModelCard) -> CompactUNet:
    torch.manual_seed(0)
    config = dict(card.network)
    network = build_network(config.pop("name"), **config)
    assert isinstance(network, CompactUNet)
    return network.eval()


@pytest.fixture
def model(tmp_path: Path) -> ModelFolder:
    card = card_of()
    return save_model(tmp_path / "tiny", card, network_of(card).state_dict())


def test_ratio_is_ours_over_the_reference() -> None:
    assert Row(what="", ours=3, reference=2).ratio == 1.5
    assert Row(what="", ours=3).ratio is None
    assert Row(what="", reference=3).ratio is None


@pytest.mark.parametrize(
    ("row", "within"),
    [
        (Row(what="", ours=3, reference=2, limit=1.5, limit_of="ratio"), True),
        (Row(what="", ours=3.1, reference=2, limit=1.5, limit_of="ratio"), False),
        (Row(what="", ours=3, reference=2, limit=2), False),
        (Row(what="", ours=3, limit=3), True),
        (Row(what="", ours=3), None),
        (Row(what="", limit=3, skipped="no GPU"), None),
        (Row(what="", ours=1, limit=3, fault="It loaded torch."), False),
    ],
)
def test_a_limit_is_kept_or_broken(row: Row, within: bool | None) -> None:
    assert row.within is within
    assert row.as_dict()["within"] is within


@pytest.mark.parametrize(
    ("value", "said"),
    [(17012.3, "17,012 s"), (12.34, "12.3 s"), (0.1234, "0.123 s"), (None, "-")],
)
def test_amounts_have_three_digits_that_count(value: float | None, said: str) -> None:
    assert amount(value, "s") == said


@pytest.mark.parametrize(
    ("ratio", "said"), [(12.34, "12.3 x"), (1.234, "1.23 x"), (1 / 4000, "1 / 4,000")]
)
def test_small_ratios_are_fractions(ratio: float, said: str) -> None:
    assert times(ratio) == said


def test_the_table_says_every_row_and_its_settings() -> None:
    rows = [
        Row(
            what="over", ours=4, reference=2, limit=1.5, limit_of="ratio", settings="S1"
        ),
        Row(what="held", ours=2.5, unit="GiB", limit=3, settings="S2"),
        Row(what="gone", skipped="no GPU."),
        Row(what="odd", ours=0.1, limit=0.3, fault="It loaded torch."),
    ]
    console = Console(width=100)
    with console.capture() as capture:
        console.print(table(rows, "two cores"))
    said = [" ".join(line.split()) for line in capture.get().splitlines()]
    assert said[1:5] == [
        "1 over 4.00 s 2.00 s 2.00 x 1.5 x BROKEN",
        "2 held 2.50 GiB - - 3 GiB kept",
        "3 gone - - - - skipped",
        "4 odd 0.100 s - - 0.3 s BROKEN",
    ]
    assert [line for line in said[5:] if line] == [
        "1 S1", "2 S2", "3 Skipped: no GPU.", "4 It loaded torch.", "two cores"
    ]  # fmt: skip


def test_a_convolution_is_counted_by_hand() -> None:
    conv = nn.Conv3d(3, 5, 3, padding=1)
    x = torch.zeros(2, 3, 4, 6, 7)
    assert flops_of(lambda: conv(x)) == 2 * 2 * 5 * (3 * 27) * (4 * 6 * 7)
    a, b = torch.zeros(4, 5), torch.zeros(5, 6)
    assert flops_of(lambda: a @ b) == 2 * 4 * 5 * 6


@pytest.mark.parametrize(
    ("dims", "shape", "tile"),
    [
        (3, (7, 10, 9), None),
        (3, (7, 20, 9), (8, 8, 8)),
        (2, (3, 10, 9), None),
        (2, (3, 20, 9), (8, 8)),
    ],
)
@pytest.mark.parametrize(("members", "steps"), [(1, 1), (5, 2)])
def test_an_ensemble_runs_no_more_than_it_needs(
    dims: int,
    shape: tuple[int, int, int],
    tile: tuple[int, ...] | None,
    members: int,
    steps: int,
) -> None:
    card = card_of(dims, tile=tile)
    network = network_of(card)
    image = np.zeros((1, *shape), np.float32)

    def draw() -> list[np.ndarray]:
        return list(
            draw_members(
                network, card, image, "cpu", members=members, steps=steps, seed=0
            )
        )

    needed = needed_flops(network, card, shape, members=members, steps=steps)
    assert needed == flops_of(draw)
    assert next(network.parameters()).device.type == "cpu"  # the copy was counted


def test_the_warm_up_is_left_out() -> None:
    runs: list[int] = []
    taken = seconds_of(lambda: runs.append(1), repeats=3)
    assert (len(runs), len(taken)) == (4, 3)


def test_a_proposal_is_held_against_its_arithmetic(model: ModelFolder) -> None:
    segmenter = proposals.checked(load_segmenter(model.path, "cpu"))
    row = proposals.measure_proposal(segmenter, shape=(7, 10, 9), matrix=64)
    assert row.ratio is not None
    assert (row.limit, row.limit_of) == (20, "ratio")
    assert "2 x image features, 8 x member pass" in row.settings
    memory = proposals.measure_gpu_memory(segmenter)
    assert memory.skipped is not None
    assert memory.skipped.startswith("the device is cpu")


def test_published_settings_are_extrapolated_and_said() -> None:
    row = published.measure_published("cpu", side=16, channels=32, multipliers=(1, 2))
    assert row.ours is not None
    assert row.reference is not None
    for said in (
        "extrapolated",
        "5 members x 1000 steps",
        "5 members x 1 step",
        "0.9 M",
    ):
        assert said in row.settings


def test_the_published_side_is_the_published_network() -> None:
    assert published._size_of({}) == "113.7 M"
    assert (published.SIDE, published.MEMBERS, published.THEIR_STEPS) == (256, 5, 1000)


def test_an_import_is_held_against_a_bare_interpreter() -> None:
    row = commands.measure_import(repeats=1)
    assert row.ratio is not None
    assert row.fault is None
    assert "Neither torch nor Qt" in row.settings


def test_a_heavy_import_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    assert heavy_packages("import sys; sys.modules['qtpy'] = sys") == ["qtpy"]
    monkeypatch.setattr(commands, "heavy_packages", lambda script: ["torch"])
    row = commands.measure_import(repeats=1)
    assert row.within is False
    assert "torch was" not in row.settings


@LINUX
def test_the_memory_of_a_whole_family_is_seen() -> None:
    hold = "held = b'x' * 2**26; print(len(held), flush=True); input()"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=pipe, stdout=pipe
    ) as one:
        assert one.stdout is not None
        one.stdout.readline()  # the child holds it now
        members = family(one.pid)
        peaks = [peak_bytes(number) or 0 for number in members]
        one.communicate(b"\n")
    assert members[0] == one.pid
    assert len(members) == 2
    assert peaks[0] < 2**26 <= peaks[1]
    assert os.getpid() not in members
    assert peak_bytes(one.pid) is None


@pytest.mark.slow
def test_a_command_is_watched(model: ModelFolder) -> None:
    row = commands.measure_wait(model, "cpu")
    assert row.ours is not None
    assert "sample" in row.settings
    done = run_command(["models", "list"])
    assert "models" in done.result
    if Path("/proc/self/status").exists():
        assert done.peak_bytes is not None
        assert 2**22 < done.peak_bytes < 2**32


def test_a_command_that_fails_says_its_own_line() -> None:
    with pytest.raises(DiffsegError, match=r"diffseg info: .*nowhere"):
        run_command(["info", "nowhere.nii.gz"])


def test_a_whole_brain_is_skipped_with_a_reason(
    model: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Path:
        raise UserError("the template, which comes with nilearn, is not installed")

    monkeypatch.setattr(commands, "mni152_path", missing)
    for row in commands.measure_whole_brain(model, "cpu"):
        assert row.skipped is not None
        assert "nilearn" in row.skipped
    monkeypatch.setattr(commands, "mni152_path", Path)
    for row in commands.measure_whole_brain(model, "cpu"):
        assert row.skipped is not None
        assert "tiny@1 finds no regions" in row.skipped


def test_an_unknown_model_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path))
    assert main(["bench", "--model", "nobody"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("diffseg bench: model 'nobody' is not known")
    assert err.count("\n") == 1


def test_missing_weights_are_told(model: ModelFolder) -> None:
    model.weights.unlink()
    with pytest.raises(UserError, match=r"weights of tiny@1 cannot be read"):
        run(iter_bench(str(model.path), "cpu"))


def test_a_model_of_another_method_is_told(tmp_path: Path) -> None:
    card = card_of(method="feedforward")
    folder = save_model(tmp_path / "ff", card, network_of(card).state_dict())
    with pytest.raises(UserError, match="method 'feedforward'; bench measures"):
        run(iter_bench(str(folder.path), "cpu"))


def test_the_command_prints_rows_or_one_object(
    model: ModelFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def measured(model: str, device: str) -> Iterator[Progress]:
        yield Progress("measure")
        return [Row(what="over", ours=4, reference=2, settings=f"{device}")]

    monkeypatch.setattr("diffseg.cli.bench.iter_bench", measured)
    bench(str(model.path), "cpu", Part.MAIN, json=True)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert '"model": "tiny@1", "device": "cpu", "threads"' in said
    assert '"what": "over", "ours": 4, "reference": 2' in said
    bench(str(model.path), "cpu", Part.MAIN, json=False)
    said = capsys.readouterr().out
    assert "2.00 x" in said
    assert "tiny@1 on cpu" in said
    assert ("load average" in said) is hasattr(os, "getloadavg")


class Registered:
    """An entry point of another package's measurements."""

    name = "window"

    def __init__(self, rows: Callable[[str, str], Iterable[Row]]) -> None:
        self.load = lambda: rows


def register(monkeypatch: pytest.MonkeyPatch, rows: Callable[..., Iterable[Row]]):
    monkeypatch.setattr("diffseg.cli.windows.missing_packages", tuple)
    monkeypatch.setattr(
        "diffseg.cli.bench.entry_points", lambda group: [Registered(rows)]
    )


def test_other_packages_add_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, lambda model, device: iter([Row(what=f"{model} {device}")]))
    assert [row.what for row in run(iter_window("m", "cpu"))] == ["m cpu"]


def test_a_window_without_a_screen_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_screen(model: str, device: str) -> Iterator[Row]:
        raise UserError("no display, and Xvfb was not found")
        yield

    register(monkeypatch, no_screen)
    (row,) = run(iter_window("m", "cpu"))
    assert row.skipped == "no display, and Xvfb was not found."


def test_a_window_that_is_not_installed_is_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("diffseg.cli.windows.installed", lambda name: None)
    (row,) = run(iter_window("m", "cpu"))
    assert row.skipped is not None
    assert "napari, qtpy, superqt, magicgui, PySide6 is not installed" in row.skipped
    assert "napari-diffseg[gui]" in row.skipped


def test_only_the_window(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register(monkeypatch, lambda model, device: [Row(what="late", ours=0.01)])
    monkeypatch.delattr("diffseg.cli.bench.iter_bench")
    bench("hippocampus-mri", "cpu", Part.WINDOW, json=True)
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["what"] == "late"


def test_help_has_an_example() -> None:
    app = typer.Typer()
    app.command()(bench)
    assert "Example: diffseg bench" in CliRunner().invoke(app, ["--help"]).output


def test_the_default_model_is_the_one_that_ships() -> None:
    folder = find_model("hippocampus-mri")
    assert folder.card.method == "ensemdiff"
    assert folder.card.localisation is not None
