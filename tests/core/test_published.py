"""Published networks answer as their authors' code does; checkpoints become models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from beside import beside
from safetensors.torch import save_file
from torch import Tensor, nn
from typer.testing import CliRunner

from diffseg.cli.models import models
from diffseg.errors import UserError
from diffseg.models import (
    convert_published,
    find_model,
    import_published,
    load_weights,
    published_kinds,
)
from diffseg.models.published import published
from diffseg.networks import build_network

PARITY = Path(__file__).parent / "parity"


drawn = beside(__file__, "parity/drawn")
SMALL: dict[str, dict[str, Any]] = {
    "ensemdiff": {"channels": 32, "multipliers": (1, 2), "attention": (2,)},
    "segdiff": {
        "channels": 32, "multipliers": (1, 2), "blocks": 1, "attention": (1,),
        "reader_blocks": 1,
    },
    "medsegdiff": {
        "channels": 32, "multipliers": (1, 1, 2, 2), "blocks": 1, "attention": (4,),
        "version": "v1", "image_size": 32,
    },
}  # fmt: skip
NAMES = {"ensemdiff": "guided_unet"}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is imported goes to a folder of the test's own."""
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))


def network(kind: str, config: dict[str, Any]) -> Any:
    """The network of a case, with the weights that the authors' code was given."""
    net: nn.Module = build_network(NAMES.get(kind, kind), **config)
    net.load_state_dict(drawn.weights(net.state_dict()))
    return net.eval()


@torch.no_grad()
def difference(net: Any, case: str) -> float:
    """Largest difference from the stored answers of the authors' code."""
    stored = np.load(PARITY / f"{case}.npz")
    noisy, t, image = drawn.inputs(net.image_channels)
    features = net.encode(image)
    if "calibration" in stored:
        out, calibration = net.denoise_calibrated(noisy, t, features)
        answers = {"out": out, "calibration": calibration}
    else:
        answers = {"out": net.denoise(noisy, t, features)}
    every = drawn.EVERY
    return max(
        float(np.abs(answers[key].numpy()[..., ::every, ::every] - stored[key]).max())
        for key in stored
    )


@pytest.mark.parametrize("case", list(drawn.CASES))
def test_answers_are_those_of_the_public_code(case: str) -> None:
    said = drawn.CASES[case]
    assert difference(network(said["kind"], said["config"]), case) < 2e-5


@pytest.mark.parametrize(
    ("case", "layer"),
    [
        ("ensemdiff", "input_blocks.4.0.in_layers.2.weight"),
        ("ensemdiff", "middle_block.1.qkv.weight"),
        ("segdiff", "rrdb.RRDB_trunk.1.RDB3.conv4.weight"),
        ("medsegdiff_v1", "hwm.embed.weight"),
        ("medsegdiff_v1", "hwm.ffparser.3.complex_weight"),
        ("medsegdiff_v1", "hwm.conv_trans_blocks_a.0.weight"),
        ("medsegdiff_new", "hwm.conv_blocks_localization.2.1.blocks.0.conv.weight"),
    ],
)
def test_a_layer_that_is_changed_is_seen(case: str, layer: str) -> None:
    said = drawn.CASES[case]
    net = network(said["kind"], said["config"])
    weight = net.get_parameter(layer)
    weight.data = weight.data.roll(1, dims=0)
    assert difference(net, case) > 1e-3


@pytest.mark.parametrize("kind", list(SMALL))
def test_a_state_dict_tells_its_network(kind: str) -> None:
    net = network(kind, SMALL[kind])
    state = net.state_dict()
    told = published(kind).network(state)
    again = build_network(**told)
    again.load_state_dict(convert_published(kind, state))
    assert told["name"] == NAMES.get(kind, kind)
    for key, wanted in SMALL[kind].items():
        assert told[key] == (list(wanted) if isinstance(wanted, tuple) else wanted)


@pytest.mark.parametrize("case", list(drawn.CASES))
def test_the_parity_configurations_are_told_too(case: str) -> None:
    said = drawn.CASES[case]
    with torch.device("meta"):
        net = build_network(NAMES.get(said["kind"], said["kind"]), **said["config"])
    told = published(said["kind"]).network(net.state_dict())
    for key in set(said["config"]) - {"heads"}:
        wanted = said["config"][key]
        assert told[key] == (list(wanted) if isinstance(wanted, tuple) else wanted)


def checkpoint(kind: str) -> dict[str, Tensor]:
    state = dict(network(kind, SMALL[kind]).state_dict())
    return {
        name: value.contiguous()
        for name, value in state.items()
        if not name.startswith("hwm.embed")  # as the public code saves it
    }


@pytest.mark.parametrize("kind", list(SMALL))
def test_a_checkpoint_becomes_a_model(kind: str, tmp_path: Path) -> None:
    state = checkpoint(kind)
    torch.save(state, tmp_path / "ema.pt")
    result = CliRunner().invoke(
        models,
        ["import", kind, str(tmp_path / "ema.pt"), "--id", "theirs", "--labels",
         "nucleus", "--json"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["licence"] == "unknown: ask the authors"
    folder = find_model("theirs")
    assert folder.card.method == kind
    assert folder.card.labels.names == ("nucleus",)
    kept = load_weights(folder)
    build_network(**folder.card.network).load_state_dict(kept)
    for name, tensor in state.items():
        torch.testing.assert_close(kept[name], tensor)
    said = [one for one in folder.card.limits if "is in no checkpoint" in one]
    assert len(said) == (kind == "medsegdiff")  # its mean then, and the card says so
    if kind == "medsegdiff":
        assert not kept["hwm.embed.weight"].any()


def test_the_moving_average_is_preferred(tmp_path: Path) -> None:
    state = checkpoint("ensemdiff")
    average = {f"module.{name}": 2 * value for name, value in state.items()}
    torch.save({"state_dict": state, "ema": average}, tmp_path / "both.pt")
    done = import_published("ensemdiff", tmp_path / "both.pt", "averaged")
    name = "input_blocks.0.0.weight"
    torch.testing.assert_close(load_weights(done.folder)[name], 2 * state[name])
    assert any("'ema'" in remark for remark in done.remarks)


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(checkpoint("segdiff"), tmp_path / "w.safetensors")
    done = import_published("segdiff", tmp_path / "w.safetensors", "safe", heads=2)
    assert done.network["heads"] == 2
    assert done.folder.card.network["heads"] == 2


class Unsafe:
    """Anything that a checkpoint has no business to hold."""


def test_a_checkpoint_that_needs_unpickling_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": checkpoint("ensemdiff"), "args": Unsafe()},
               tmp_path / "bad.pt")  # fmt: skip
    with pytest.raises(UserError, match=r"unpickled.*as safetensors"):
        import_published("ensemdiff", tmp_path / "bad.pt", "bad")


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    state = checkpoint("ensemdiff")
    del state["out.2.bias"]
    state["surplus.weight"] = torch.zeros(1)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"missing \(out.2.bias\).*surplus.weight"):
        import_published("ensemdiff", tmp_path / "w.safetensors", "unfit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "segdiff"}, r"not SegDiff's: it holds no rrdb"),
        ({"kind": "nobody"}, r"'nobody' is not known; give one of ensemdiff"),
        ({"channels": 3}, r"channels is 3, but the checkpoint's image has 4"),
        ({"labels": ("a", "b")}, r"2 labels are given \(a, b\).*1 channels"),
        ({"path": Path("absent.pt")}, r"absent.pt is not a file"),
    ],
)
def test_mistakes_are_told(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    save_file(checkpoint("ensemdiff"), tmp_path / "w.safetensors")
    given = {"kind": "ensemdiff", "path": tmp_path / "w.safetensors", "id": "mistake"}
    with pytest.raises(UserError, match=message):
        import_published(**given | options)


def test_every_kind_can_be_imported() -> None:
    assert {"ensemdiff", "segdiff", "medsegdiff"} <= set(published_kinds())
    for kind in published_kinds():
        source = published(kind)
        assert all(
            callable(getattr(source, name))
            for name in ("convert", "network", "sampling", "preparation")
        )
