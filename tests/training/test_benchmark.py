"""What the bench says of training, and what makes a step fast. Nothing is timed."""

import json

import pytest
import torch
from torch.nn import functional

from diffseg.cli.bench import Part, bench
from diffseg.cli.benchmarks import Row
from diffseg.errors import DiffsegError, UserError
from diffseg.networks import fast_layout, training_layout
from diffseg.networks.guided_blocks import Silu, doubled_convolution
from diffseg_training import benchmark
from diffseg_training.benchmark import HOME, Turn, over_public, rows, training_flops
from diffseg_training.benchmark_sides import (
    made_image,
    our_descent,
    our_recipe,
    write_public_data,
)


def turns(*seconds: float) -> list[Turn]:
    return [Turn(one, 0.25) for one in seconds]


def test_the_median_of_neighbouring_turns_is_judged() -> None:
    ours, public = turns(1, 1, 4), turns(2, 1.8, 5)
    row = over_public("training", ours, public, 1 / 1.5)
    assert row.ours == 1
    assert row.ratio == pytest.approx(1 / 1.8)
    assert row.within is True
    assert "1.80 times" in row.settings
    assert "25.0% of the time" in row.settings
    assert over_public("training", ours, turns(1, 1.4, 4), 1 / 1.5).within is False


def test_without_the_public_code_its_rows_are_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def alternate(commands, device, rounds, steps):
        asked.append(set(commands))
        return {name: turns(0.5, 0.5) for name in commands}

    monkeypatch.setattr(benchmark, "alternate", alternate)
    monkeypatch.setattr(benchmark, "matrix_rate", lambda _: 1e9)
    monkeypatch.setattr(benchmark, "arithmetic", lambda *_: "bf16")
    arithmetic, same, default = rows("", "cpu")
    assert asked == [{"fp32", "bf16"}]
    assert arithmetic.reference == pytest.approx(
        training_flops(our_recipe("fp32")) / 4e9
    )
    assert "2.00 images/s" in arithmetic.settings
    for row in (same, default):
        assert row.skipped is not None
        assert HOME in row.skipped


def test_a_folder_without_the_public_code_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match=r"guided_diffusion/train_util\.py"):
        next(iter(rows("", "cpu", tmp_path)))


@pytest.mark.slow
def test_a_side_that_fails_says_its_last_line(tmp_path) -> None:
    package = tmp_path / "guided_diffusion"
    package.mkdir()
    (package / "train_util.py").write_text("")
    with pytest.raises(DiffsegError, match=r"'public' ended: .*bratsloader"):
        benchmark.alternate({"public": ("public", str(tmp_path))}, "cpu", 1, 1)


def test_the_measured_step_is_the_trainers(tmp_path) -> None:
    descent = our_descent(our_recipe("fp32"), "cpu", tmp_path)
    before = [p.detach().clone() for p in descent.step.trained()]
    descent.descend()
    descent.loader.close()
    assert descent.pace.images == 4
    assert descent.averages.count == 1
    after = descent.step.trained()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_public_data_lies_as_its_loader_reads_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("diffseg_training.benchmark_sides.CASES", 2)
    assert write_public_data(tmp_path, 3, 16) == ["t1", "t1ce", "t2", "seg"]
    names = [file.name.split("_")[3] for file in (tmp_path / "000001").iterdir()]
    assert sorted(names) == ["flair", "seg", "t1", "t1ce", "t2"]
    image, classes = made_image(0, 3, 16)
    assert image.shape == (3, 16, 16)
    assert set(classes.unique().tolist()) == {0, 1}


def test_only_training(monkeypatch, capsys, tmp_path) -> None:
    class Entry:
        name = "training"

        def load(self):
            return lambda model, device, reference: iter([Row(what=str(reference))])

    monkeypatch.delattr("diffseg.cli.bench.iter_bench")
    monkeypatch.delattr("diffseg.cli.bench.iter_window")
    monkeypatch.setattr("diffseg.cli.bench.entry_points", lambda **_: [Entry()])
    bench("hippocampus-mri", "cpu", Part.TRAINING, tmp_path, json=True)
    told = json.loads(capsys.readouterr().out)
    assert [row["what"] for row in told["rows"]] == [str(tmp_path)]


@pytest.mark.parametrize("dims", [2, 3])
def test_doubling_with_the_convolution_is_doubling_before_it(dims) -> None:
    source = torch.Generator().manual_seed(dims)
    shape = (5, 4, 6)[:dims]
    x = torch.randn((2, 3, *shape), generator=source, dtype=torch.float64)
    weight = torch.randn((4, 3) + (3,) * dims, generator=source, dtype=torch.float64)
    bias = torch.randn(4, generator=source, dtype=torch.float64)
    convolve = {2: functional.conv2d, 3: functional.conv3d}[dims]
    wanted = convolve(
        functional.interpolate(x, scale_factor=2.0), weight, bias, padding=1
    )
    torch.testing.assert_close(doubled_convolution(x, weight, bias), wanted)


def test_activation_takes_new_memory_only_where_a_gradient_is_asked_for() -> None:
    x = torch.tensor([-1.0, 2.0])
    kept = x.clone()
    wanted = kept * kept.sigmoid()
    torch.testing.assert_close(Silu()(x), wanted)
    assert torch.equal(x, kept)
    with torch.no_grad():
        torch.testing.assert_close(Silu()(x), wanted)
    torch.testing.assert_close(x, wanted)


def test_planes_learn_channel_by_channel_on_a_processor() -> None:
    assert training_layout(2, "cpu") is torch.contiguous_format
    assert training_layout(2, "cuda:0") is fast_layout(2)
    assert training_layout(3, "cpu") is fast_layout(3)
